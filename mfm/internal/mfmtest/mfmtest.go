// Package mfmtest provides schedules, mixtures, maps and checks for the tests of this project.
package mfmtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Late is a user-defined schedule without any closed form: α = 1-t, β = t(2-t).
type Late struct{}

// At returns the schedule and its derivatives.
func (Late) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	return 1 - t, t * (2 - t), -1, 2 - 2*t
}

// Graph is At on a node.
func (Late) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return OneMinus(t), Mul(t, AddScalar(Neg(t), 2)), Neg(OnesLike(t)), MulScalar(OneMinus(t), 2)
}

// String returns "late".
func (Late) String() string { return "late" }

// General hides the closed forms of a built-in schedule, so that the general numerical path is
// taken.
type General struct{ interpolant.Schedule }

// String returns the name of the hidden schedule with a suffix.
func (g General) String() string { return fmt.Sprintf("%v by the general path", g.Schedule) }

// BuiltIn returns the built-in schedules.
func BuiltIn() []interpolant.Schedule {
	return []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{}}
}

// EverySchedule returns the built-in schedules, by their closed forms and by the general path, and
// [Late].
func EverySchedule() []interpolant.Schedule {
	all := append(BuiltIn(), Late{})
	for _, ip := range BuiltIn() {
		all = append(all, General{ip})
	}
	return all
}

// Ends are times in and next to the ends of [0, 1], where float32 must suffice.
var Ends = []float64{0, 1e-7, 0.5, 1 - 1e-7, 1}

// Column returns a float64 tensor [len(values)].
func Column(values ...float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(values, len(values))
}

// Points returns a float64 tensor [n, dim].
func Points(rows [][]float64) *tensors.Tensor {
	flat := make([]float64, 0, len(rows)*len(rows[0]))
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return tensors.FromFlatDataAndDimensions(flat, len(rows), len(rows[0]))
}

// Evaluate runs a graph once on float64 inputs converted to dtype and returns its outputs, flat, in
// float64. Float64 graphs test formulas and run on the interpreter, since compilation would
// dominate the time of the test; float32 graphs run on the backend under test.
func Evaluate(t testing.TB, dtype dtypes.DType, build func(in []*Node) []*Node, inputs ...*tensors.Tensor) [][]float64 {
	t.Helper()
	if dtype == dtypes.Float64 {
		return EvaluateOn(t, Interpreter(t), dtype, build, inputs...)
	}
	return EvaluateOn(t, backendtest.New(t), dtype, build, inputs...)
}

// Interpreter returns the pure-Go backend.
func Interpreter(t testing.TB) compute.Backend {
	t.Helper()
	b, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// EvaluateOn is [Evaluate] on a given backend.
func EvaluateOn(
	t testing.TB, b compute.Backend, dtype dtypes.DType, build func(in []*Node) []*Node, inputs ...*tensors.Tensor,
) [][]float64 {
	t.Helper()
	exec, err := NewExec(b, func(in []*Node) []*Node {
		for i := range in {
			in[i] = ConvertDType(in[i], dtype)
		}
		out := build(in)
		for i := range out {
			out[i] = ConvertDType(out[i], dtypes.Float64)
		}
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	args := make([]any, len(inputs))
	for i, in := range inputs { // a tensor belongs to one backend
		if args[i], err = in.LocalClone(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	flat := make([][]float64, len(out))
	for i := range out {
		flat[i] = tensors.MustCopyFlatData[float64](out[i])
	}
	return flat
}

// Near checks |got - want| <= tolerance (1 + |want|) for each element.
func Near(t testing.TB, name string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", name, len(got), len(want))
	}
	worst, at := 0.0, -1
	for i := range got {
		if e := math.Abs(got[i]-want[i]) / (1 + math.Abs(want[i])); !(e <= worst) {
			worst, at = e, i
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: element %d is %.12g, want %.12g (relative error %.2g, allowed %.2g)",
			name, at, got[at], want[at], worst, tolerance)
	}
}

// Flatten joins n rows, as the functions of a mixture return them, into one slice.
func Flatten(n int, row func(i int) []float64) []float64 {
	var flat []float64
	for i := range n {
		flat = append(flat, row(i)...)
	}
	return flat
}

// NewRNG returns a generator with the given seed.
func NewRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// Gaussian returns a Gaussian with correlated coordinates, as a mixture of one component.
func Gaussian(t testing.TB) *gmm.Mixture {
	return NewMixture(t, []float64{1}, [][]float64{{0.7, -0.4}}, [][][]float64{{{1.3, 0.5}, {0.5, 0.6}}})
}

// Mixture returns a mixture of three different components.
func Mixture(t testing.TB) *gmm.Mixture {
	return NewMixture(t, []float64{0.5, 0.3, 0.2}, [][]float64{{-1.5, -1}, {0.3, 0.2}, {2, 1}},
		[][][]float64{{{0.4, 0.1}, {0.1, 0.3}}, {{0.2, 0}, {0, 0.5}}, {{0.6, -0.3}, {-0.3, 0.7}}})
}

// NewMixture returns a mixture, or fails the test.
func NewMixture(t testing.TB, weights []float64, means [][]float64, covariances [][][]float64) *gmm.Mixture {
	t.Helper()
	m, err := gmm.New(weights, means, covariances)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ExactMap returns a map that is exact for a Gaussian: the Gaussian parametrization of its moments
// around a backbone that returns zeros.
func ExactMap(t testing.TB, mixture *gmm.Mixture, ip interpolant.Schedule) *mfm.Map {
	t.Helper()
	p, err := mfm.NewGaussian(mixture.Mean(), mixture.Covariance())
	if err != nil {
		t.Fatal(err)
	}
	return &mfm.Map{Interpolant: ip, Backbone: ZeroBackbone, Parametrization: p}
}

// ZeroBackbone returns zeros.
func ZeroBackbone(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) }

// Classes is the exact parametrization of one Gaussian for each label, the last of no class, around
// a backbone that returns zeros.
type Classes []*mfm.Gaussian

// Velocity returns the velocity of each row's Gaussian.
func (c Classes) Velocity(ip interpolant.Schedule, f mfm.Network, in nn.Inputs) *Node {
	out := c[0].Velocity(ip, f, in)
	for k, g := range c[1:] {
		is := batch.Like(Equal(in.Class, Scalar(in.Class.Graph(), in.Class.DType(), k+1)), out)
		out = Where(BroadcastToShape(is, out.Shape()), g.Velocity(ip, f, in), out)
	}
	return out
}

// Whiten returns err.
func (Classes) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// ClassModel returns the exact model, of the plane, of Gaussians with the given means and variances
// of all coordinates. The last one is that of no class.
func ClassModel(ip interpolant.Schedule, means [][]float64, variances []float64) mfm.Model {
	var c Classes
	for k, mean := range means {
		c = append(c, &mfm.Gaussian{Mean: mean, Variance: []float64{variances[k]}})
	}
	return mfm.Model{
		Map:     &mfm.Map{Interpolant: ip, Backbone: ZeroBackbone, Parametrization: c},
		Weights: Weightless(), Shape: []int{2}, Classes: len(means) - 1,
	}
}

// Weightless returns a scope for backbones without weights.
func Weightless() *model.Scope { return model.NewStore().Scope(train.WeightsScope) }

// Cases are times and states as training draws them: x̄ and x are noised from one data sample each,
// with independent noises.
type Cases struct {
	S, U, T []float64
	Xbar, X [][]float64
}

// NewCases returns n cases for data of a mixture.
func NewCases(mixture *gmm.Mixture, ip interpolant.Schedule, n int) Cases {
	rng := NewRNG(7)
	c := Cases{}
	noised := func(t float64, z []float64) []float64 {
		alpha, beta, _, _ := ip.At(t)
		x := make([]float64, len(z))
		for i := range x {
			x[i] = alpha*rng.NormFloat64() + beta*z[i]
		}
		return x
	}
	for _, z := range mixture.Sample(rng, n) {
		s, u, t := 0.98*rng.Float64(), 0.98*rng.Float64(), 0.98*rng.Float64()
		s, u = min(s, u), max(s, u)
		c.S, c.U, c.T = append(c.S, s), append(c.U, u), append(c.T, t)
		c.Xbar, c.X = append(c.Xbar, noised(s, z)), append(c.X, noised(t, z))
	}
	return c
}

// Inputs returns the tensors s, u, t [n] and x̄, x [n, dim].
func (c Cases) Inputs() []*tensors.Tensor {
	return []*tensors.Tensor{Column(c.S...), Column(c.U...), Column(c.T...), Points(c.Xbar), Points(c.X)}
}

// HasMoments checks that rows have the given mean and covariance, each within 4 standard errors.
// The standard errors of a covariance are estimated from the rows, so the distribution need not be
// Gaussian. bias, in units of the standard deviation and of the variance, is added for methods that
// have one.
func HasMoments(t testing.TB, name string, rows [][]float64, mean []float64, covariance [][]float64, bias float64) {
	t.Helper()
	root := math.Sqrt(float64(len(rows)))
	for i := range mean {
		values := make([]float64, len(rows))
		for k, r := range rows {
			values[k] = r[i]
		}
		got, sd := stat.MeanStdDev(values, nil)
		if se := sd / root; !(math.Abs(got-mean[i]) <= 4*se+bias*math.Sqrt(covariance[i][i])) {
			t.Errorf("%s: mean %d is %.4f ± %.4f, want %.4f", name, i, got, se, mean[i])
		}
		for j := range i + 1 {
			for k, r := range rows {
				values[k] = (r[i] - mean[i]) * (r[j] - mean[j])
			}
			got, sd := stat.MeanStdDev(values, nil)
			scale := math.Sqrt(covariance[i][i] * covariance[j][j])
			if se := sd / root; !(math.Abs(got-covariance[i][j]) <= 4*se+bias*scale) {
				t.Errorf("%s: covariance %d,%d is %.4f ± %.4f, want %.4f", name, i, j, got, se, covariance[i][j])
			}
		}
	}
}

// DriftOf returns the exact drift of a mixture.
func DriftOf(mixture *gmm.Mixture, ip interpolant.Schedule) interpolant.Drift {
	return func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(ip, t, x) }
}

// RowsOf splits flat into rows of length dim.
func RowsOf(flat []float64, dim int) [][]float64 {
	var rows [][]float64
	for i := 0; i < len(flat); i += dim {
		rows = append(rows, flat[i:i+dim])
	}
	return rows
}

// TransitionMixture returns p(x_{t'} | x_t) for data of a mixture and noises of correlation rho.
// Given x and the data z, x_{t'} is Gaussian with mean β' z + ρ (α'/α) (x - β z) and variance α'²
// (1-ρ²). So it is an affine image of p(z | x) with noise added, which loses no digits near t = 1.
func TransitionMixture(
	t testing.TB, mixture *gmm.Mixture, ip interpolant.Schedule, from, to, rho float64, x []float64,
) *gmm.Mixture {
	t.Helper()
	alpha, beta, _, _ := ip.At(from)
	alphaTo, betaTo, _, _ := ip.At(to)
	ofX := rho * alphaTo / alpha
	ofData := betaTo - ofX*beta
	posterior := mixture.Posterior(ip, from, x)
	var means [][]float64
	var covariances [][][]float64
	for k := range posterior.Len() {
		mean, c := posterior.Component(k)
		m, v := make([]float64, len(x)), make([][]float64, len(x))
		for i := range m {
			m[i] = ofData*mean[i] + ofX*x[i]
			for j := range m {
				v[i] = append(v[i], ofData*ofData*(c[i][j]+c[j][i])/2)
			}
			v[i][i] += alphaTo * alphaTo * (1 - rho) * (1 + rho)
		}
		means, covariances = append(means, m), append(covariances, v)
	}
	return NewMixture(t, mixture.PosteriorWeights(ip, from, x), means, covariances)
}

// Registry checks that each entry's name is unique and that of what it builds, that lookup finds
// each entry, and that its error for another name lists all of them.
func Registry[E any](t *testing.T, entries []E, name, built func(e E) string, lookup func(name string) (E, error)) {
	t.Helper()
	_, unknown := lookup("magic")
	if unknown == nil {
		t.Fatal("an unknown name is found")
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		n := name(e)
		if b := built(e); b != n || seen[n] {
			t.Errorf("entry %q builds %q, seen before is %t", n, b, seen[n])
		}
		seen[n] = true
		if found, err := lookup(n); err != nil || name(found) != n {
			t.Errorf("looking up %q returns %q, error %v", n, name(found), err)
		}
		if !strings.Contains(unknown.Error(), n) {
			t.Errorf("the error %q does not list %s", unknown, n)
		}
	}
}
