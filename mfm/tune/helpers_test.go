package tune_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// gaussian returns a Gaussian and its exact model, whose posterior samples have gradients.
func gaussian(t testing.TB, ip interpolant.Schedule) (*gmm.Mixture, steer.Model) {
	t.Helper()
	gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	return gaussian, steer.FromGaussian(gaussian, ip)
}

// measured is the log-likelihood of a measurement of 1.2 x₁ - 0.8 x₂ with standard deviation sigma.
func measured(sigma float64) reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: sigma}
}

// tilt returns the distribution tilted by λ r, and log Z.
func tilt(t testing.TB, gaussian *gmm.Mixture, r reward.LinearGaussian, lambda float64) (*gmm.Mixture, float64) {
	t.Helper()
	target, logZ, err := gaussian.Tilt(r.A, r.Y, r.Sigma/math.Sqrt(lambda))
	if err != nil {
		t.Fatal(err)
	}
	return target, logZ
}

// points returns states that the tilted distribution visits, each of them at each time, with the
// correction b* - b and the value.
func points(
	gaussian, target *gmm.Mixture, ip interpolant.Schedule, logZ float64, times []float64, each int,
) []tune.Point {
	rng := rand.New(rand.NewPCG(5, 6))
	var out []tune.Point
	for _, at := range times {
		alpha, beta, _, _ := ip.At(at)
		for _, x := range target.Sample(rng, each) {
			p := tune.Point{T: float64(float32(at))}
			for j := range x {
				p.X = append(p.X, float64(float32(alpha*rng.NormFloat64()+beta*x[j])))
			}
			b, tuned := gaussian.Drift(ip, p.T, p.X), target.Drift(ip, p.T, p.X)
			for j := range b {
				p.Correction = append(p.Correction, tuned[j]-b[j])
			}
			p.Value = logZ + target.LogMarginal(ip, p.T, p.X) - gaussian.LogMarginal(ip, p.T, p.X)
			out = append(out, p)
		}
	}
	return out
}

// residuals samples residuals with seed 3, and Doob's schedule from 0.01 if the task has no noise.
func residuals(t testing.TB, task tune.ResidualTask) []tune.Residual {
	t.Helper()
	task.Seed = 3
	if task.Noise == (tune.Noise{}) {
		task.Noise = tune.Noise{Start: 0.01}
	}
	got, err := tune.Residuals(t.Context(), backendtest.New(t), model.NewStore(), task)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// adapter is a small network for a distribution in the plane.
func adapter(width int) tune.Adapter {
	backbone := nn.MLP(nn.MLPConfig{Width: width, Depth: 2, Activation: "silu"})
	return tune.Adapter{
		Interpolant: interpolant.Linear{}, Backbone: backbone, Variance: 1.2, Noise: tune.Noise{Start: 0.01},
	}
}

// samplesOf is a source that samples a mixture.
func samplesOf(gaussian *gmm.Mixture) train.Source {
	return func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = gaussian.OnGraph(rng.State.Graph(), dtypes.Float32).Sample(rng.State, n)
		return data, nil
	}
}

// task tunes the Gaussian toward a measurement with an adapter and one posterior sample.
func task(t testing.TB) tune.Task {
	t.Helper()
	gaussian, m := gaussian(t, interpolant.Linear{})
	return tune.Task{
		Base: tune.ModelBase(m), Reward: measured(0.8).Reward(), Network: adapter(8), Objective: once(),
		Source: samplesOf(gaussian), Shape: []int{2},
	}
}

func newTuner(t testing.TB, task tune.Task, c tune.Config) *tune.Tuner {
	t.Helper()
	task.Metadata = c
	tuner, err := tune.New(backendtest.New(t), task, c)
	if err != nil {
		t.Fatal(err)
	}
	return tuner
}

func run(t testing.TB, tuner *tune.Tuner) {
	t.Helper()
	if err := tuner.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// quick is a short training with small batches.
func quick(steps int64) tune.Config {
	c := tune.DefaultConfig()
	c.Steps, c.Batch = steps, 256
	c.Optimizer.Warmup = 10
	return c
}

// once is MFM-FT with one posterior sample.
func once() tune.MetaTuning { return tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}} }

// clones returns copies of the training state.
func clones(t testing.TB, tuner *tune.Tuner) map[string]*tensors.Tensor {
	t.Helper()
	state, err := tuner.State()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*tensors.Tensor)
	for name, v := range state {
		if out[name], err = v.LocalClone(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func raw(v *tensors.Tensor) (out []byte) {
	if err := v.ConstBytes(func(data []byte) { out = bytes.Clone(data) }); err != nil {
		panic(err)
	}
	return out
}

// driftError returns E|b̂ - b*|² over states of the target, with the averaged weights; before the
// first step that of the base's drift.
func driftError(
	t testing.TB, tuner *tune.Tuner, m steer.Model, best interpolant.Drift, target *gmm.Mixture,
) float64 {
	t.Helper()
	tuned := m.Drift
	if tuner.Done() > 0 {
		tuned = tune.TunedDrift(adapter(64), tuner.Store().Scope(train.AverageScope(0)), m.Drift)
	}
	exec, err := model.NewExec(backendtest.New(t), tuner.Store(), func(_ *model.Scope, at, x *Node) *Node {
		return ReduceAllMean(Square(Sub(tuned(at, x, nil), best(at, x, nil))))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	rng := rand.New(rand.NewPCG(1, 2))
	var times, states []float32
	const n = 4096
	for _, z := range target.Sample(rng, n) {
		at := 0.02 + 0.96*rng.Float64()
		times = append(times, float32(at))
		for _, v := range z {
			states = append(states, float32((1-at)*rng.NormFloat64()+at*v))
		}
	}
	out, err := exec.Call1(tensors.FromFlatDataAndDimensions(times, n), tensors.FromFlatDataAndDimensions(states, n, 2))
	if err != nil {
		t.Fatal(err)
	}
	return float64(tensors.ToScalar[float32](out))
}
