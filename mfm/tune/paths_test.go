package tune_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Paths of the optimal drift end at the target, and their divergence from the base is E*[λ r] - log
// Z.
func TestPathsOfTheOptimum(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	best := func(at, x, _ *Node) *Node { return target.Like(x).Drift(interpolant.Linear{}, at, x) }
	c := tune.PathConfig{Paths: 1 << 14, Steps: 400, Start: 0.005, Seed: 1}
	if b := backendtest.New(t); !backend.Loops(b) {
		c.Paths, c.Steps = 1<<12, 60
	}
	task := tune.PathTask{Base: m, Drift: best, Reward: r.Reward(), Shape: []int{2}}
	paths, err := tune.DrawPaths(t.Context(), backendtest.New(t), model.NewStore(), task, c)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	want := 0.0
	const n = 1 << 16
	for _, x := range target.Sample(rng, n) {
		want += r.At(x) / n
	}
	mean, se := paths.Reward()
	allowed := 0.01
	if c.Steps < 100 {
		allowed = 0.06
	}
	if math.Abs(mean-want) > 4*se+allowed {
		t.Errorf("mean reward %.3f ± %.3f, want %.3f", mean, se, want)
	}
	if kl := want - logZ; math.Abs(paths.KL-kl) > 4*paths.KLSE+allowed*3 {
		t.Errorf("KL %.3f ± %.3f, want %.3f", paths.KL, paths.KLSE, kl)
	}
}

// Along paths of the optimal drift the lean adjoint has the mean ∇V: means of the residual times 1
// and x are zero.
func TestAdjointAtTheOptimum(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, _ := tilt(t, gaussian, r, 1)
	ip := interpolant.Linear{}
	const steps, n = 200, 4096
	exec, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, state *Node) []*Node {
		rng := &solver.RNG{State: state}
		best := func(at, x, _ *Node) *Node { return target.Like(x).Drift(ip, at, x) }
		lambda := Scalar(state.Graph(), dtypes.Float32, 1)
		p := tune.Problem{
			Problem: steer.Problem{Model: m, Reward: r.Reward(), Lambda: lambda}, Noise: tune.Noise{Start: 0.01},
		}
		s := tune.OnPaths(p, best, rng, []int{2}, steps*n, steps, state.Graph())
		s.Base = m.Drift(s.T, s.X, nil)
		got := tune.AdjointMatching{}.Regress(p, rng, s)
		residual := Sub(Sub(best(s.T, s.X, nil), s.Base), got.Vector)
		means := func(v *Node) *Node { return ReduceMean(Reshape(v, steps, n, 2), 1) }
		return []*Node{means(residual), means(Mul(residual, s.X)), means(Square(residual))}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	out := exec.MustCall(state)
	square := tensors.MustCopyFlatData[float32](out[2])
	for i, name := range []string{"1", "x"} {
		for k, v := range tensors.MustCopyFlatData[float32](out[i]) {
			// Up to t = 0.07 the steps, some hundredths of t, cause an error of that size.
			if k < 2*50 {
				continue
			}
			se := math.Sqrt(float64(square[k])/n) * []float64{1, 2}[i]
			if math.Abs(float64(v)) > 5*se+0.03 {
				t.Errorf("step %d: E[(D - g) %s] = %.3f ± %.3f, want 0", k/2, name, v, se)
			}
		}
	}
}

// The times of interpolants are t_0 + (1 - t_0) U^p.
func TestTimesOfInterpolants(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	const n, start = 1 << 16, 0.1
	for power, want := range map[float64]float64{0: 1. / 2, 1: 1. / 2, 2: 1. / 3, 0.5: 2. / 3} {
		exec := MustNewExec(backendtest.New(t), func(state *Node) *Node {
			rng := &solver.RNG{State: state}
			source := func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (x, class *Node) {
				rng.State, x = gaussian.OnGraph(rng.State.Graph(), dtypes.Float32).Sample(rng.State, n)
				return x, nil
			}
			p := tune.Problem{Problem: steer.Problem{Model: m}, Noise: tune.Noise{Start: start}}
			return ReduceAllMean(tune.StateSampling{Power: power}.Interpolants(p, source, state.Graph(), rng, n).T)
		})
		state, err := RNGStateFromSeed(1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call1(state)
		if err != nil {
			t.Fatal(err)
		}
		want = start + (1-start)*want
		if got := float64(tensors.ToScalar[float32](out)); math.Abs(got-want) > 5*0.3/math.Sqrt(n) {
			t.Errorf("power %g: the mean time is %.4f, want %.4f", power, got, want)
		}
	}
}

// A store without the weights of the drift or the model is an error, not a random network.
func TestMissingWeights(t *testing.T) {
	b := backendtest.New(t)
	gaussian, m := gaussian(t, interpolant.Linear{})
	store := model.NewStore()
	network := tune.Adapter{
		Interpolant: interpolant.Linear{}, Backbone: nn.MLP(nn.DefaultMLP()), Variance: 1,
		Noise: tune.Noise{Start: 0.01},
	}
	check := func(name string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "the first is "+train.WeightsScope) {
			t.Errorf("%s: error %v, want one that names a missing weight", name, err)
		}
		if n := store.NumVariables(); n > 0 {
			t.Errorf("%s: the store has %d variables", name, n)
		}
	}
	drift := tune.TunedDrift(network, store.Scope(train.WeightsScope), m.Drift)
	task := tune.PathTask{Base: m, Drift: drift, Reward: measured(0.8).Reward(), Shape: []int{2}}
	_, err := tune.DrawPaths(t.Context(), b, store, task, tune.PathConfig{Paths: 4, Steps: 200, Start: 0.01})
	check("paths", err)
	m.Drift = drift
	target, logZ := tilt(t, gaussian, measured(0.8), 1)
	_, err = tune.Residuals(t.Context(), b, store, tune.ResidualTask{
		Model: m, Reward: measured(0.8).Reward(), Lambda: 1, Noise: tune.Noise{Start: 0.01}, Samples: 2,
		Objective: tune.RewardWeighted{}, Points: points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.5}, 1),
	})
	check("residuals", err)
}
