package mfm

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// timesExec runs a graph of a generator and a training step in float64 on the interpreter.
func timesExec(t *testing.T, build func(rng *solver.RNG, step *Node) []*Node) func(step float64) [][]float64 {
	t.Helper()
	b, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(b, func(state, step *Node) []*Node { return build(&solver.RNG{State: state}, step) })
	t.Cleanup(func() { exec.Finalize() })
	return func(step float64) [][]float64 {
		state, err := RNGStateFromSeed(11)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(state, step)
		if err != nil {
			t.Fatal(err)
		}
		flat := make([][]float64, len(out))
		for i := range out {
			flat[i] = tensors.MustCopyFlatData[float64](out[i])
		}
		return flat
	}
}

// hasMean checks the mean of f over the i in [0, n) for which keep is true, within 4 standard
// errors.
func hasMean(t *testing.T, name string, n int, keep func(i int) bool, f func(i int) float64, want float64) {
	t.Helper()
	var values []float64
	for i := range n {
		if keep(i) {
			values = append(values, f(i))
		}
	}
	mean, sd := stat.MeanStdDev(values, nil)
	if se := sd / math.Sqrt(float64(len(values))); !(math.Abs(mean-want) <= 4*se) {
		t.Errorf("%s is %.4f ± %.4f, want %.4f", name, mean, se, want)
	}
}

func indicator(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// E[U^(km)] = 1/(km+1). For the smaller s and the larger u of two uniform numbers E[s] = 1/3, E[u]
// = 2/3, E[su] = 1/4, E[(u-s)²] = 1/6.
func TestTimeSamplingMoments(t *testing.T) {
	const n = 40_000
	times := TimeSampling{ContextPower: 2, ContextZero: 0.2, StartPower: 3, WholeGap: 0.3}
	shape := shapes.Make(dtypes.Float64, n)
	out := timesExec(t, func(rng *solver.RNG, step *Node) []*Node {
		context, start := times.context(rng, shape), times.start(rng, shape)
		s, u := times.pair(rng, shape, OnesLike(step))
		return []*Node{context, start, s, u}
	})(1)
	context, start, s, u := out[0], out[1], out[2], out[3]
	every := func(int) bool { return true }

	zero := func(i int) bool { return context[i] == 0 }
	informed := func(i int) bool { return !zero(i) }
	hasMean(t, "share of contexts at zero", n, every, func(i int) float64 { return indicator(zero(i)) }, 0.2)
	hasMean(t, "mean of t", n, informed, func(i int) float64 { return context[i] }, 1./3)
	hasMean(t, "mean of t²", n, informed, func(i int) float64 { return context[i] * context[i] }, 1./5)

	hasMean(t, "mean of s on the diagonal", n, every, func(i int) float64 { return start[i] }, 1./4)
	hasMean(t, "mean of s² on the diagonal", n, every, func(i int) float64 { return start[i] * start[i] }, 1./7)

	whole := func(i int) bool { return s[i] == 0 && u[i] == 1 }
	sorted := func(i int) bool { return !whole(i) }
	hasMean(t, "share of whole gaps", n, every, func(i int) float64 { return indicator(whole(i)) }, 0.3)
	hasMean(t, "mean of s", n, sorted, func(i int) float64 { return s[i] }, 1./3)
	hasMean(t, "mean of u", n, sorted, func(i int) float64 { return u[i] }, 2./3)
	hasMean(t, "mean of s u", n, sorted, func(i int) float64 { return s[i] * u[i] }, 1./4)
	hasMean(t, "mean of (u-s)²", n, sorted, func(i int) float64 { return (u[i] - s[i]) * (u[i] - s[i]) }, 1./6)
	for i := range n {
		if !(0 <= s[i] && s[i] <= u[i] && u[i] <= 1) {
			t.Fatalf("pair (%g, %g), want 0 <= s <= u <= 1", s[i], u[i])
		}
	}
}

// The consistency loss has weight from the step after DiagonalSteps. From there on gaps grow about
// the middles of the pairs, whose distribution does not change: the middle of two uniform numbers
// has mean 1/2 and variance 1/24.
func TestWarmups(t *testing.T) {
	const n = 10_000
	loss := DefaultLoss()
	loss.DiagonalSteps, loss.GapWarmup, loss.DiagonalShare = 5, 10, 0.25
	backbone := func(_ *model.Scope, in nn.Inputs) *Node { return Add(in.Xbar, InsertAxes(in.U, -1)) }
	m := &Map{Interpolant: interpolant.Linear{}, Parametrization: Plain{}, Backbone: backbone}
	at := timesExec(t, func(rng *solver.RNG, step *Node) []*Node {
		batch := Batch{Data: Ones(step.Graph(), shapes.Make(dtypes.Float64, n, 2)), Step: step}
		scope := model.NewStore().Scope(train.WeightsScope)
		e := loss.evaluation(m, scope, scope, nil, rng, batch)
		withoutGap := loss
		withoutGap.GapWarmup = 0 // otherwise the consistency loss is zero during DiagonalSteps
		terms := withoutGap.Build(m, scope, scope, nil, rng, batch)
		return []*Node{e.offDiagonal.S, e.offDiagonal.U, e.diagonal.S, e.diagonal.U,
			terms.Total, terms.Diagonal, terms.Consistency}
	})
	every := func(int) bool { return true }
	for _, c := range []struct{ step, gap, share float64 }{{1, 0, 0}, {5, 0, 0}, {6, 0.1, 1}, {10, 0.5, 1}, {15, 1, 1},
		{40, 1, 1}} {
		out := at(c.step)
		s, u, total, diagonal, consistency := out[0], out[1], out[4][0], out[5][0], out[6][0]
		hasMean(t, "mean gap", len(s), every, func(i int) float64 { return u[i] - s[i] }, c.gap/3)
		hasMean(t, "mean middle", len(s), every, func(i int) float64 { return (s[i] + u[i]) / 2 }, 1./2)
		hasMean(t, "variance of the middle", len(s), every, func(i int) float64 {
			return math.Pow((s[i]+u[i])/2-0.5, 2)
		}, 1./24)
		for i := range s {
			if gap := u[i] - s[i]; gap < 0 || gap > c.gap {
				t.Fatalf("step %g: gap %g, want at most %g", c.step, gap, c.gap)
			}
		}
		if got, want := len(out[2]), n/4; got != want {
			t.Errorf("%d rows on the diagonal, want %d", got, want)
		}
		for i := range out[2] {
			if out[2][i] != out[3][i] {
				t.Fatalf("pair (%g, %g) on the diagonal, want s = u", out[2][i], out[3][i])
			}
		}
		want := 0.25*diagonal + 0.75*c.share*consistency
		if !(math.Abs(total-want) < 1e-12) || !(diagonal > 0.1) || !(consistency > 1e-6) {
			t.Errorf("step %g: loss %g, want %g from diagonal %g and consistency %g",
				c.step, total, want, diagonal, consistency)
		}
	}
}

// The distance of equal samples has the gradient 0, and that of close ones a finite gradient.
func TestDistancePowerAtZero(t *testing.T) {
	exec, err := NewExec(backendtest.New(t), func(d *Node) []*Node {
		v := distancePower(ReduceMean(Square(d), 1), 1)
		return []*Node{v, Gradient(ReduceAllSum(v), d)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call([][]float32{{0, 0}, {2, 2}, {1e-12, 0}, {1e-30, 0}})
	if err != nil {
		t.Fatal(err)
	}
	values, gradient := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
	if values[0] != 0 || values[1] != 2 || gradient[0] != 0 || gradient[2] != 0.5 {
		t.Errorf("distances %v with gradients %v", values, gradient)
	}
	for _, v := range gradient {
		if !(math.Abs(float64(v)) <= 1) {
			t.Errorf("gradients %v", gradient)
		}
	}
}
