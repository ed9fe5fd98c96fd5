package mixture_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

func TestGLASSDistance(t *testing.T) {
	b := backendtest.New(t)
	distance := func(ip interpolant.Schedule, dtype dtypes.DType, n int) (float64, error) {
		return mixture.GLASSDistance(b, gmm.Paper(), ip, dtype, n, rand.New(rand.NewPCG(1, 1)))
	}
	linear := interpolant.Linear{}
	for _, ip := range []interpolant.Schedule{linear, interpolant.Trigonometric{}, interpolant.VariancePreserving{}} {
		for dtype, limit := range map[dtypes.DType]float64{dtypes.Float32: 1e-5, dtypes.Float64: 1e-10} {
			d, err := distance(ip, dtype, 2000)
			if err != nil || !(d > 0 && d <= limit) {
				t.Errorf("%v in %s: distance %g (error %v), want above 0 and at most %g", ip, dtype, d, err, limit)
			}
		}
	}
	if _, err := distance(linear, dtypes.Int32, 10); err == nil {
		t.Error("no error for int32")
	}
	if _, err := distance(linear, dtypes.Float32, 0); err == nil {
		t.Error("no error for no points")
	}
}
