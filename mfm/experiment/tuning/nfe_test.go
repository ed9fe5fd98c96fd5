package tuning_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// A step of a guided tuning evaluates the networks of base, posterior samples and tuned drift with
// and without the class, which the NFE counts. For each state, with two posterior samples of one
// step, a backward pass as two evaluations, and an evaluation of the reward for each sample:
//
//	            base   samples   rewards   tuned drift   sum
//	plain       1      2 · 3     2         3             12
//	guided      2      4 · 3     2         2 · 3         22
//
// and without gradients 1 + 2 + 2 + 3 = 8 and 2 + 4 + 2 + 6 = 14.
func TestGuidedNFE(t *testing.T) {
	b := backendtest.New(t)
	const states, samples, steps = 8, 2, 3
	one := reward.LinearGaussian{A: [][]float64{{1}}, Y: []float64{1}, Sigma: 1}
	var base, tuned int // evaluations of the networks by the step's graph
	network := nn.MLP(nn.MLPConfig{Width: 4, Depth: 1, Activation: "silu", Classes: 2})
	gaussian, err := mfm.NewGaussian([]float64{0}, [][]float64{{1}})
	if err != nil {
		t.Fatal(err)
	}
	plain := mfm.Model{Shape: []int{1}, Classes: 2, Map: &mfm.Map{
		Interpolant: interpolant.Linear{}, Parametrization: gaussian,
		Backbone: func(scope *model.Scope, in nn.Inputs) *Node {
			if strings.HasPrefix(scope.Scope(), train.DataScope) {
				base += in.Xbar.Shape().Dim(0)
			} else {
				tuned += in.Xbar.Shape().Dim(0)
			}
			return network(scope, in)
		},
	}}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		t.Fatal(err)
	}
	plain.Weights = store.Scope(train.WeightsScope)
	exec, err := model.NewExec(b, store, func(_ *model.Scope, t, x, class *Node) *Node {
		return plain.Drift()(t, x, class)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.Call1([]float32{0.5}, [][]float32{{0}}, []int32{0}); err != nil { // which draws the weights
		t.Fatal(err)
	}
	exec.Finalize()
	weights, err := run.Weights(store)
	if err != nil {
		t.Fatal(err)
	}
	source := func(_ *model.Scope, g *Graph, rng *solver.RNG, n int) (x, class *Node) {
		return rng.Normal(shapes.Make(dtypes.Float32, n, 1)), rng.Below(2, n)
	}
	for _, c := range []struct {
		method      string
		scale       float64
		base, tuned int // forward evaluations for each state
		nfe         int
	}{
		{"mfm-ft", 1, 1 + samples, 1, 12}, {"mfm-ft", 2.5, 2 + 2*samples, 2, 22},
		{"mfm-ft-gf", 1, 1 + samples, 1, 8}, {"mfm-ft-gf", 2.5, 2 + 2*samples, 2, 14},
	} {
		of, err := plain.Guided(c.scale)
		if err != nil {
			t.Fatal(err)
		}
		config := tuning.DefaultConfig()
		config.Method, config.N, config.Network = c.method, samples, tuning.Copy
		config.Tune.Batch = states
		objective, err := config.Objective(nil)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := config.MapNetwork(of.Map, weights)
		if err != nil {
			t.Fatal(err)
		}
		task := tune.Task{
			Base: tune.MapBase(of, weights, mfm.DefaultSamplerConfig()), Reward: one.Reward(), Network: copied,
			Objective: objective, Source: source, Shape: []int{1},
		}
		tuner, err := tune.New(b, task, config.Tune)
		if err != nil {
			t.Fatal(err)
		}
		base, tuned = 0, 0
		if _, err := tuner.Step(); err != nil {
			t.Fatal(err)
		}
		if base != states*c.base || tuned != states*c.tuned {
			t.Errorf("%s, guidance %g: %d and %d evaluations for %d states, want %d and %d for each", c.method, c.scale, base,
				tuned, states, c.base, c.tuned)
		}
		m, err := task.Base.In(model.NewStore())
		if err != nil {
			t.Fatal(err)
		}
		if got := config.NFE(objective, m, steps); got != float64(steps*states*c.nfe) {
			t.Errorf("%s, guidance %g: NFE %g for %d steps of %d states, want %d for each", c.method, c.scale, got, steps, states,
				c.nfe)
		}
	}
}

// Ten steps of eight states: base drift and reward, and the tuned drift forward and backward. An
// adapter is not guided.
func TestNFEOfNetworks(t *testing.T) {
	c := tuning.DefaultConfig()
	c.Tune.Batch = 8
	for network, want := range map[tuning.Network]float64{tuning.Adapter: 80 * (2 + 1 + 3), tuning.Copy: 80 * (2 + 1 + 6)} {
		c.Network = network
		if got := c.NFE(tune.RewardWeighted{}, steer.Model{DriftNFE: 2}, 10); got != want {
			t.Errorf("%s: %g evaluations, want %g", network, got, want)
		}
	}
}
