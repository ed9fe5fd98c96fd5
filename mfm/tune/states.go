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

// StateSampling says from where a batch takes the states (t, x) at which it regresses: interpolants
// I_t of data with t in [t_0, 1), on-policy paths, and a replay buffer.
type StateSampling struct {
	// Power is p in t = t_0 + (1 - t_0) U^p for the interpolants, with U uniform. Values above 1
	// draw more states near noise, where it is decided what a sample becomes. 0 means 1.
	Power float64 `json:"power,omitempty"`
	// OnPolicy is the share of rows on paths of the current drift's SDE. All states of a path are
	// rows, so a path has Steps of them.
	OnPolicy float64 `json:"own"`
	Steps    int     `json:"steps"`
	// Replay is the share of rows drawn from a replay buffer, which holds about the last Capacity
	// on-policy states, those of the current step included.
	Replay   float64 `json:"replay"`
	Capacity int     `json:"capacity"`
}

// DefaultStateSampling uses interpolants of data alone. If on-policy paths are enabled they have 40
// steps, and a replay buffer has 65,536 states.
func DefaultStateSampling() StateSampling { return StateSampling{Steps: 40, Capacity: 1 << 16} }

// Validate returns an error that names the first value out of range.
func (s StateSampling) Validate() error {
	switch {
	case !(s.Power >= 0 && s.Power <= 100):
		return fmt.Errorf("power = %g of the times: must lie in [0, 100]", s.Power)
	case !(s.OnPolicy >= 0 && s.Replay >= 0 && s.OnPolicy+s.Replay <= 1):
		return fmt.Errorf("own = %g, replay = %g: must not be negative, and at most 1 together", s.OnPolicy, s.Replay)
	case s.Replay > 0 && s.OnPolicy == 0:
		return fmt.Errorf("replay = %g with own = 0: the replay buffer holds on-policy states, use own > 0", s.Replay)
	case s.OnPolicy > 0 && (s.Steps < 3 || s.Steps > 10_000):
		return fmt.Errorf("steps = %d of a path: must lie in [3, 10000]", s.Steps)
	case s.Replay > 0 && (s.Capacity < 1 || s.Capacity > 1<<24):
		return fmt.Errorf("capacity = %d states: must lie in [1, 2^24]", s.Capacity)
	}
	return nil
}

// split returns how many of n rows are interpolants, on-policy states (a multiple of Steps) and
// states of the replay buffer.
func (s StateSampling) split(n int) (data, onPolicy, replay int, err error) {
	if s.OnPolicy > 0 {
		paths := min(int(math.Round(s.OnPolicy*float64(n)/float64(s.Steps))), n/s.Steps)
		if onPolicy = paths * s.Steps; paths < 1 {
			return 0, 0, 0, fmt.Errorf("own = %g of a batch of %d: less than a whole path of %d steps, use a larger batch or fewer steps",
				s.OnPolicy, n, s.Steps)
		}
	}
	replay = min(int(math.Round(s.Replay*float64(n))), n-onPolicy)
	return n - onPolicy - replay, onPolicy, replay, nil
}

// interpolants draws n interpolants of data.
func (s StateSampling) interpolants(
	p Problem, source train.Source, data *model.Scope, g *Graph, rng *solver.RNG, n int,
) States {
	ip := p.Model.Interpolant
	x1, class := source(data, g, rng, n)
	if p.Model.Classes == 0 {
		class = nil
	}
	u := rng.Uniform(shapes.Make(x1.DType(), n))
	if s.Power != 0 && s.Power != 1 {
		u = Pow(u, Scalar(g, u.DType(), s.Power))
	}
	t := AddScalar(MulScalar(u, 1-p.Noise.Start), p.Noise.Start)
	noise := rng.Normal(x1.Shape())
	return States{
		T: t, X: interpolant.StateAt(ip, t, noise, x1),
		Data: x1, Velocity: interpolant.VelocityAt(ip, t, noise, x1), Class: class,
	}
}

// onPaths draws states on paths of the current drift, as many as rows, steps of them on each path.
// like has the shape of the states.
func onPaths(
	p Problem, tuned interpolant.Drift, rng *solver.RNG, like shapes.Shape, rows, steps int, g *Graph,
) States {
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

// states draws the states of a step.
func (t *Tuner) states(
	p Problem, tuned interpolant.Drift, data *model.Scope, rng *solver.RNG, g *Graph,
) States {
	rows, onPolicy, replay, _ := t.config.States.split(t.config.Batch) // checked by New
	var all []States
	if rows > 0 {
		all = append(all, t.config.States.interpolants(p, t.task.Source, data, g, rng, rows))
	}
	if onPolicy > 0 {
		like := shapes.Make(float32Type, append([]int{onPolicy}, t.task.Shape...)...)
		all = append(all, onPaths(p, tuned, rng, like, onPolicy, t.config.States.Steps, g))
	}
	if replay > 0 {
		all = append(all, t.replayed(all[len(all)-1], rng, replay))
	}
	return joined(all)
}

// joined concatenates states. Of more than one it drops Data, Velocity and Paths.
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

// replayed replaces the oldest states of the replay buffer by the given ones and draws states from
// it, as many as rows.
func (t *Tuner) replayed(onPolicy States, rng *solver.RNG, rows int) States {
	g, store := onPolicy.X.Graph(), t.Store()
	xs, ts, count := store.GetVariable(replayStates), store.GetVariable(replayTimes), store.GetVariable(replayCount)
	slots, each := xs.Shape().Dim(0), xs.Shape().Dim(1)
	n := count.NodeValue(g)
	turn := Sub(n, MulScalar(Floor(DivScalar(n, float64(slots))), float64(slots)))
	slot := ConvertDType(turn, int32Type)
	x, at := batch.SetRow(xs.NodeValue(g), slot, onPolicy.X), batch.SetRow(ts.NodeValue(g), slot, onPolicy.T)
	xs.SetNodeValue(x)
	ts.SetNodeValue(at)
	n = OnePlus(n)
	count.SetNodeValue(n)
	filled := MulScalar(MinScalar(n, float64(slots)), float64(each))
	u := rng.Uniform(shapes.Make(float32Type, rows))
	index := ConvertDType(Min(Floor(Mul(u, filled)), MinusOne(filled)), int32Type)
	dims := append([]int{slots * each}, t.task.Shape...)
	return States{
		T: Gather(Reshape(at, -1), InsertAxes(index, -1)), X: Gather(Reshape(x, dims...), InsertAxes(index, -1)),
	}
}
