package tune_test

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Every objective brings the drift to b*, on interpolants of data or on on-policy paths.
func TestTuningReachesTheOptimum(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, _ := tilt(t, gaussian, r, 1)
	best := func(at, x, _ *Node) *Node { return target.Like(x).Drift(interpolant.Linear{}, at, x) }
	before := driftError(t, newTuner(t, task(t), quick(1)), m, best, target) // of the base, where all begin
	for _, l := range []struct {
		objective tune.Objective
		onPolicy  float64
	}{
		{once(), 0},
		{once(), 0.5},
		{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true}, 0},
		{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}, Reference: 8, Floor: 0.05}, 0},
		{tune.RewardWeighted{}, 0},
		{tune.AdjointMatching{}, 1},
		{tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 32}}}, 0},
	} {
		objective, c := l.objective, quick(1200)
		if l.onPolicy > 0 {
			c.States.OnPolicy, c.Batch, c.States.Steps = l.onPolicy, 40*16, 40
		}
		c.Optimizer.Rate = 3e-3
		task := task(t)
		task.Network, task.Objective = adapter(64), objective
		tuner := newTuner(t, task, c)
		run(t, tuner)
		allowed := 0.06
		if objective.Needs().Paths {
			allowed = 0.12 // paths with forty steps
		}
		if after := driftError(t, tuner, m, best, target); after > allowed*before {
			t.Errorf("%+v, on-policy share %g: E|b̂ - b*|² is %.4f of that of the base, want at most %g",
				objective, l.onPolicy, after/before, allowed)
		}
	}
}

// A constant in the reward changes the running offset and nothing else, for rewards whose
// exponential overflows float32 without it: λ r + 800, and λ r of about -3,000 in the tail of the
// data.
func TestRunningOffset(t *testing.T) {
	plain := measured(0.8).Reward()
	const shift, steps, lambda = 8, 30, 100
	raised := reward.Func(func(x *Node) *Node {
		return AddScalar(reward.Values(plain, x, reward.Condition{}), shift)
	})
	var tuned [2]map[string]*tensors.Tensor
	for i, r := range []reward.Reward{plain, raised} {
		c := quick(steps)
		c.Lambda = lambda
		task := task(t)
		task.Reward, task.Network = r, adapter(16)
		tuner := newTuner(t, task, c)
		run(t, tuner)
		tuned[i] = clones(t, tuner)
	}
	for name, v := range tuned[0] {
		if v.DType() != dtypes.Float32 {
			continue
		}
		is, raised := tensors.MustCopyFlatData[float32](v), tensors.MustCopyFlatData[float32](tuned[1][name])
		want := float32(0)
		if strings.HasSuffix(name, "offset") {
			is, raised, want = is[:1], raised[:1], float32(lambda*shift)
		}
		for k := range is {
			// Rewards of a few thousand have an ulp of 2e-4, which is a relative error of the
			// weights.
			if d := raised[k] - is[k] - want; !(math.Abs(float64(d)) < 2e-3) {
				t.Fatalf("%s[%d] is %g, with the constant %g, want an increase of %g",
					name, k, is[k], raised[k], want)
			}
		}
	}
}

// A batch without any weight leaves the running offset unchanged.
func TestBatchWithoutWeight(t *testing.T) {
	var first *Node // 1 in the first step, then 0 or less: all rewards are -Inf
	task := task(t)
	task.Reward = reward.Func(func(x *Node) *Node {
		r := reward.Values(measured(0.8).Reward(), x, reward.Condition{})
		usable := GreaterThan(first, ZerosLike(first))
		usable = BroadcastToShape(usable, shapes.Make(dtypes.Bool, r.Shape().Dimensions...))
		return Where(usable, r, AddScalar(MulScalar(r, 0), math.Inf(-1)))
	})
	source := task.Source
	task.Source = func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		offset := scope.Store().GetVariable(train.StateScope + "/offset").NodeValue(g)
		first = Reshape(OneMinus(Slice(offset, AxisElem(1))))
		return source(scope, g, rng, n)
	}
	tuner := newTuner(t, task, quick(3))
	var offsets []float32
	for range 3 {
		if _, err := tuner.Step(); err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, tensors.MustCopyFlatData[float32](clones(t, tuner)[train.StateScope+"/offset"])...)
	}
	if offsets[1] != 1 || offsets[2] != offsets[0] || offsets[3] != 1 || offsets[4] != offsets[0] {
		t.Errorf("offsets and numbers of batches are %v, want those of the first batch in each step", offsets)
	}
}

// An interrupted training ends with the same bits as one that never stopped, including the offset
// and the replay buffer.
func TestResume(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := quick(8)
	c.LambdaWarmup = 6
	c.States = tune.StateSampling{OnPolicy: 0.25, Steps: 8, Replay: 0.25, Capacity: 200}
	c.Noise.Start = 0.1
	whole := newTuner(t, task(t), c)
	run(t, whole)
	half := newTuner(t, task(t), c)
	for range 5 {
		if _, err := half.Step(); err != nil {
			t.Fatal(err)
		}
	}
	again := newTuner(t, task(t), c)
	if err := again.Restore(clones(t, half)); err != nil {
		t.Fatal(err)
	}
	run(t, again)
	want, got := clones(t, whole), clones(t, again)
	names := slices.Sorted(maps.Keys(want))
	if !slices.Equal(names, slices.Sorted(maps.Keys(got))) {
		t.Fatalf("the states have the variables %v and %v", names, slices.Sorted(maps.Keys(got)))
	}
	for _, name := range names {
		if !bytes.Equal(raw(want[name]), raw(got[name])) {
			t.Errorf("%s differs", name)
		}
	}
	for _, name := range []string{"offset", "lambda", "replay_x", "replay_n"} {
		if !slices.Contains(names, train.StateScope+"/"+name) {
			t.Errorf("the state lacks %s", name)
		}
	}
}

// The replay buffer holds the states of on-policy paths with their times.
func TestReplay(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	c := quick(3)
	c.States = tune.StateSampling{OnPolicy: 0.5, Steps: 8, Replay: 0.5, Capacity: 1 << 10}
	c.Noise.Start = 0.1
	tuner := newTuner(t, task(t), c)
	run(t, tuner)
	state := clones(t, tuner)
	if n := tensors.ToScalar[float32](state[train.StateScope+"/replay_n"]); n != 3 {
		t.Errorf("%g slots were filled in 3 steps, want 3", n)
	}
	times := tensors.MustCopyFlatData[float32](state[train.StateScope+"/replay_t"])
	rows := 128
	for i, at := range times {
		k := i % rows / (rows / 8) // the k-th of eight times 0.1 + 0.9 (k/8)²
		want := 0.0
		if i < 3*rows {
			want = 0.1 + 0.9*float64(k*k)/64
		}
		if math.Abs(float64(at)-want) > 1e-6 {
			t.Fatalf("state %d of the buffer has time %g, want %g", i, at, want)
		}
	}
}

// A step with a non-finite loss changes nothing, including the offset and the replay buffer.
func TestNotFinite(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	c := quick(10)
	c.States = tune.StateSampling{OnPolicy: 0.25, Steps: 8, Replay: 0.25, Capacity: 200}
	c.Noise.Start = 0.1
	broken := adapter(8)
	inner := broken.Backbone
	broken.Backbone = func(scope *model.Scope, in nn.Inputs) *Node {
		// From the third step on the weights are large enough for this to be NaN.
		y := inner(scope, in)
		return Add(y, MulScalar(Log(AddScalar(Neg(ReduceAllSum(Square(y))), 1e-7)), 0))
	}
	task := task(t)
	task.Network = broken
	tuner := newTuner(t, task, c)
	var before map[string]*tensors.Tensor
	var failed *train.NonFiniteError
	for failed == nil && tuner.Done() < 10 {
		if tuner.Done() > 0 {
			before = clones(t, tuner)
		}
		if _, err := tuner.Step(); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
	}
	if failed == nil || before == nil {
		t.Fatalf("%d steps are finite, want a non-finite one after the first", tuner.Done())
	}
	after := clones(t, tuner)
	for name, v := range before {
		if !bytes.Equal(raw(v), raw(after[name])) {
			t.Errorf("the failed step changed %s", name)
		}
	}
}

// Invalid options are errors that name the option.
func TestInvalidOptions(t *testing.T) {
	for name, c := range map[string]struct {
		objective tune.Objective
		change    func(c *tune.Config)
	}{
		"lambda":      {once(), func(c *tune.Config) { c.Lambda = 0 }},
		"own to 1":    {tune.AdjointMatching{}, func(*tune.Config) {}},
		"interpolant": {tune.RewardWeighted{}, func(c *tune.Config) { c.States.OnPolicy = 0.5 }},
		"replay":      {once(), func(c *tune.Config) { c.States.Replay = 0.5 }},
		"whole path":  {once(), func(c *tune.Config) { c.States.OnPolicy, c.Batch = 0.01, 64 }},
		"accumulate":  {once(), func(c *tune.Config) { c.Accumulate = 2 }},
		"antithetic": {
			tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2, Antithetic: true}, GradientFree: true},
			func(*tune.Config) {},
		},
		"reference": {tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}, Reference: -1},
			func(*tune.Config) {}},
		"start":      {once(), func(c *tune.Config) { c.Noise.Start = 0 }},
		"incomplete": {nil, func(*tune.Config) {}},
	} {
		config := quick(5)
		c.change(&config)
		task := task(t)
		task.Objective = c.objective
		_, err := tune.New(backendtest.New(t), task, config)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
