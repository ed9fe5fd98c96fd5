package interpolant_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The noise for which the drift of the SDE is 2b - (β'/β) x.
func TestHalfSquaredNoise(t *testing.T) {
	for _, at := range []float64{0.01, 0.3, 0.9} {
		for _, c := range []struct {
			ip   interpolant.Schedule
			want float64
		}{
			{interpolant.Linear{}, (1 - at) / at},
			{interpolant.Trigonometric{}, math.Pi / 2 / math.Tan(math.Pi/2*at)},
			{interpolant.VariancePreserving{}, 1 / at},
		} {
			got := interpolant.HalfSquaredNoise(c.ip, at)
			mfmtest.Near(t, fmt.Sprintf("%v at %g", c.ip, at), []float64{got}, []float64{c.want}, 1e-13)
		}
	}
}
