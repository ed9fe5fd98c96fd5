package image

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// For a Gaussian, the reference is the exact ∇V_t. Estimates from many samples have a component of
// 1 along it, those from two samples a smaller one.
func TestGradients(t *testing.T) {
	b := backendtest.New(t)
	gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	r := reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.8}
	target, logZ, err := gaussian.Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		t.Fatal(err)
	}
	ip := interpolant.Linear{}
	m := steer.FromGaussian(gaussian, ip)
	m.Store = model.NewStore()
	var data []float32
	for _, x := range target.Sample(rand.New(rand.NewPCG(1, 2)), 4) {
		data = append(data, float32(x[0]), float32(x[1]))
	}
	c := GradientConfig{Times: []float64{0.3, 0.7}, Ns: []int{2, 128}, States: 4, Samples: 1 << 14}
	if testing.Short() {
		c.Samples = 1 << 12
	}
	results, err := gradients(t.Context(), b, m, r.Reward(), data, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 8 {
		t.Fatalf("%d results, want 8", len(results))
	}
	for _, r := range results {
		if math.Abs(r.Difference-1) > 0.05+4*r.DifferenceSE {
			t.Errorf("%+v: want a difference quotient near 1", r)
		}
		if r.Estimates != c.Samples/r.N {
			t.Errorf("%+v: want %d estimates", r, c.Samples/r.N)
		}
		if r.N == 128 && (math.Abs(r.Mean-1) > 0.1+4*r.MeanSE || math.Abs(r.Median-1) > 0.3 ||
			!(r.Length >= 0.9)) {
			t.Errorf("%+v: want a component near 1", r)
		}
		if r.N == 2 && r.Method == "mfm-gf" && !(r.Mean < 0.9) {
			t.Errorf("%+v: want a component below 0.9 from two samples", r)
		}
	}
	at := &gradientsAt{
		ctx: t.Context(), model: m, reward: r.Reward(),
		states: data, t: 0.5, config: c,
	}
	got, err := at.reference(b)
	if err != nil {
		t.Fatal(err)
	}
	exact := MustNewExec(b, func(x *Node) *Node {
		x = Identity(x)
		at := AddScalar(MulScalar(ReduceSum(x, 1), 0), 0.5)
		return steer.FromTilt(gaussian, target, logZ, ip).Gradient(at, x)
	})
	want := tensors.MustCopyFlatData[float32](exact.MustCall(tensors.FromFlatDataAndDimensions(data, 4, 2))[0])
	for k, v := range got {
		for i := range v {
			if w := float64(want[2*k+i]); math.Abs(v[i]-w) > 0.1*(1+math.Abs(w)) {
				t.Errorf("state %d: ∇V %v, want %v", k, v, want[2*k:2*k+2])
			}
		}
	}
	for name, change := range map[string]func(c *GradientConfig){
		"time":    func(c *GradientConfig) { c.Times = []float64{1} },
		"number":  func(c *GradientConfig) { c.Ns = []int{3} },
		"samples": func(c *GradientConfig) { c.Samples = 100 },
		"states":  func(c *GradientConfig) { c.States = 1 },
	} {
		c := c
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// For a Gaussian the posterior samples are m + J x + L ε, where m, J and L do not depend on x. With
// exact samples, gradients and J in plain Go the shares are those of the graph.
func TestShares(t *testing.T) {
	b := backendtest.New(t)
	gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.2541}}})
	ip, x, at := interpolant.Linear{}, []float64{0.5, -0.1}, 0.6
	posterior := gaussian.Posterior(ip, at, x)
	alpha, beta, _, _ := ip.At(at)
	_, covariance := posterior.Component(0)
	jacobian := func(v []float64) []float64 { // J = (β/α²) Σ is symmetric
		return []float64{
			beta / (alpha * alpha) * floats.Dot(covariance[0], v), beta / (alpha * alpha) * floats.Dot(covariance[1], v),
		}
	}
	m := steer.FromGaussian(gaussian, ip)
	m.Store = model.NewStore()
	for name, r := range map[string]reward.LinearGaussian{
		"one direction":  {A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.8},
		"two directions": {A: [][]float64{{1.2, -0.8}, {-0.5, 3}}, Y: []float64{-1, 1}, Sigma: 0.8},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		var exact []term
		for _, sample := range posterior.Sample(rng, 1<<17) {
			v, gradient := 0.0, make([]float64, 2)
			for i, a := range r.A {
				residual := (r.Y[i] - floats.Dot(a, sample)) / r.Sigma
				v -= residual * residual / 2
				floats.AddScaled(gradient, residual/r.Sigma, a)
			}
			exact = append(exact, term{v, floats.Norm(gradient, 2), floats.Norm(jacobian(gradient), 2)})
		}
		g := &gradientsAt{
			ctx: t.Context(), model: m, reward: r.Reward(), t: at,
			states: []float32{float32(x[0]), float32(x[1]), float32(x[0]), float32(x[1])},
			config: GradientConfig{States: 2, Samples: 1 << 14},
		}
		terms, err := g.terms(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{2, 64} {
			got, want := sharesOf(terms, n), sharesOf([][]term{exact}, n)
			mfmtest.Near(t, name, []float64{got.Weights, got.Reward, got.Estimate},
				[]float64{want.Weights, want.Reward, want.Estimate}, 0.02)
			// A constant direction leaves the Jacobian no say.
			if same := math.Abs(got.Reward-got.Estimate) < 1e-4; same != (name == "one direction") {
				t.Errorf("%s, N = %d: %+v", name, n, got)
			}
		}
	}
}

func TestEffectiveShare(t *testing.T) {
	for want, values := range map[float64][]float64{
		1: {3, 3, 3, 3}, 0.25: {0, 0, 7, 0}, 0.5: {1, 1, 0, 0}, 0.9: {1, 2}, 0: {0, 0},
	} {
		if got := effectiveShare(values); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: %g, want %g", values, got, want)
		}
	}
	// e^{r} = 1 and 3: the weights have a share of 16/20, equal terms one of 1.
	terms := [][]term{{{0, 3, 6}, {math.Log(3), 1, 0}}}
	if got := sharesOf(terms, 2); math.Abs(got.Weights-0.8)+math.Abs(got.Reward-1)+math.Abs(got.Estimate-0.5) > 1e-12 {
		t.Errorf("shares %+v, want 0.8, 1 and 0.5", got)
	}
}

func TestTemperatureGrid(t *testing.T) {
	grid := TemperatureGrid()
	for _, s := range grid {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
	}
	bad := slices.Clone(grid)[0]
	bad.Temperature = 0.5
	if bad.Validate() == nil {
		t.Error("a temperature of 0.5 is no error")
	}
}
