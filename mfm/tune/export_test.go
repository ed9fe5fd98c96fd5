package tune

import (
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Squares returns the loss of each state.
func Squares(r Regressand, correction *Node) *Node { return r.squares(correction) }

// OnPaths draws states on paths of a drift.
func OnPaths(
	p Problem, tuned interpolant.Drift, rng *solver.RNG, shape []int, rows, steps int, g *Graph,
) States {
	return onPaths(p, tuned, rng, shapes.Make(float32Type, append([]int{rows}, shape...)...), rows, steps, nil, g)
}

// Interpolants draws interpolants of data.
func (s StateSampling) Interpolants(p Problem, source train.Source, g *Graph, rng *solver.RNG, n int) States {
	return s.interpolants(p, source, nil, g, rng, n)
}
