package tune_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// All networks start at the drift of the base, and low-rank tuning trains only the factors.
func TestNetworksBeginAtTheBase(t *testing.T) {
	g, err := mfm.NewGaussian([]float64{0, 0}, [][]float64{{1, 0}, {0, 2}})
	if err != nil {
		t.Fatal(err)
	}
	m := &mfm.Map{
		Interpolant: interpolant.Linear{}, Parametrization: g,
		Backbone: nn.MLP(nn.MLPConfig{Width: 8, Depth: 2, Activation: "silu", OutputGain: 1}),
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(3); err != nil {
		t.Fatal(err)
	}
	at, x := []float32{0.3, 0.8}, [][]float32{{0.5, -1}, {2, 0.1}}
	evaluate := func(store *model.Store, drift interpolant.Drift) []float32 {
		exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, at, x *Node) *Node {
			return drift(at, x, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		return tensors.MustCopyFlatData[float32](exec.MustCall1(at, x))
	}
	want := evaluate(store, m.DriftIn(store.Scope(train.WeightsScope)))
	weights := make(map[string]*tensors.Tensor)
	for v := range store.Scope(train.WeightsScope).IterVariables() {
		weights[strings.TrimPrefix(v.Path(), train.WeightsScope)] = v.MustValue()
	}
	base := tune.MapBase(mfm.Model{Map: m, Shape: []int{2}}, weights, mfm.DefaultSamplerConfig())
	for name, network := range map[string]tune.Network{
		"copy":     tune.Copy{Map: m, Weights: weights},
		"low rank": tune.LowRank{Map: m, Weights: weights, Rank: 2},
		"adapter":  adapter(8),
	} {
		task := task(t)
		task.Base, task.Network, task.Source = base, network, samplesOf(gmm.Paper())
		tuner := newTuner(t, task, quick(2))
		shapes, err := tune.Shapes(base, network)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 3 {
			restored := model.NewStore()
			model, err := base.In(restored)
			if err != nil {
				t.Fatal(err)
			}
			trained := network.Initial()
			if step > 0 {
				if _, err := tuner.Step(); err != nil && step < 3 {
					t.Fatal(err)
				}
				if trained, err = tuner.Weights(train.WeightsScope); err != nil {
					t.Fatal(err)
				}
				copied := make(map[string]*tensors.Tensor)
				for k, v := range trained {
					if copied[k], err = v.LocalClone(); err != nil {
						t.Fatal(err)
					}
				}
				trained = copied
			}
			if step > 0 {
				if err := train.Fit(trained, shapes); err != nil {
					t.Errorf("%s: Shapes are not those of the trained weights: %v", name, err)
				}
			}
			if name == "adapter" && step == 0 {
				continue // its initial weights are created with the graph
			}
			drift, err := tune.Restore(restored, train.WeightsScope, network, trained, model.Drift)
			if err != nil {
				t.Fatal(err)
			}
			largest := 0.0
			for i, v := range evaluate(restored, drift) {
				largest = max(largest, math.Abs(float64(v-want[i])))
			}
			if step == 0 && largest > 1e-5 || step > 1 && largest == 0 {
				t.Errorf("%s: after %d steps the drift differs from the base's by %g", name, step, largest)
			}
			if name == "low rank" {
				for k := range trained {
					if !strings.HasSuffix(k, "_a") && !strings.HasSuffix(k, "_b") {
						t.Errorf("low rank trains %s", k)
					}
				}
			}
		}
	}
}

func build(t testing.TB, e tune.Entry, o tune.Options) tune.Objective {
	t.Helper()
	m, err := e.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNames(t *testing.T) {
	built := func(e tune.Entry) string { return build(t, e, tune.Options{N: 2, Exact: &steer.Exact{}}).String() }
	mfmtest.Registry(t, tune.Objectives(), func(e tune.Entry) string { return e.Name }, built, tune.Lookup)
}

// An objective reads the options that its entry names, and no others.
func TestOptionsThatAreRead(t *testing.T) {
	options := tune.Options{N: 2, Reference: 4, Floor: 0.05, Exact: &steer.Exact{}}
	for name, c := range map[string]struct {
		change func(o *tune.Options)
		reads  func(e tune.Entry) bool
	}{
		"N":         {func(o *tune.Options) { o.N = 8 }, func(e tune.Entry) bool { return e.N }},
		"Reference": {func(o *tune.Options) { o.Reference = 8 }, func(e tune.Entry) bool { return e.Reference }},
		"Floor":     {func(o *tune.Options) { o.Floor = 0.1 }, func(e tune.Entry) bool { return e.Reference }},
	} {
		changed := options
		c.change(&changed)
		for _, e := range tune.Objectives() {
			if reads := !reflect.DeepEqual(build(t, e, options), build(t, e, changed)); reads != c.reads(e) {
				t.Errorf("%s reads %s: %t, want %t", e.Name, name, reads, c.reads(e))
			}
		}
	}
	options.Exact = nil
	for _, e := range tune.Objectives() {
		if _, err := e.New(options); (err != nil) != e.Exact {
			t.Errorf("%s without the exact value: error %v", e.Name, err)
		}
	}
}

// LeastN is the smallest N with which an objective learns anything: with fewer samples the vector
// of its condition is zero.
func TestLeastN(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	ps := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.4}, 1)
	ps[0].Correction = []float64{0, 0} // the residual is -g
	for _, e := range tune.Objectives() {
		if (e.LeastN > 0) != e.N {
			t.Errorf("%s: N is %t, LeastN %d", e.Name, e.N, e.LeastN)
		}
		for n := 1; n <= e.LeastN; n++ {
			objective := build(t, e, tune.Options{N: n})
			got := residuals(t, tune.ResidualTask{
				Model: m, Reward: r.Reward(), Lambda: 1, Objective: objective, Points: ps, Samples: 64,
			})
			if learns := math.Hypot(got[0].Mean[0], got[0].Mean[1]) > 0; learns != (n == e.LeastN) {
				t.Errorf("%s with N = %d: the mean vector is %v", e.Name, n, got[0].Mean)
			}
		}
	}
}
