package tune_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// The minimum of the loss is E[g]/E[w], the correction; that of E|w D - g|² is E[w g]/E[w²],
// another one.
func TestMinimumOfTheNaiveSquare(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	p := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.4}, 1)[0]
	const rows, batches = 1 << 13, 32
	exec, err := NewExec(backendtest.New(t), func(state *Node) []*Node {
		g := state.Graph()
		s := tune.States{
			T: MulScalar(Ones(g, shapes.Make(dtypes.Float32, rows)), p.T),
			X: BroadcastToDims(ConstAsDType(g, dtypes.Float32, [][]float64{p.X}), rows, 2),
		}
		s.Base = m.Drift(s.T, s.X, nil)
		problem := tune.Problem{
			Problem: steer.Problem{Model: m, Reward: r.Reward(), Lambda: Scalar(g, dtypes.Float32, 1)},
			Noise:   tune.Noise{Start: 0.01}, Offset: MulScalar(OnesLike(s.T), p.Value),
		}
		rng := &solver.RNG{State: state}
		got := once().Regress(problem, rng, s)
		w := InsertAxes(got.Weight, -1)
		right := Div(ReduceSum(got.Vector, 0), ReduceSum(w, 0))
		naive := Div(ReduceSum(Mul(w, got.Vector), 0), ReduceSum(Square(w), 0))
		return []*Node{right, naive, rng.State}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	var minima [2][2][]float64 // of the loss and of the naive square, by axis and batch
	for range batches {
		out := exec.MustCall(state)
		for i := range minima {
			for j, v := range tensors.MustCopyFlatData[float32](out[i]) {
				minima[i][j] = append(minima[i][j], float64(v))
			}
		}
		state = out[2]
	}
	naive := 0.0
	for j, want := range p.Correction {
		for i := range minima {
			mean, sd := stat.MeanStdDev(minima[i][j], nil)
			z := math.Abs(mean-want) / (sd / math.Sqrt(batches))
			if i == 1 {
				naive = max(naive, z)
			} else if z > 5 {
				t.Errorf("axis %d: the minimum of the loss is %.4f, %.1f standard errors from the correction %.4f",
					j, mean, z, want)
			}
		}
	}
	if naive < 20 {
		t.Errorf("the minimum of the naive square is within %.1f standard errors of the correction, want another one",
			naive)
	}
}

// The gradient of the loss is w D - g. That of |w D - g|² has another factor w, and so another zero
// in the mean.
func TestGradientOfTheLoss(t *testing.T) {
	exec, err := NewExec(backendtest.New(t), func(d, w, g *Node) []*Node {
		loss := ReduceAllSum(tune.Squares(tune.Regressand{Weight: w, Vector: g}, d))
		naive := ReduceAllSum(Square(Sub(Mul(InsertAxes(w, -1), d), g)))
		return []*Node{Gradient(loss, d)[0], Gradient(naive, d)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	d, w, g := [][]float64{{0.5, -1}, {2, 0.3}}, []float64{0.2, 3}, [][]float64{{1, 0.4}, {-0.6, 2}}
	out := exec.MustCall(d, w, g)
	loss, naive := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	for i := range d {
		for j := range d[i] {
			want := w[i]*d[i][j] - g[i][j] // the factor 2 cancels with the mean over two elements
			if got := loss[2*i+j]; math.Abs(got-want) > 1e-12 {
				t.Errorf("row %d: gradient %g, want w D - g = %g", i, got, want)
			}
			if math.Abs(naive[2*i+j]-2*w[i]*want) > 1e-12 {
				t.Errorf("row %d: the naive gradient is %g, not 2 w (w D - g)", i, naive[2*i+j])
			}
		}
	}
}
