package steer_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// With posterior samples of a trained map, in one step, in several, or by the ODE of its diagonal,
// the gradient of MFM-G is the derivative of its value for fixed noise, the value is near the exact
// one, and each evaluation is counted.
func TestPosteriorSamplesOfAMap(t *testing.T) {
	e, store, err := mixture.Open("../../data/weights/gmm-small")
	if err != nil {
		t.Fatal(err)
	}
	mixture, ip, r := e.Config.Mixture, e.Map.Interpolant, measured()
	const at, n, h = 0.5, 512, 1e-2
	x := states(mixture, ip, at, 6)
	want, _ := estimates(t, exact(t, mixture, ip, r), steer.FromMixture(mixture, ip), r.Reward(), at, x, 1)
	for _, sampler := range []mfm.SamplerConfig{
		{Method: mfm.MapSampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 1, Power: 1}, Start: 0.01},
		{Method: mfm.MapSampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 3, Power: 1}, Start: 0.01},
		{Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 6, Power: 1}, Start: 0.01},
	} {
		m, err := steer.FromMap(e.Model(store), sampler)
		if err != nil {
			t.Fatal(err)
		}
		exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, state, x *Node) []*Node {
			times := MulScalar(OnesLike(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1)), at)
			p := steer.Problem{Model: m, Reward: r.Reward(), Lambda: ScalarOne(x.Graph(), x.DType())}
			counter := steer.NewCounter(x.Graph())
			rng := &solver.RNG{State: state}
			g := steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n}}
			got := g.Estimate(p, rng, counter, times, x, nil, true)
			return []*Node{got.Value, got.Gradient, counter.Node()}
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := RNGStateFromSeed(3)
		if err != nil {
			t.Fatal(err)
		}
		estimate := func(axis int, by float32) (value, gradient []float32, counts []int64) {
			moved := make([][]float32, len(x))
			for i, p := range x {
				moved[i] = []float32{float32(p[0]), float32(p[1])}
				moved[i][axis] += by
			}
			out, err := exec.Call(state, moved)
			if err != nil {
				t.Fatal(err)
			}
			value, gradient = tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
			return value, gradient, tensors.MustCopyFlatData[int64](out[2])
		}
		values, gradients, counts := estimate(0, 0)
		for axis := range 2 {
			up, _, _ := estimate(axis, h)
			down, _, _ := estimate(axis, -h)
			for i := range x {
				got, quotient := float64(gradients[2*i+axis]), float64(up[i]-down[i])/(2*h)
				if math.Abs(got-quotient) > 0.01+0.01*math.Abs(quotient) {
					t.Errorf("%s in %d steps, state %d: gradient %g along axis %d, difference quotient %g",
						sampler.Method, sampler.Steps, i, got, axis, quotient)
				}
			}
		}
		for i, v := range values {
			if math.Abs(float64(v)-want[0][i]) > 0.15 {
				t.Errorf("%s in %d steps, state %d: value %.3f, exact %.3f",
					sampler.Method, sampler.Steps, i, v, want[0][i])
			}
		}
		if rows := int64(len(x) * n * sampler.NFE()); counts[0] != rows || counts[1] != rows {
			t.Errorf("%s in %d steps: %d forward and %d backward evaluations are counted, want %d each",
				sampler.Method, sampler.Steps, counts[0], counts[1], rows)
		}
		exec.Finalize()
	}
}

// classes returns the exact model of two classes, N((-1, 0), I/4) and N((2, 1), I/4); without a
// class it is the standard normal.
func classes(t testing.TB) steer.Model {
	t.Helper()
	var models []steer.Model
	for _, c := range []struct{ x, y, variance float64 }{{-1, 0, 0.25}, {2, 1, 0.25}, {0, 0, 1}} {
		g := mfmtest.NewMixture(t, []float64{1}, [][]float64{{c.x, c.y}},
			[][][]float64{{{c.variance, 0}, {0, c.variance}}})
		models = append(models, steer.FromGaussian(g, interpolant.Linear{}))
	}
	choose := func(class, x *Node, of func(m steer.Model) *Node) *Node {
		out := of(models[2])
		for k := range 2 {
			is := BroadcastToShape(batch.Like(Equal(class, Scalar(x.Graph(), class.DType(), k)), x), out.Shape())
			out = Where(is, of(models[k]), out)
		}
		return out
	}
	return steer.Model{
		Interpolant: interpolant.Linear{}, PosteriorNFE: 1, Classes: 2, Shape: []int{2},
		Drift: func(t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Drift(t, x, nil) })
		},
		Posterior: func(rng *solver.RNG, eps, t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Posterior(rng, eps, t, x, nil) })
		},
	}
}

// byClass is the reward (2 class - 1) x_1.
type byClass struct{}

func (byClass) Build(_ *model.Scope, x *Node, c reward.Condition) *Node {
	sign := AddScalar(MulScalar(ConvertDType(c.Class, x.DType()), 2), -1)
	return Mul(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1), sign)
}

// A linear reward moves the mean of a Gaussian by covariance times slope, here by ∓1/4 with the
// class. The class reaches drift, posterior samples and reward, with a graph reward and with a
// black box.
func TestConditions(t *testing.T) {
	config := steer.DefaultConfig()
	config.Steps = 40
	method := steer.Guided{Config: config,
		Estimator: steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 16}, Baseline: steer.MeanBaseline}}
	m, b := classes(t), backendtest.New(t)
	class := 0
	box := func(samples []float32, shape []int) ([]float64, error) {
		out := make([]float64, shape[0])
		for i := range out {
			out[i] = float64(2*class-1) * float64(samples[2*i])
		}
		return out, nil
	}
	graph := newSteerer(t, m, byClass{}, method)
	blackBox, err := steer.NewBlackBox(b, m, box, method)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(blackBox.Finalize)
	for name, s := range map[string]*steer.Steerer{"graph": graph, "black box": blackBox} {
		for class = range 2 {
			if err := s.SetClass(class); err != nil {
				t.Fatal(err)
			}
			const n = 1000
			r := sample(t, s, 1, n)
			var x, y []float64
			for i := range n {
				x, y = append(x, float64(r.Samples[2*i])), append(y, float64(r.Samples[2*i+1]))
			}
			want := []float64{-1 - 0.25, 2 + 0.25}[class]
			se := 0.5 / math.Sqrt(n)
			if mean := stat.Mean(x, nil); math.Abs(mean-want) > 4*se+0.02 {
				t.Errorf("%s, class %d: mean %.3f, want %.3f ± %.3f", name, class, mean, want, se)
			}
			if mean := stat.Mean(y, nil); math.Abs(mean-float64(class)) > 4*se+0.02 {
				t.Errorf("%s, class %d: second coordinate %.3f ± %.3f", name, class, mean, se)
			}
		}
	}
	if err := graph.SetClass(3); err == nil {
		t.Error("a class out of range is accepted")
	}
	s := newSteerer(t, steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward(), method)
	if err := s.SetClass(0); err == nil {
		t.Error("a class of a model without classes is accepted")
	}
}

// Guidance of scale w between Gaussian drifts moves samples along b_c - b_∅ and counts two
// evaluations a step.
func TestGuidance(t *testing.T) {
	config := steer.DefaultConfig()
	means := map[float64]float64{}
	for _, scale := range []float64{1, 2} {
		s := newSteerer(t, classes(t).Guided(scale), byClass{}, steer.Guided{Config: config})
		if err := s.SetClass(1); err != nil {
			t.Fatal(err)
		}
		r := sample(t, s, 2, 500)
		for i := range 500 {
			means[scale] += float64(r.Samples[2*i]) / 500
		}
		if want := 500 * int64(config.Steps) * int64(scale); r.Counts.Network != want {
			t.Errorf("scale %g: %d evaluations, want %d", scale, r.Counts.Network, want)
		}
	}
	// Without a class the mean is 0 and the drift pulls toward it less: guidance goes beyond the
	// class's 2.
	if math.Abs(means[1]-2) > 0.1 || means[2] < 2.3 {
		t.Errorf("means %v: want 2 without guidance and more with it", means)
	}
}
