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
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

var (
	lossMean       = []float64{0.7, -0.4}
	lossCovariance = [][]float64{{1.3, 0.5}, {0.5, 0.6}}
)

// lossProblem evaluates a loss and its gradient on Gaussian data, for which the Gaussian parametrization with F = 0 is
// the exact map. F is a small network whose last layer is a parameter of the call: zero, or a perturbation.
type lossProblem struct {
	exec *Exec
}

const lossHidden = 6

// newLossProblem takes (seed state, online last layer, target last layer) to (total, diagonal, consistency, gradient in the online
// last layer). With shared, target is ignored and the online weights are used for both.
func newLossProblem(t *testing.T, b compute.Backend, ip interpolant.Schedule, loss mfm.Loss, rows int, shared bool) lossProblem {
	t.Helper()
	data, err := gmm.New([]float64{1}, [][]float64{lossMean}, [][][]float64{lossCovariance})
	if err != nil {
		t.Fatal(err)
	}
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
		rng.State, x = data.SampleGraph(rng.State, dtypes.Float64, rows)
		teacher := func(t, x, _ *Node) *Node { return data.DriftGraph(ip, t, x) }
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
	return lossProblem{exec}
}

type lossValue struct {
	total, diagonal, consistency float64
	gradient                     []float64
}

func (p lossProblem) at(t *testing.T, seed int64, online, target []float64) lossValue {
	t.Helper()
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.exec.Call(state, tensors.FromFlatDataAndDimensions(online, lossHidden, 2), tensors.FromFlatDataAndDimensions(target, lossHidden, 2))
	if err != nil {
		t.Fatal(err)
	}
	var v lossValue
	v.total, v.diagonal, v.consistency = tensors.ToScalar[float64](out[0]), tensors.ToScalar[float64](out[1]), tensors.ToScalar[float64](out[2])
	v.gradient = tensors.MustCopyFlatData[float64](out[3])
	return v
}

// everyLoss lists each consistency loss with each distillation, and the semigroup with both splits.
func everyLoss() []mfm.Loss {
	var losses []mfm.Loss
	for _, c := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Semigroup, mfm.MeanFlow, mfm.Eulerian, mfm.Lagrangian} {
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

var schedules = []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{}}

// regressesOnData reports whether a loss has the noise of the data in its target, so that only its expected gradient is zero.
func regressesOnData(l mfm.Loss) bool {
	return l.Distillation == mfm.Self && (l.Consistency == mfm.DiagonalOnly || l.Consistency == mfm.MeanFlow)
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
				skipSlowCompiles(t, b, ip == schedules[0] || loss.Distillation == mfm.Teacher && loss.Consistency == mfm.Lagrangian)
				p := newLossProblem(t, b, ip, loss, 256, true)
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
				// A map that is not exact has a loss: the test can fail.
				if v := p.at(t, 1, perturbation(0.1), zero); v.total < 1e-6 {
					t.Errorf("loss %g at a perturbed map, want more than 0", v.total)
				}
			})
		}
	}
}

// skipSlowCompiles leaves the cases that are not selected to the pure-Go backend, on which scripts/test runs all of them: XLA takes
// seconds to compile each.
func skipSlowCompiles(t *testing.T, b compute.Backend, selected bool) {
	t.Helper()
	if backend.Loops(b) && !selected {
		t.Skip("on the pure-Go backend only")
	}
}

// expectZeroGradient checks that the mean gradient over batches is zero within its standard error, in every component.
func expectZeroGradient(t *testing.T, p lossProblem, at []float64) {
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
		// 12 components, a handful of losses: 4 standard errors.
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
	for _, sum := range []bool{false, true} {
		l := mfm.DefaultLoss()
		l.Sum, l.AdaptivePower = sum, 1
		l.DiagonalShare = 0.75
		losses = append(losses, l)
	}
	const h = 1e-5
	for _, loss := range losses {
		t.Run(lossName(loss), func(t *testing.T) {
			skipSlowCompiles(t, b, loss.Distillation == mfm.Self)
			// Finite differences move the online weights only; the targets keep theirs. The adaptive weight is not differentiated
			// either, so it is left out of this comparison, which is the last check's part.
			plain := loss
			plain.AdaptivePower = 0
			at := perturbation(0.3)
			frozen := newLossProblem(t, b, interpolant.Linear{}, plain, 64, false)
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
			// One scope for both is the same loss and the same gradient: no gradient passes through a target.
			shared := newLossProblem(t, b, interpolant.Linear{}, plain, 64, true).at(t, 3, at, at)
			for i := range at {
				if math.Abs(shared.gradient[i]-gradient[i]) > 1e-10*(1+math.Abs(gradient[i])) {
					t.Errorf("gradient[%d] = %g with targets from the same weights, %g with a frozen copy", i, shared.gradient[i], gradient[i])
				}
			}
		})
	}
}
