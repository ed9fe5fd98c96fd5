package tune

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/floats"

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
			return 0, 0, 0, fmt.Errorf("own = %g of a batch of %d: less than a whole path of %d steps, use a larger "+
				"batch or fewer steps",
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
	} else if class == nil {
		Panicf("the model has %d classes, but the data has no labels: give a source with labels", p.Model.Classes)
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

// onPaths draws states on paths of the current drift, as many as rows, steps of them on each path,
// with classes drawn by their shares. like has the shape of the states.
func onPaths(
	p Problem, tuned interpolant.Drift, rng *solver.RNG, like shapes.Shape, rows, steps int, shares []float64, g *Graph,
) States {
	shape := like.Clone()
	n := rows / steps
	shape.Dimensions[0] = n
	noise := rng.Normal(shape)
	class := pathClasses(rng, g, p.Model.Classes, shares, n)
	frozen := func(t, x, class *Node) *Node { return StopGradient(tuned(t, x, class)) }
	paths, _ := follow(rng, p.Model.Interpolant, frozen, pathTimes(p.Noise.Start, steps), noise, class, true, nil)
	paths.X, paths.End = StopGradient(paths.X), StopGradient(paths.End)
	times := ConstAsDType(g, shape.DType, paths.Times[:steps])
	dims := append([]int{rows}, shape.Dimensions[1:]...)
	s := States{
		T:     Reshape(BroadcastToDims(InsertAxes(times, -1), steps, n), rows),
		X:     Reshape(paths.X, dims...),
		Paths: &paths,
	}
	if class != nil {
		s.Class = Reshape(BroadcastToDims(InsertAxes(class, 0), steps, n), rows)
	}
	return s
}

// checkShares returns an error if shares are neither nil nor those of so many classes.
func checkShares(shares []float64, classes int) error {
	if shares == nil {
		return nil
	}
	if len(shares) != classes {
		return fmt.Errorf("%d shares of classes for a model with %d classes: give one for each, or none", len(shares),
			classes)
	}
	sum := 0.0
	for _, s := range shares {
		if !(s >= 0) {
			return fmt.Errorf("shares of classes %v: must not be negative", shares)
		}
		sum += s
	}
	if !(sum > 0 && sum <= math.MaxFloat64) {
		return fmt.Errorf("shares of classes %v: their sum must be positive and finite", shares)
	}
	return nil
}

// pathClasses draws the classes of n paths with probabilities in proportion to shares, or with
// equal ones if shares is nil, int32 [n]. Without classes it returns nil and draws nothing.
func pathClasses(rng *solver.RNG, g *Graph, classes int, shares []float64, n int) *Node {
	if classes == 0 {
		return nil
	}
	if shares == nil || classes == 1 {
		return rng.Below(classes, n)
	}
	// A class without a share has an empty interval between two equal bounds.
	bounds := floats.CumSum(make([]float64, classes), shares)
	floats.Scale(1/bounds[classes-1], bounds)
	u := rng.Uniform(shapes.Make(float32Type, n, 1))
	above := GreaterOrEqual(u, ConstAsDType(g, float32Type, [][]float64{bounds[:classes-1]}))
	return ReduceSum(ConvertDType(above, int32Type), 1)
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
		all = append(all, onPaths(p, tuned, rng, like, onPolicy, t.config.States.Steps, t.task.ClassShares, g))
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
	var t, x, class []*Node
	for _, s := range all {
		t, x, class = append(t, s.T), append(x, s.X), append(class, s.Class)
	}
	s := States{T: Concatenate(t, 0), X: Concatenate(x, 0)}
	if class[0] != nil {
		s.Class = Concatenate(class, 0)
	}
	return s
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
	index := InsertAxes(ConvertDType(Min(Floor(Mul(u, filled)), MinusOne(filled)), int32Type), -1)
	dims := append([]int{slots * each}, t.task.Shape...)
	s := States{T: Gather(Reshape(at, -1), index), X: Gather(Reshape(x, dims...), index)}
	if onPolicy.Class != nil {
		classes := store.GetVariable(replayClasses)
		class := batch.SetRow(classes.NodeValue(g), slot, onPolicy.Class)
		classes.SetNodeValue(class)
		s.Class = Gather(Reshape(class, -1), index)
	}
	return s
}
