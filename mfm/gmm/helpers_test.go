package gmm_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

type linear struct{}

func (linear) At(t float64) (alpha, beta, dAlpha, dBeta float64) { return 1 - t, t, -1, 1 }

func (linear) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	return OneMinus(t), t, Neg(OnesLike(t)), OnesLike(t)
}

type trigonometric struct{}

func (trigonometric) At(t float64) (alpha, beta, dAlpha, dBeta float64) {
	const w = math.Pi / 2
	alpha, beta = math.Sin(w*(1-t)), math.Sin(w*t)
	return alpha, beta, -w * beta, w * alpha
}

func (trigonometric) Graph(t *Node) (alpha, beta, dAlpha, dBeta *Node) {
	const w = math.Pi / 2
	alpha, beta = Sin(MulScalar(OneMinus(t), w)), Sin(MulScalar(t, w))
	return alpha, beta, MulScalar(beta, -w), MulScalar(alpha, w)
}

var schedules = map[string]interpolant.Schedule{"linear": linear{}, "trigonometric": trigonometric{}}

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func must(t testing.TB, weights []float64, means [][]float64, covariances [][][]float64) *gmm.Mixture {
	t.Helper()
	m, err := gmm.New(weights, means, covariances)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// regular returns mixtures that have a density at every t: one on a line, the paper's, one with
// full covariances, and one in four dimensions with rotated axes.
func regular(t testing.TB) map[string]*gmm.Mixture {
	return map[string]*gmm.Mixture{
		"line":  must(t, []float64{1, 3}, [][]float64{{-1}, {2}}, [][][]float64{{{0.3}}, {{0.05}}}),
		"paper": gmm.Paper(),
		"full": must(t, []float64{0.2, 0.5, 0.3}, [][]float64{{-2, 1}, {0.5, 0}, {1, 2}},
			[][][]float64{{{1, 0.6}, {0.6, 0.5}}, {{0.2, 0}, {0, 0.8}}, {{0.4, -0.3}, {-0.3, 0.4}}}),
		"four": must(t, []float64{0.6, 0.4}, [][]float64{{1, 0, -1, 2}, {0, 1, 1, -1}}, [][][]float64{
			{{1, .2, .1, 0}, {.2, 1, .3, .1}, {.1, .3, 1, -.4}, {0, .1, -.4, 1}},
			{{.3, 0, 0, 0}, {0, .6, 0, 0}, {0, 0, .2, 0}, {0, 0, 0, .4}}}),
	}
}

func gaussian(t testing.TB) *gmm.Mixture {
	return must(t, []float64{1}, [][]float64{{1, -0.5}}, [][][]float64{{{0.8, 0.5}, {0.5, 0.6}}})
}

// degenerate returns a mixture with a component without variance along a diagonal and a component
// that is a point.
func degenerate(t testing.TB) *gmm.Mixture {
	return must(t, []float64{0.5, 0.5}, [][]float64{{0, 0}, {2, -1}},
		[][][]float64{{{0.5, 0.5}, {0.5, 0.5}}, {{0, 0}, {0, 0}}})
}

// marginalSample returns a sample of I_t.
func marginalSample(m *gmm.Mixture, sched interpolant.Schedule, t float64, rng *rand.Rand) []float64 {
	alpha, beta, _, _ := sched.At(t)
	x := m.Sample(rng, 1)[0]
	for j := range x {
		x[j] = beta*x[j] + alpha*rng.NormFloat64()
	}
	return x
}

func noise(rng *rand.Rand, dim int) []float64 {
	x := make([]float64, dim)
	for j := range x {
		x[j] = rng.NormFloat64()
	}
	return x
}

// near fails the test if got differs from want by more than tol, relative to max(1, |want|).
func near(t *testing.T, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
	scale := math.Max(1, floats.Norm(want, math.Inf(1)))
	for i, v := range got {
		if d := math.Abs(v-want[i]) / scale; !(d <= tol) { // NaN too
			t.Errorf("%s: got %v, want %v: off by %.2g, more than %.2g", what, got, want, d, tol)
			return
		}
	}
}

// derivative returns the central difference of f at x, with a relative error of about 1e-9 for
// smooth functions.
func derivative(f func(float64) float64, x float64) float64 {
	const h = 1e-3
	return (8*(f(x+h)-f(x-h)) - (f(x+2*h) - f(x-2*h))) / (12 * h)
}

// along returns x with coordinate j moved by d.
func along(x []float64, j int, d float64) []float64 {
	y := append([]float64(nil), x...)
	y[j] += d
	return y
}

// checkMoments fails the test if a mean or covariance of samples differs from that of the mixture
// by more than 4 standard errors plus bias.
func checkMoments(t *testing.T, what string, samples [][]float64, mixture *gmm.Mixture, bias float64) {
	t.Helper()
	mean, cov := mixture.Mean(), mixture.Covariance()
	check := func(name string, f func(x []float64) float64, want float64) {
		t.Helper()
		v := make([]float64, len(samples))
		for k, x := range samples {
			v[k] = f(x)
		}
		got, sd := stat.MeanStdDev(v, nil)
		if se := sd / math.Sqrt(float64(len(v))); !(math.Abs(got-want) <= 4*se+bias) {
			t.Errorf("%s: %s of the samples is %v ± %v, want %v", what, name, got, se, want)
		}
	}
	for i := range mean {
		check(fmt.Sprintf("mean %d", i), func(x []float64) float64 { return x[i] }, mean[i])
		for j := range i + 1 {
			check(fmt.Sprintf("covariance (%d, %d)", i, j), func(x []float64) float64 {
				return (x[i] - mean[i]) * (x[j] - mean[j])
			}, cov[i][j])
		}
	}
}

// readGolden returns the float64 tensors of a safetensors file of reference values, flat and by
// name.
func readGolden(t *testing.T, name string) map[string][]float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "interpolant", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	size := binary.LittleEndian.Uint64(data)
	var header map[string]struct {
		DType   string   `json:"dtype"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:8+size], &header); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]float64)
	for key, tensor := range header {
		if tensor.DType != "F64" {
			continue
		}
		raw := data[8+size:][tensor.Offsets[0]:tensor.Offsets[1]]
		for i := 0; i < len(raw); i += 8 {
			out[key] = append(out[key], math.Float64frombits(binary.LittleEndian.Uint64(raw[i:])))
		}
	}
	return out
}

// goldenMixture returns the isotropic mixture of glass_2d: mu [3, 2], std [3], log_weight [3] up to
// a constant.
func goldenMixture(t *testing.T, tensors map[string][]float64) *gmm.Mixture {
	t.Helper()
	var weights []float64
	var covariances [][][]float64
	for i, l := range tensors["log_weight"] {
		v := tensors["std"][i] * tensors["std"][i]
		weights = append(weights, math.Exp(l))
		covariances = append(covariances, [][]float64{{v, 0}, {0, v}})
	}
	return must(t, weights, pairs(tensors["mu"]), covariances)
}

func pairs(flat []float64) [][]float64 {
	out := make([][]float64, len(flat)/2)
	for i := range out {
		out[i] = flat[2*i : 2*i+2]
	}
	return out
}
