package mfmtest

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// late is a schedule of a user's own, without any closed form: α = 1-t, β = t(2-t).
type Late struct{}

func (Late) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	return 1 - t, t * (2 - t), -1, 2 - 2*t
}

func (Late) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return OneMinus(t), Mul(t, AddScalar(Neg(t), 2)), Neg(OnesLike(t)), MulScalar(OneMinus(t), 2)
}

func (Late) String() string { return "late" }

// general hides the closed forms of a built-in schedule, so that the general numerical path is taken.
type General struct{ interpolant.Schedule }

func (g General) String() string { return fmt.Sprintf("%v by the general path", g.Schedule) }

// builtIn are the schedules of the package, everySchedule these by both paths and one of a user's.
func BuiltIn() []interpolant.Schedule {
	return []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{}}
}

func EverySchedule() []interpolant.Schedule {
	all := append(BuiltIn(), Late{})
	for _, ip := range BuiltIn() {
		all = append(all, General{ip})
	}
	return all
}

// ends are the times next to which float32 has to hold out.
var Ends = []float64{0, 1e-7, 0.5, 1 - 1e-7, 1}

// column is a float64 input [len(values)] of a graph, points one [n, dim].
func Column(values ...float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(values, len(values))
}

func Points(rows [][]float64) *tensors.Tensor {
	flat := make([]float64, 0, len(rows)*len(rows[0]))
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return tensors.FromFlatDataAndDimensions(flat, len(rows), len(rows[0]))
}

// evaluate runs a graph once on float64 inputs converted to dtype and returns its outputs, flat, in float64. Float64 is for formulas: it is
// interpreted by the pure-Go backend, since compiling would be nearly all of the test. Float32 runs on the backend under test.
func Evaluate(t testing.TB, dtype dtypes.DType, build func(in []*Node) []*Node, inputs ...*tensors.Tensor) [][]float64 {
	t.Helper()
	if dtype == dtypes.Float64 {
		return EvaluateOn(t, Interpreter(t), dtype, build, inputs...)
	}
	return EvaluateOn(t, backendtest.New(t), dtype, build, inputs...)
}

func Interpreter(t testing.TB) compute.Backend {
	t.Helper()
	b, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func EvaluateOn(t testing.TB, b compute.Backend, dtype dtypes.DType, build func(in []*Node) []*Node, inputs ...*tensors.Tensor) [][]float64 {
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
	for i, in := range inputs { // a tensor is of one backend
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

// near checks |got - want| <= tolerance (1 + |want|), element by element.
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
		t.Errorf("%s: element %d is %.12g, want %.12g (relative error %.2g, allowed %.2g)", name, at, got[at], want[at], worst, tolerance)
	}
}

// flatten joins rows that an oracle returns one by one.
func Flatten(n int, row func(i int) []float64) []float64 {
	var flat []float64
	for i := range n {
		flat = append(flat, row(i)...)
	}
	return flat
}

func NewRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// tilted is a Gaussian with correlated coordinates, mixture one with three components of which no two are alike.
func Tilted(t testing.TB) *gmm.Mixture {
	return NewMixture(t, []float64{1}, [][]float64{{0.7, -0.4}}, [][][]float64{{{1.3, 0.5}, {0.5, 0.6}}})
}

func Mixture(t testing.TB) *gmm.Mixture {
	return NewMixture(t, []float64{0.5, 0.3, 0.2}, [][]float64{{-1.5, -1}, {0.3, 0.2}, {2, 1}},
		[][][]float64{{{0.4, 0.1}, {0.1, 0.3}}, {{0.2, 0}, {0, 0.5}}, {{0.6, -0.3}, {-0.3, 0.7}}})
}

func NewMixture(t testing.TB, weights []float64, means [][]float64, covariances [][][]float64) *gmm.Mixture {
	t.Helper()
	m, err := gmm.New(weights, means, covariances)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// exactMap is a map that is exact for a Gaussian law: the Gaussian parametrization around a backbone that returns zeros.
func ExactMap(t testing.TB, law *gmm.Mixture, ip interpolant.Schedule) *mfm.Map {
	t.Helper()
	p, err := mfm.NewGaussian(law.Mean(), law.Covariance())
	if err != nil {
		t.Fatal(err)
	}
	return &mfm.Map{Interpolant: ip, Backbone: ZeroBackbone, Parametrization: p}
}

func ZeroBackbone(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) }

// weightless is a scope for backbones without weights.
func Weightless() *model.Scope { return model.NewStore().Scope(train.WeightsScope) }

// situations are times and states as training meets them: x and x̄ are noised from one draw of the law, with independent noises.
type Situations struct {
	S, U, T []float64
	Xbar, X [][]float64
}

func SituationsOf(law *gmm.Mixture, ip interpolant.Schedule, n int) Situations {
	rng := NewRNG(7)
	c := Situations{}
	noised := func(t float64, z []float64) []float64 {
		alpha, beta, _, _ := ip.At(t)
		x := make([]float64, len(z))
		for i := range x {
			x[i] = alpha*rng.NormFloat64() + beta*z[i]
		}
		return x
	}
	for _, z := range law.Sample(rng, n) {
		s, u, t := 0.98*rng.Float64(), 0.98*rng.Float64(), 0.98*rng.Float64()
		s, u = min(s, u), max(s, u)
		c.S, c.U, c.T = append(c.S, s), append(c.U, u), append(c.T, t)
		c.Xbar, c.X = append(c.Xbar, noised(s, z)), append(c.X, noised(t, z))
	}
	return c
}

func (c Situations) Inputs() []*tensors.Tensor {
	return []*tensors.Tensor{Column(c.S...), Column(c.U...), Column(c.T...), Points(c.Xbar), Points(c.X)}
}

// hasMoments checks that rows have the given mean and covariance, within 4 standard errors each. Those of a covariance are estimated
// from the rows, so the law need not be Gaussian. bias, in units of the law's deviation and variance, is allowed beside them for methods that
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
			if se := sd / root; !(math.Abs(got-covariance[i][j]) <= 4*se+bias*math.Sqrt(covariance[i][i]*covariance[j][j])) {
				t.Errorf("%s: covariance %d,%d is %.4f ± %.4f, want %.4f", name, i, j, got, se, covariance[i][j])
			}
		}
	}
}

// driftOf is a mixture's drift in closed form.
func DriftOf(law *gmm.Mixture, ip interpolant.Schedule) interpolant.Drift {
	return func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) }
}

func RowsOf(flat []float64, dim int) [][]float64 {
	var rows [][]float64
	for i := 0; i < len(flat); i += dim {
		rows = append(rows, flat[i:i+dim])
	}
	return rows
}

// conditionalLaw returns p(x_{t'} | x_t = x) for data from law, noises of correlation rho. Given x and the data z, x_{t'} is Gaussian with mean
// β' z + ρ (α'/α) (x - β z) and variance α'² (1-ρ²); so it is an affine image of p(z | x) with noise added, which loses no digits near t = 1.
func ConditionalLaw(t testing.TB, law *gmm.Mixture, ip interpolant.Schedule, from, to, rho float64, x []float64) *gmm.Mixture {
	t.Helper()
	alpha, beta, _, _ := ip.At(from)
	alphaTo, betaTo, _, _ := ip.At(to)
	ofX := rho * alphaTo / alpha
	ofData := betaTo - ofX*beta
	posterior := law.Posterior(ip, from, x)
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
	return NewMixture(t, law.PosteriorWeights(ip, from, x), means, covariances)
}
