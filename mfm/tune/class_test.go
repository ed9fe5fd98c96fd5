package tune_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// A conditional drift is tuned for each class. The classes are N(-1, 1/4) and N(2, 1/4); the reward
// 2 x (2 class - 1) moves their means by -1/2 and +1/2.
func TestClasses(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	ip, means := interpolant.Linear{}, []float64{-1, 2}
	var classes []*gmm.Mixture
	for _, mean := range means {
		g, err := gmm.New([]float64{1}, [][]float64{{mean}}, [][][]float64{{{0.25}}})
		if err != nil {
			t.Fatal(err)
		}
		classes = append(classes, g)
	}
	choose := func(class, x *Node, of func(m steer.Model) *Node) *Node {
		first := of(steer.FromGaussian(classes[0], ip))
		is := BroadcastToShape(batch.Like(Equal(class, ZerosLike(class)), x), first.Shape())
		return Where(is, first, of(steer.FromGaussian(classes[1], ip)))
	}
	m := steer.Model{
		Interpolant: ip, PosteriorNFE: 1, Classes: 2, Shape: []int{1},
		Drift: func(t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Drift(t, x, nil) })
		},
		Posterior: func(rng *solver.RNG, eps, t, x, class *Node) *Node {
			return choose(class, x, func(m steer.Model) *Node { return m.Posterior(rng, eps, t, x, nil) })
		},
	}
	task := tune.Task{
		Base: tune.ModelBase(m), Reward: signed{}, Shape: []int{1},
		Objective: tune.MetaTuning{Draws: steer.Draws{N: 4}},
		Network: tune.Adapter{
			Interpolant: ip, Variance: 2.5, Noise: tune.Noise{Start: 0.01}, Classes: 2,
			Backbone: nn.MLP(nn.MLPConfig{Width: 16, Depth: 2, Activation: "silu", Classes: 2}),
		},
		Source: func(_ *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
			class = rng.Below(2, n)
			x := MulScalar(rng.Normal(shapes.Make(dtypes.Float32, n, 1)), 0.5)
			mean := AddScalar(MulScalar(ConvertDType(class, dtypes.Float32), 3), -1)
			return Add(x, InsertAxes(mean, -1)), class
		},
	}
	c := quick(600)
	c.Optimizer.Rate = 1e-2
	tuner := newTuner(t, task, c)
	run(t, tuner)
	weights := tuner.Store().Scope(train.WeightsScope)
	drift := tune.TunedDrift(task.Network, weights, m.Drift)
	config := mfm.SamplerConfig{Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 50, Power: 1}, Chunk: 4096, Classes: 2}
	sampler, err := mfm.NewTeacherSampler(b, tuner.Store(), ip, drift, []int{1}, config)
	if err != nil {
		t.Fatal(err)
	}
	for class, shift := range []float64{-0.5, 0.5} {
		x, err := mfm.Flat(sampler.Unconditional(t.Context(), 1, 4000, []int32{int32(class)}))
		if err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		for _, v := range x {
			mean += float64(v) / float64(len(x))
		}
		if want := means[class] + shift; math.Abs(mean-want) > 0.1 {
			t.Errorf("class %d: mean %.3f, want %.3f", class, mean, want)
		}
	}
	c.States.OnPolicy = 0.5
	if _, err := tune.New(b, task, c); err == nil || !strings.Contains(err.Error(), "2 classes") {
		t.Errorf("on-policy states of a conditional model: error %v", err)
	}
}

// signed is the reward 2 x (2 class - 1).
type signed struct{}

func (signed) Build(_ *model.Scope, x *Node, c reward.Condition) *Node {
	sign := AddScalar(MulScalar(ConvertDType(c.Class, x.DType()), 4), -2)
	return Mul(Reshape(x, -1), sign)
}
