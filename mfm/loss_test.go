package mfm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

var (
	lossMean       = []float64{0.7, -0.4}
	lossCovariance = [][]float64{{1.3, 0.5}, {0.5, 0.6}}
)

// lossGraph evaluates a loss and its gradient on Gaussian data, for which the Gaussian
// parametrization with F = 0 is the exact map. F is a small network whose last layer is an argument
// of the call: zero, or a perturbation.
type lossGraph struct {
	exec *Exec
}

const lossHidden = 6

// newLossGraph returns a graph from (seed state, online last layer, target last layer) to (total,
// diagonal, consistency, gradient in the online last layer). If shared is set, target is ignored
// and the online weights are used for both.
func newLossGraph(
	t *testing.T, b compute.Backend, ip interpolant.Schedule, loss mfm.Loss, rows int, shared bool,
) lossGraph {
	t.Helper()
	data := mfmtest.NewMixture(t, []float64{1}, [][]float64{lossMean}, [][][]float64{lossCovariance})
	gaussian, err := mfm.NewGaussian(lossMean, lossCovariance)
	if err != nil {
		t.Fatal(err)
	}
	store := model.NewStore()
	online, target := store.Scope("/online"), store.Scope("/target")
	exec, err := NewExec(b, func(rngState, onlineLast, targetLast *Node) []*Node {
		last := map[string]*Node{online.Scope(): onlineLast, target.Scope(): targetLast}
		backbone := func(scope *model.Scope, in nn.Inputs) *Node {
			g := in.S.Graph()
			column := func(t *Node) *Node { return InsertAxes(t, -1) }
			h := Concatenate([]*Node{in.Xbar, in.X, column(in.S), column(in.U), column(in.T)}, -1)
			w := Sin(MulScalar(Iota(g, shapes.Make(dtypes.Float64, 7, lossHidden), 0), 1.7))
			w = Add(w, Cos(MulScalar(Iota(g, shapes.Make(dtypes.Float64, 7, lossHidden), 1), 2.3)))
			return Dot(Tanh(Dot(h, w).Product()), last[scope.Scope()]).Product()
		}
		m := &mfm.Map{Interpolant: ip, Backbone: backbone, Parametrization: gaussian}
		rng := &solver.RNG{State: rngState}
		var x *Node
		rng.State, x = data.OnGraph(rng.State.Graph(), dtypes.Float64).Sample(rng.State, rows)
		teacher := func(t, x, _ *Node) *Node { return data.Like(x).Drift(ip, t, x) }
		frozen := target
		if shared {
			frozen = online
		}
		terms := loss.Build(m, online, frozen, teacher, rng, mfm.Batch{Data: x})
		return []*Node{terms.Total, terms.Diagonal, terms.Consistency, Gradient(terms.Total, onlineLast)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lossGraph{exec}
}

type lossValue struct {
	total, diagonal, consistency float64
	gradient                     []float64
}

func (p lossGraph) at(t *testing.T, seed int64, online, target []float64) lossValue {
	t.Helper()
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	layer := func(values []float64) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(values, lossHidden, 2)
	}
	out, err := p.exec.Call(state, layer(online), layer(target))
	if err != nil {
		t.Fatal(err)
	}
	return lossValue{
		total:       tensors.ToScalar[float64](out[0]),
		diagonal:    tensors.ToScalar[float64](out[1]),
		consistency: tensors.ToScalar[float64](out[2]),
		gradient:    tensors.MustCopyFlatData[float64](out[3]),
	}
}

// everyLoss lists each consistency loss with each distillation, and the semigroup with both
// intermediate times.
func everyLoss() []mfm.Loss {
	var losses []mfm.Loss
	for _, c := range []mfm.Consistency{
		mfm.DiagonalOnly, mfm.Semigroup, mfm.MeanFlow, mfm.Eulerian, mfm.Lagrangian, mfm.Energy,
	} {
		for _, d := range []mfm.Distillation{mfm.Self, mfm.Teacher} {
			l := mfm.DefaultLoss()
			l.Consistency, l.Distillation = c, d
			losses = append(losses, l)
		}
	}
	midpoint := mfm.DefaultLoss()
	midpoint.Midpoint = true
	return append(losses, midpoint)
}

func lossName(l mfm.Loss) string {
	name := fmt.Sprintf("%s-%s", l.Consistency, l.Distillation)
	if l.Midpoint {
		name += "-midpoint"
	}
	if l.Sum {
		name += "-sum"
	}
	return name
}

var schedules = []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{},
	interpolant.VariancePreserving{}}

// regressesOnData reports whether a loss compares with the data themselves, so that only its
// expected gradient is zero.
func regressesOnData(l mfm.Loss) bool {
	return l.Consistency == mfm.Energy ||
		l.Distillation == mfm.Self && (l.Consistency == mfm.DiagonalOnly || l.Consistency == mfm.MeanFlow)
}

func TestLossesVanishAtTheExactMap(t *testing.T) {
	b := backendtest.New(t)
	zero := make([]float64, lossHidden*2)
	for _, ip := range schedules {
		for _, loss := range everyLoss() {
			if loss.Consistency != mfm.DiagonalOnly {
				loss.DiagonalShare = 0 // the consistency loss alone
			}
			t.Run(fmt.Sprintf("%v/%s", ip, lossName(loss)), func(t *testing.T) {
				teacherLagrangian := loss.Distillation == mfm.Teacher && loss.Consistency == mfm.Lagrangian
				skipSlowCompiles(t, b, ip == schedules[0] || teacherLagrangian)
				p := newLossGraph(t, b, ip, loss, 256, true)
				if regressesOnData(loss) {
					expectZeroGradient(t, p, zero)
					return
				}
				v := p.at(t, 1, zero, zero)
				if math.Abs(v.total) > 1e-9 {
					t.Errorf("loss %g at the exact map, want 0", v.total)
				}
				for i, g := range v.gradient {
					if math.Abs(g) > 1e-6 {
						t.Errorf("gradient[%d] = %g at the exact map, want 0", i, g)
					}
				}
				// The loss of another map is not zero.
				if v := p.at(t, 1, perturbation(0.1), zero); v.total < 1e-6 {
					t.Errorf("loss %g at a perturbed map, want more than 0", v.total)
				}
			})
		}
	}
}

// skipSlowCompiles skips cases that are not selected on XLA, which takes seconds to compile each.
// scripts/test runs all cases on the pure-Go backend.
func skipSlowCompiles(t *testing.T, b compute.Backend, selected bool) {
	t.Helper()
	if backend.Loops(b) && !selected {
		t.Skip("on the pure-Go backend only")
	}
}

// expectZeroGradient checks that the mean gradient over batches is zero within its standard error
// in every component.
func expectZeroGradient(t *testing.T, p lossGraph, at []float64) {
	t.Helper()
	const batches = 200
	sum, squares := make([]float64, len(at)), make([]float64, len(at))
	for i := range batches {
		for j, g := range p.at(t, int64(i), at, at).gradient {
			sum[j] += g
			squares[j] += g * g
		}
	}
	for j := range at {
		mean := sum[j] / batches
		se := math.Sqrt((squares[j]/batches - mean*mean) / (batches - 1))
		// 4 standard errors, for 12 components and a few losses.
		if math.Abs(mean) > 4*se {
			t.Errorf("expected gradient[%d] = %.2g ± %.2g, want 0", j, mean, se)
		}
		if se == 0 {
			t.Errorf("gradient[%d] never varies", j)
		}
	}
}

func perturbation(size float64) []float64 {
	w := make([]float64, lossHidden*2)
	for i := range w {
		w[i] = size * math.Sin(1+2*float64(i))
	}
	return w
}

func TestLossGradientsAgainstFiniteDifferences(t *testing.T) {
	b := backendtest.New(t)
	losses := everyLoss()
	l := mfm.DefaultLoss()
	l.Sum, l.DiagonalShare = true, 0.75
	losses = append(losses, l)
	const h = 1e-5
	for _, loss := range losses {
		t.Run(lossName(loss), func(t *testing.T) {
			skipSlowCompiles(t, b, loss.Distillation == mfm.Self)
			// Finite differences vary the online weights only; the targets keep theirs. The
			// adaptive weight is not differentiated, so it is left out here; TestAdaptiveWeight
			// checks it.
			plain := loss
			plain.AdaptivePower = 0
			at := perturbation(0.3)
			frozen := newLossGraph(t, b, interpolant.Linear{}, plain, 64, false)
			gradient := frozen.at(t, 3, at, at).gradient
			for i := range at {
				moved := append([]float64(nil), at...)
				moved[i] += h
				up := frozen.at(t, 3, moved, at).total
				moved[i] -= 2 * h
				down := frozen.at(t, 3, moved, at).total
				if want := (up - down) / (2 * h); math.Abs(gradient[i]-want) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("gradient[%d] = %g, finite differences give %g", i, gradient[i], want)
				}
			}
			// With one scope for both the loss and the gradient are the same: no gradient passes
			// through a target.
			shared := newLossGraph(t, b, interpolant.Linear{}, plain, 64, true).at(t, 3, at, at)
			for i := range at {
				if math.Abs(shared.gradient[i]-gradient[i]) > 1e-10*(1+math.Abs(gradient[i])) {
					t.Errorf("gradient[%d] = %g with targets from the same weights, %g with a frozen copy",
						i, shared.gradient[i], gradient[i])
				}
			}
		})
	}
}

// A map with the error d = θ (1+s) (1, 2) in every row has the loss mean(w |d|²/2). Its derivative
// is mean(w |d|²)/θ, because the weight w = 1/(|d|²+c)^c counts as a constant.
func TestAdaptiveWeight(t *testing.T) {
	const rows, theta = 16, 0.7
	mixture := mfmtest.Gaussian(t)
	type testCase struct {
		loss         mfm.Loss
		power, floor float64
	}
	var cases []testCase
	for _, loss := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Semigroup} {
		for _, w := range [][2]float64{{0, 0.01}, {0.5, 0.01}, {1, 0.01}, {1, 2}, {2, 0.5}} {
			l := mfm.DefaultLoss()
			l.Consistency, l.Distillation, l.DiagonalShare = loss, mfm.Teacher, 0
			l.AdaptivePower, l.AdaptiveFloor = w[0], w[1]
			cases = append(cases, testCase{l, w[0], w[1]})
		}
	}
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(mfmtest.Interpreter(t), func(state, theta, data *Node) (out []*Node) {
		ip := interpolant.Linear{}
		for _, c := range cases {
			var s *Node
			backbone := func(scope *model.Scope, in nn.Inputs) *Node {
				exact := ZerosLike(in.Xbar) // the zero map is a semigroup
				if c.loss.Consistency == mfm.DiagonalOnly {
					drift := mfmtest.DriftOf(mixture, ip)
					exact = interpolant.ConditionalDrift(ip, drift, in.S, in.Xbar, in.T, in.X, nil)
				}
				if scope.Scope() != "/online" {
					return exact
				}
				s = in.S
				return Add(exact, Mul(Mul(theta, InsertAxes(OnePlus(s), -1)),
					Const(theta.Graph(), [][]float64{{1, 2}})))
			}
			m := &mfm.Map{Interpolant: ip, Backbone: backbone, Parametrization: mfm.Plain{}}
			store := model.NewStore()
			online, target := store.Scope("/online"), store.Scope("/target")
			teacher, rng := mfmtest.DriftOf(mixture, ip), &solver.RNG{State: state}
			terms := c.loss.Build(m, online, target, teacher, rng, mfm.Batch{Data: data})
			out = append(out, terms.Total, Gradient(terms.Total, theta)[0], Add(terms.Diagonal, terms.Consistency), s)
		}
		return out
	})
	defer exec.Finalize()
	out, err := exec.Call(state, theta, mfmtest.Points(mixture.Sample(mfmtest.NewRNG(1), rows)))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		var total, derivative, square float64
		for _, s := range tensors.MustCopyFlatData[float64](out[4*i+3]) {
			d := 5 * theta * theta * (1 + s) * (1 + s)
			w := math.Pow(d+c.floor, -c.power)
			total, derivative, square = total+w*d/2/rows, derivative+w*d/theta/rows, square+d/2/rows
		}
		var got []float64
		for _, x := range out[4*i : 4*i+3] {
			got = append(got, tensors.ToScalar[float64](x))
		}
		name := fmt.Sprintf("%s, p = %g, c = %g: total, derivative, mean square", c.loss.Consistency, c.power, c.floor)
		mfmtest.Near(t, name, got, []float64{total, derivative, square}, 1e-10)
	}
}
