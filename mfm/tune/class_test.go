package tune_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// classMeans are the means of two classes with variance 1/4. The reward 2 x (2 class - 1) moves
// them by -1/2 and +1/2, at a divergence of 1/2 nat each.
var classMeans = []float64{-1, 2}

// classGaussian returns a class, moved by shift times the sign of its reward.
func classGaussian(t testing.TB, class int, shift float64) *gmm.Mixture {
	t.Helper()
	mean := classMeans[class] + shift*float64(2*class-1)
	g := mfmtest.NewMixture(t, []float64{1}, [][]float64{{mean}}, [][][]float64{{{0.25}}})
	return g
}

// classModel returns the exact model of both classes, each moved by shift.
func classModel(t testing.TB, shift float64) steer.Model {
	t.Helper()
	ip := interpolant.Linear{}
	first, second := steer.FromGaussian(classGaussian(t, 0, shift), ip),
		steer.FromGaussian(classGaussian(t, 1, shift), ip)
	choose := func(class, x *Node, of func(m steer.Model) *Node) *Node {
		y := of(first)
		is := BroadcastToShape(batch.Like(Equal(class, ZerosLike(class)), x), y.Shape())
		return Where(is, y, of(second))
	}
	return steer.Model{
		Interpolant: ip, PosteriorNFE: 1, Classes: 2, Shape: []int{1},
		Drift: func(t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Drift(t, x, nil) })
		},
		Posterior: func(rng *solver.RNG, eps, t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Posterior(rng, eps, t, x, nil) })
		},
	}
}

// A conditional drift is tuned for each class, at states of any origin and by a method that needs
// whole paths. With one class fixed the paths are those of this class.
func TestClasses(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	m, ip := classModel(t, 0), interpolant.Linear{}
	meta := tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 4}}
	for _, c := range []struct {
		name   string
		method tune.Objective
		states tune.StateSampling
		shares []float64
		tuned  []int
	}{
		{"interpolants, paths and replay", meta,
			tune.StateSampling{OnPolicy: 0.25, Replay: 0.25, Steps: 16, Capacity: 512}, nil, []int{0, 1}},
		{"paths of one class", meta, tune.StateSampling{OnPolicy: 1, Steps: 16}, []float64{0, 1}, []int{1}},
		{"adjoint matching", tune.AdjointMatching{}, tune.StateSampling{OnPolicy: 1, Steps: 64}, nil, []int{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := tune.Task{
				Base: tune.ModelBase(m), Reward: signed{}, Objective: c.method, Shape: []int{1}, ClassShares: c.shares,
				Network: tune.Adapter{
					Interpolant: ip, Variance: 2.5, Noise: tune.Noise{Start: 0.1}, Classes: 2,
					Backbone: nn.MLP(nn.MLPConfig{Width: 16, Depth: 2, Activation: "silu", Classes: 2}),
				},
			}
			if c.states.OnPolicy < 1 {
				task.Source = classSource
			}
			config := quick(600)
			config.Optimizer.Rate, config.States, config.Noise.Start = 1e-2, c.states, 0.1
			tuner := newTuner(t, task, config)
			run(t, tuner)
			if c.states.Replay > 0 {
				checkReplayedClasses(t, tuner)
			}
			drift := tune.TunedDrift(task.Network, tuner.Store().Scope(train.WeightsScope), m.Drift)
			sampler, err := mfm.NewTeacherSampler(b, tuner.Store(), ip, drift, []int{1}, mfm.SamplerConfig{
				Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 50, Power: 1}, Chunk: 4096,
				Classes: 2,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, class := range c.tuned {
				x, err := mfm.Flat(sampler.Unconditional(t.Context(), 1, 4000, []int32{int32(class)}))
				if err != nil {
					t.Fatal(err)
				}
				mean := 0.0
				for _, v := range x {
					mean += float64(v) / float64(len(x))
				}
				if want := classMeans[class] + float64(class) - 0.5; math.Abs(mean-want) > 0.1 {
					t.Errorf("class %d: mean %.3f, want %.3f", class, mean, want)
				}
			}
		})
	}
}

// checkReplayedClasses checks that late states in the replay buffer are near the mean of their
// class.
func checkReplayedClasses(t *testing.T, tuner *tune.Tuner) {
	t.Helper()
	state := clones(t, tuner)
	variable := func(name string) *tensors.Tensor { return state[train.StateScope+"/replay_"+name] }
	x, at := tensors.MustCopyFlatData[float32](variable("x")), tensors.MustCopyFlatData[float32](variable("t"))
	late, right := 0, 0
	for i, class := range tensors.MustCopyFlatData[int32](variable("c")) {
		if at[i] > 0.8 {
			late++
			if (x[i] > 0.4) == (class == 1) {
				right++
			}
		}
	}
	if late < 20 || float64(right) < 0.97*float64(late) {
		t.Errorf("%d of %d late states in the replay buffer are near the mean of their class", right, late)
	}
}

// classSource samples both classes.
func classSource(_ *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
	class = rng.Below(2, n)
	x := MulScalar(rng.Normal(shapes.Make(dtypes.Float32, n, 1)), 0.5)
	mean := AddScalar(MulScalar(ConvertDType(class, dtypes.Float32), 3), -1)
	return Add(x, InsertAxes(mean, -1)), class
}

// Paths of the optimal drift have the classes by their shares, the samples and rewards of each
// class, and the divergence of its tilted distribution.
func TestClassPaths(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	task := tune.PathTask{Base: classModel(t, 0), Drift: classModel(t, 0.5).Drift, Reward: signed{}, Shape: []int{1}}
	for _, second := range []float64{0, 0.5, 0.75, 1} { // share of the second class
		task.ClassShares = []float64{4 - 4*second, 4 * second}
		if second == 0.5 {
			task.ClassShares = nil
		}
		const n = 4000
		p, err := tune.DrawPaths(t.Context(), b, model.NewStore(), task,
			tune.PathConfig{Paths: n, Steps: 200, Start: 0.01, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		share := 0.0
		for _, x := range p.Samples {
			if x > 0.5 {
				share += 1. / n
			}
		}
		se := math.Sqrt(second*(1-second)/n) + 1e-6
		if math.Abs(share-second) > 4*se+0.002 {
			t.Errorf("share %.4f of the second class, want %g ± %.4f", share, second, se)
		}
		// E*[r] is 3 and 5.
		reward, rewardSE := p.Reward()
		if want := 3 + 2*share; math.Abs(reward-want) > 4*rewardSE+0.05 {
			t.Errorf("share %g: reward %.3f ± %.3f, want %.3f", second, reward, rewardSE, want)
		}
		if math.Abs(p.KL-0.5) > 4*p.KLSE+0.03 {
			t.Errorf("share %g: divergence %.3f ± %.3f, want 0.5", second, p.KL, p.KLSE)
		}
	}
	for want, shares := range map[string][]float64{"2 classes": {1}, "negative": {-1, 2}, "positive": {0, 0}} {
		task.ClassShares = shares
		_, err := tune.DrawPaths(t.Context(), b, model.NewStore(), task,
			tune.PathConfig{Paths: 4, Steps: 200, Start: 0.01})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("shares %v: error %v, want one with %q", shares, err, want)
		}
	}
}

// At the optimal correction of its class the condition of a method holds in the mean, and at that
// of the other class it does not.
func TestClassResiduals(t *testing.T) {
	ip := interpolant.Linear{}
	for _, method := range []tune.Objective{
		tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}},
		tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true},
		tune.RewardWeighted{},
	} {
		for _, swapped := range []int{0, 1} {
			var ps []tune.Point
			for class := range 2 {
				base, target := classGaussian(t, class, 0), classGaussian(t, class, 0.5)
				logZ := 2*float64(2*class-1)*classMeans[class] + 0.5
				for _, p := range points(base, target, ip, logZ, []float64{0.2, 0.7}, 2) {
					p.Class = int32(class ^ swapped)
					ps = append(ps, p)
				}
			}
			task := tune.ResidualTask{
				Model: classModel(t, 0), Reward: signed{}, Lambda: 1, Objective: method, Points: ps, Samples: 1 << 14,
			}
			for i, r := range residuals(t, task) {
				length, z := r.Bias()
				// A linear reward leaves MFM-FT without variance beyond rounding.
				if swapped == 0 && z > 5 && length > 1e-5 {
					t.Errorf("%v, class %d, t = %g: a residual is %.1f standard errors, %.2g, from zero",
						method, ps[i].Class, ps[i].T, z, length)
				}
				if swapped == 1 && z < 8 {
					t.Errorf("%v, class %d, t = %g: a residual of the other class is %.1f standard errors from zero",
						method, ps[i].Class, ps[i].T, z)
				}
			}
		}
	}
}

// Shares that do not fit and data without labels are refused.
func TestClassesRefuse(t *testing.T) {
	b := backendtest.New(t)
	task := task(t)
	task.ClassShares = []float64{1}
	if _, err := tune.New(b, task, quick(1)); err == nil || !strings.Contains(err.Error(), "0 classes") {
		t.Errorf("shares of classes of a model without classes: error %v", err)
	}
	m := classModel(t, 0)
	task.Base, task.ClassShares, task.Reward, task.Shape = tune.ModelBase(m), nil, signed{}, []int{1}
	task.Source = func(s *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		data, _ = classSource(s, g, rng, n)
		return data, nil
	}
	tuner := newTuner(t, task, quick(1))
	if err := tuner.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no labels") {
		t.Errorf("data without labels for a model with classes: error %v", err)
	}
}

// signed is the reward 2 x (2 class - 1).
type signed struct{}

func (signed) Build(_ *model.Scope, x *Node, c reward.Condition) *Node {
	sign := AddScalar(MulScalar(ConvertDType(c.Class, x.DType()), 4), -2)
	return Mul(Reshape(x, -1), sign)
}
