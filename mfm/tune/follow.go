package tune

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Paths are n paths of a model's SDE.
type Paths struct {
	Times []float64 // t_0 < ... < 1, the last one that of End
	X     *Node     // states at all times but the last, [steps, n, ...]
	End   *Node     // states at 1, [n, ...]
	Class *Node     // labels that the paths are conditioned on, int32 [n]; nil means none
}

// pathTimes returns the times of a path from t_0 to 1. The drift of the SDE contains x/t, so steps
// that are long compared with t diverge. The first step is therefore shorter than a uniform one, by
// a factor of the number of steps.
func pathTimes(start float64, steps int) []float64 {
	return interpolant.Grid{Steps: steps, Power: 2}.Times(start, 1)
}

// checkPath returns an error for values out of range and for a first step longer than half the
// start.
func checkPath(start float64, steps int) error {
	if !(start > 0 && start < 1) || steps < 3 || steps > 100_000 {
		return fmt.Errorf("a path of %d steps from t = %g: must have 3 to 100,000 steps and start within (0, 1)",
			steps, start)
	}
	if times := pathTimes(start, steps); times[1]-times[0] > 0.5*start {
		return fmt.Errorf("a path of %d steps from t = %g: its first step is %.2g, more than half the start; use "+
			"more steps or a later start",
			steps, start, times[1]-times[0])
	}
	return nil
}

// follow draws n paths of the SDE with drift b, conditioned on class, int32 [n] or nil, along times
// from t_0 to 1. The ODE carries noise to t_0, and the last step adds no noise. If keep, the states
// of the paths are returned. move is called for each step but that to t_0, with the coefficients of
// the step, and returns numbers [n] whose sum along the path is returned; nil means no callback.
func follow(
	rng *solver.RNG, ip interpolant.Schedule, b interpolant.Drift, times []float64, noise, class *Node, keep bool,
	move func(row []*Node, x, drift *Node) *Node,
) (Paths, *Node) {
	g, dtype := noise.Graph(), noise.DType()
	steps := solver.SDESteps(ip, append([]float64{0}, times...))
	start := batch.Every(ScalarZero(g, dtype), noise)
	x := Add(noise, MulScalar(b(start, noise, class), steps[0].Drift))
	steps = steps[1:]
	table := make([][]float64, len(steps))
	for k, s := range steps {
		table[k] = []float64{s.T, s.Length, s.Drift, s.State, s.Noise}
	}
	rows := ConstAsDType(g, dtype, table)
	state := []*Node{x, rng.State, Zeros(g, shapes.Make(dtype, noise.Shape().Dim(0)))}
	if keep {
		state = append(state, Zeros(g, shapes.Make(dtype, append([]int{len(steps)}, noise.Shape().Dimensions...)...)))
	}
	state = solver.Loop(len(steps), state, func(i *Node, state []*Node) []*Node {
		x, r, sum := state[0], &solver.RNG{State: state[1]}, state[2]
		row := batch.Of(rows, i)
		drift := b(batch.Every(row[0], x), x, class)
		if move != nil {
			sum = Add(sum, move(row, x, drift))
		}
		next := Add(x, Add(Mul(row[2], drift), Mul(row[3], x)))
		next = Add(next, Mul(row[4], r.Normal(x.Shape())))
		out := []*Node{next, r.State, sum}
		if keep {
			out = append(out, batch.SetRow(state[3], i, x))
		}
		return out
	})
	rng.State = state[1]
	p := Paths{Times: times, End: state[0], Class: class}
	if keep {
		p.X = state[3]
	}
	return p, state[2]
}
