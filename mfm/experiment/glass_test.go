package experiment_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

func TestGLASSDistance(t *testing.T) {
	b := backendtest.New(t)
	for _, ip := range []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{}} {
		for dtype, limit := range map[dtypes.DType]float64{dtypes.Float32: 1e-5, dtypes.Float64: 1e-10} {
			d, err := experiment.GLASSDistance(b, gmm.Paper(), ip, dtype, 2000, rand.New(rand.NewPCG(1, 1)))
			if err != nil || !(d > 0 && d <= limit) {
				t.Errorf("%v in %s: distance %g (error %v), want above 0 and at most %g", ip, dtype, d, err, limit)
			}
		}
	}
	if _, err := experiment.GLASSDistance(b, gmm.Paper(), interpolant.Linear{}, dtypes.Int32, 10, rand.New(rand.NewPCG(1, 1))); err == nil {
		t.Error("no error for int32")
	}
	if _, err := experiment.GLASSDistance(b, gmm.Paper(), interpolant.Linear{}, dtypes.Float32, 0, rand.New(rand.NewPCG(1, 1))); err == nil {
		t.Error("no error for no points")
	}
}
