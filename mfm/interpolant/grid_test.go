package interpolant_test

import (
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

func TestGrid(t *testing.T) {
	mfmtest.Near(t, "uniform", interpolant.Grid{Steps: 4, Power: 1}.Times(0, 1), []float64{0, 0.25, 0.5, 0.75, 1},
		1e-15)
	mfmtest.Near(t, "square", interpolant.Grid{Steps: 2, Power: 2}.Times(0.2, 1), []float64{0.2, 0.4, 1}, 1e-15)
	if times := (interpolant.Grid{Steps: 7, Power: 0.3}).Times(0.01, 1); times[0] != 0.01 || times[7] != 1 {
		t.Errorf("the grid's ends are %g and %g", times[0], times[7])
	}
	for _, g := range []interpolant.Grid{
		{Steps: 0, Power: 1}, {Steps: 1}, {Steps: 1, Power: math.NaN()}, {Steps: 1 << 30, Power: 1},
	} {
		if g.Validate() == nil {
			t.Errorf("no error for the grid %+v", g)
		}
	}
}
