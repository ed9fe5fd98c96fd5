package tune

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Law is the law of the states (t, x) that training sees. Rows that are neither of own paths nor of the buffer are interpolants I_t of data, t on [t_0, 1).
type Law struct {
	// Power is p in t = t_0 + (1 - t_0) U^p for those rows, U uniform: more than 1 has more of them near noise, where what is to become of a sample is decided. 0 is 1.
	Power float64 `json:"power,omitempty"`
	// Own is the share of rows on the current model's own paths, by its SDE: with all states of a path as rows, a path is Steps of them.
	Own   float64 `json:"own"`
	Steps int     `json:"steps"`
	// Replay is the share of rows from a buffer of Capacity states that earlier steps had as Own, the oldest of which make room.
	Replay   float64 `json:"replay"`
	Capacity int     `json:"capacity"`
}

// DefaultLaw is interpolants of data alone; paths, where they are wanted, have 40 steps and the buffer 65,536 states.
func DefaultLaw() Law { return Law{Steps: 40, Capacity: 1 << 16} }

// Validate returns an error that names the first value that makes no sense.
func (l Law) Validate() error {
	switch {
	case !(l.Power >= 0 && l.Power <= 100):
		return fmt.Errorf("power = %g of the times: must lie in [0, 100]", l.Power)
	case !(l.Own >= 0 && l.Replay >= 0 && l.Own+l.Replay <= 1):
		return fmt.Errorf("own = %g, replay = %g: shares must not be negative, nor more than 1 together", l.Own, l.Replay)
	case l.Replay > 0 && l.Own == 0:
		return fmt.Errorf("replay = %g with own = 0: the buffer holds states of own paths, give them a share", l.Replay)
	case l.Own > 0 && (l.Steps < 3 || l.Steps > 10_000):
		return fmt.Errorf("steps = %d of a path: must lie in [3, 10000]", l.Steps)
	case l.Replay > 0 && (l.Capacity < 1 || l.Capacity > 1<<24):
		return fmt.Errorf("capacity = %d states: must lie in [1, 2^24]", l.Capacity)
	}
	return nil
}

// split returns the numbers of rows of data, of own paths (a multiple of their steps) and of the buffer, that make up n.
func (l Law) split(n int) (data, own, replay int, err error) {
	if l.Own > 0 {
		paths := min(int(math.Round(l.Own*float64(n)/float64(l.Steps))), n/l.Steps)
		if own = paths * l.Steps; paths < 1 {
			return 0, 0, 0, fmt.Errorf("own = %g of a batch of %d: that is no whole path of %d steps, use a larger batch or fewer steps", l.Own, n, l.Steps)
		}
	}
	replay = min(int(math.Round(l.Replay*float64(n))), n-own)
	return n - own - replay, own, replay, nil
}

// Paths are paths of a model's SDE.
type Paths struct {
	Times []float64 // t_0 < ... < 1, the last one that of End
	X     *Node     // states at all times but the last, [steps, n, ...]
	End   *Node     // at 1, [n, ...]
}

// pathTimes returns the times of a path from t_0 to 1. The SDE pulls x by 1/t, so that steps that are not short beside t blow it up: the first are shorter by the number of steps.
func pathTimes(start float64, steps int) []float64 {
	return interpolant.Grid{Steps: steps, Power: 2}.Times(start, 1)
}

// checkPath returns an error for paths whose first step is not short beside their start.
func checkPath(start float64, steps int) error {
	if !(start > 0 && start < 1) || steps < 3 || steps > 100_000 {
		return fmt.Errorf("a path of %d steps from t = %g: must have 3 to 100,000, and start within (0, 1)", steps, start)
	}
	if times := pathTimes(start, steps); times[1]-times[0] > 0.5*start {
		return fmt.Errorf("a path of %d steps from t = %g: its first step is %.2g, which must be below half the start: take more steps, or start later", steps, start, times[1]-times[0])
	}
	return nil
}

// follow draws n paths of the SDE with drift b along times from t_0 to 1: noise goes to t_0 by the ODE, and the last step adds none. move is told of each step but the first and may return numbers [n] to be summed along it; nil for none.
func follow(rng *solver.RNG, ip interpolant.Schedule, b interpolant.Drift, times []float64, noise *Node, keep bool, move func(row []*Node, x, drift *Node) *Node) (Paths, *Node) {
	g, dtype := noise.Graph(), noise.DType()
	steps := solver.SDESteps(ip, append([]float64{0}, times...))
	start := batch.Every(ScalarZero(g, dtype), noise)
	x := Add(noise, MulScalar(b(start, noise, nil), steps[0].Drift))
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
		drift := b(batch.Every(row[0], x), x, nil)
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
	p := Paths{Times: times, End: state[0]}
	if keep {
		p.X = state[3]
	}
	return p, state[2]
}

// interpolants draws n states of data.
func (l Law) interpolants(p Problem, source train.Source, data *model.Scope, g *Graph, rng *solver.RNG, n int) States {
	ip := p.Model.Interpolant
	x1, _ := source(data, g, rng, n)
	u := rng.Uniform(shapes.Make(x1.DType(), n))
	if l.Power != 0 && l.Power != 1 {
		u = Pow(u, Scalar(g, u.DType(), l.Power))
	}
	t := AddScalar(MulScalar(u, 1-p.Noise.Start), p.Noise.Start)
	noise := rng.Normal(x1.Shape())
	return States{T: t, X: interpolant.StateAt(ip, t, noise, x1), Data: x1, Velocity: interpolant.VelocityAt(ip, t, noise, x1)}
}

// onPaths draws rows states of the current model's paths.
func onPaths(p Problem, tuned interpolant.Drift, rng *solver.RNG, like shapes.Shape, rows, steps int, g *Graph) States {
	shape := like.Clone()
	shape.Dimensions[0] = rows / steps
	noise := rng.Normal(shape)
	frozen := func(t, x, class *Node) *Node { return StopGradient(tuned(t, x, class)) }
	paths, _ := follow(rng, p.Model.Interpolant, frozen, pathTimes(p.Noise.Start, steps), noise, true, nil)
	paths.X, paths.End = StopGradient(paths.X), StopGradient(paths.End)
	times := ConstAsDType(g, shape.DType, paths.Times[:steps])
	dims := append([]int{rows}, shape.Dimensions[1:]...)
	return States{
		T:     Reshape(BroadcastToDims(InsertAxes(times, -1), steps, shape.Dimensions[0]), rows),
		X:     Reshape(paths.X, dims...),
		Paths: &paths,
	}
}

// joined returns the states of several laws as one.
func joined(all []States) States {
	if len(all) == 1 {
		return all[0]
	}
	var t, x []*Node
	for _, s := range all {
		t, x = append(t, s.T), append(x, s.X)
	}
	return States{T: Concatenate(t, 0), X: Concatenate(x, 0)}
}
