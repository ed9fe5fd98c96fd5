package tune_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
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
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// adapter is a small network for a law of the plane.
func adapter(width int) tune.Adapter {
	return tune.Adapter{Interpolant: interpolant.Linear{}, Backbone: nn.MLP(nn.MLPConfig{Width: width, Depth: 2, Activation: "silu"}), Variance: 1.2, Noise: tune.Noise{Start: 0.01}}
}

// samplesOf draws from a mixture inside a step.
func samplesOf(law *gmm.Mixture) train.Source {
	return func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = law.SampleGraph(rng.State, dtypes.Float32, n)
		return data, nil
	}
}

func newTuner(t testing.TB, network tune.Network, method tune.Method, c tune.Config) *tune.Tuner {
	t.Helper()
	law, m := gaussian(t, interpolant.Linear{})
	tuner, err := tune.New(backendtest.New(t), tune.ModelBase(m), measured(0.8).Reward(), network, method, samplesOf(law), []int{2}, c, c)
	if err != nil {
		t.Fatal(err)
	}
	return tuner
}

func quick(steps int64) tune.Config {
	c := tune.DefaultConfig()
	c.Steps, c.Batch = steps, 256
	c.Optimizer.Warmup = 10
	return c
}

func once() tune.MetaTuning { return tune.MetaTuning{Draws: steer.Draws{N: 1}} }

// Every method brings the drift to b*, on states of the data or of the model's own paths.
func TestTuningReachesTheOptimum(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, _ := tilt(t, law, r, 1)
	best := func(at, x, _ *Node) *Node { return target.DriftGraph(interpolant.Linear{}, at, x) }
	for _, l := range []struct {
		method tune.Method
		own    float64
	}{
		{once(), 0},
		{once(), 0.5},
		{tune.MetaTuning{Draws: steer.Draws{N: 2}, GradientFree: true}, 0},
		{tune.MetaTuning{Draws: steer.Draws{N: 1}, Reference: 8, Floor: 0.05}, 0},
		{tune.RewardWeighted{}, 0},
		{tune.AdjointMatching{}, 1},
		{tune.PlugIn{Estimator: steer.MFMG{Draws: steer.Draws{N: 32}}}, 0},
	} {
		method, c := l.method, quick(1200)
		if l.own > 0 {
			c.States.Own, c.Batch, c.States.Steps = l.own, 40*16, 40
		}
		c.Optimizer.Rate = 3e-3
		tuner := newTuner(t, adapter(64), method, c)
		before := driftError(t, tuner, m, best, target)
		if err := tuner.Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		allowed := 0.06
		if method.Needs().Paths {
			allowed = 0.12 // paths of forty steps
		}
		if after := driftError(t, tuner, m, best, target); after > allowed*before {
			t.Errorf("%+v, own paths %g: E|b̂ - b*|² is %.4f of what it was", method, l.own, after/before)
		}
	}
}

// A constant of the reward moves the running offset and nothing else, at rewards that neither a float32's exponential nor a fixed offset would hold: λ r + 800 and, in the tail of the data, λ r of some -3,000.
func TestRunningOffset(t *testing.T) {
	b := backendtest.New(t)
	law, m := gaussian(t, interpolant.Linear{})
	plain := measured(0.8).Reward()
	const shift, steps = 8, 30
	raised := func(x *Node) *Node { return AddScalar(plain(x), shift) }
	for _, lambda := range []float64{50, 100} {
		var tuned [2]map[string]*tensors.Tensor
		for i, r := range []reward.Reward{plain, raised} {
			c := quick(steps)
			c.Lambda = lambda
			tuner, err := tune.New(b, tune.ModelBase(m), r, adapter(16), once(), samplesOf(law), []int{2}, c, c)
			if err != nil {
				t.Fatal(err)
			}
			if err := tuner.Run(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
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
				// Rewards of some thousands have an ulp of 2e-4, and weights that ulp's relative error.
				if d := raised[k] - is[k] - want; !(math.Abs(float64(d)) < 2e-3) {
					t.Fatalf("λ = %g: %s[%d] is %g, with the constant %g, want %g more", lambda, name, k, is[k], raised[k], want)
				}
			}
		}
	}
}

// A batch none of whose draws has a weight leaves the running offset where it was.
func TestBatchWithoutWeight(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	var scale *Node // 0 from the second step on: all rewards are -Inf then
	nowhere := func(x *Node) *Node {
		r := measured(0.8).Reward()(x)
		return Where(BroadcastToShape(GreaterThan(scale, ZerosLike(scale)), shapes.Make(dtypes.Bool, r.Shape().Dimensions...)), r, AddScalar(MulScalar(r, 0), math.Inf(-1)))
	}
	c := quick(3)
	tuner, err := tune.New(backendtest.New(t), tune.ModelBase(m), nowhere, adapter(8), once(), func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		seen := scope.Store().GetVariable(train.StateScope + "/offset").NodeValue(g)
		scale = Reshape(OneMinus(Slice(seen, AxisElem(1))))
		return samplesOf(law)(scope, g, rng, n)
	}, []int{2}, c, c)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []float32
	for range 3 {
		if _, err := tuner.Step(); err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, tensors.MustCopyFlatData[float32](clones(t, tuner)[train.StateScope+"/offset"])...)
	}
	if offsets[1] != 1 || offsets[2] != offsets[0] || offsets[3] != 1 || offsets[4] != offsets[0] {
		t.Errorf("offsets and numbers of batches %v: want the first batch's to stay", offsets)
	}
}

// driftError returns E|b̂ - b*|² over states of the target, with the averaged weights, or the base's drift before the first step.
func driftError(t testing.TB, tuner *tune.Tuner, m steer.Model, best interpolant.Drift, target *gmm.Mixture) float64 {
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

// An interrupted tuning ends with the bits of one that was not, offset, buffer and all.
func TestResume(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := quick(8)
	c.LambdaWarmup = 6
	c.States = tune.Law{Own: 0.25, Steps: 8, Replay: 0.25, Capacity: 200}
	c.Noise.Start = 0.1
	whole := newTuner(t, adapter(8), once(), c)
	if err := whole.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	half := newTuner(t, adapter(8), once(), c)
	for range 5 {
		if _, err := half.Step(); err != nil {
			t.Fatal(err)
		}
	}
	again := newTuner(t, adapter(8), once(), c)
	if err := again.Restore(clones(t, half)); err != nil {
		t.Fatal(err)
	}
	if err := again.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want, got := clones(t, whole), clones(t, again)
	names := slices.Sorted(maps.Keys(want))
	if !slices.Equal(names, slices.Sorted(maps.Keys(got))) {
		t.Fatalf("states %v and %v", names, slices.Sorted(maps.Keys(got)))
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

// So does one whose λ a budget holds, if it is interrupted between two looks or right after one.
func TestResumeUnderABudget(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := quick(10)
	c.Lambda, c.Optimizer.Rate = 4, 1e-2
	budget := tune.DefaultBudget()
	budget.KL, budget.Every, budget.Paths.Paths, budget.Paths.Steps = 1e-5, 3, 64, 20
	enough := errors.New("enough")
	run := func(tuner *tune.Tuner, until int64) map[string]*tensors.Tensor {
		observe := tuner.Observer(t.Context(), budget, nil)
		err := tuner.Run(t.Context(), func(m train.Metrics) error {
			if err := observe(m); err != nil || m.Step < until {
				return err
			}
			return enough
		})
		if err != nil && !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return clones(t, tuner)
	}
	want := run(newTuner(t, adapter(8), once(), c), 11)
	lambda := train.StateScope + "/lambda"
	if held := tensors.ToScalar[float32](want[lambda]); !(held > 0 && held < 4) {
		t.Errorf("λ = %g at the end, want it held below 4", held)
	}
	for _, until := range []int64{5, 6} {
		again := newTuner(t, adapter(8), once(), c)
		if err := again.Restore(run(newTuner(t, adapter(8), once(), c), until)); err != nil {
			t.Fatal(err)
		}
		got := run(again, 11)
		for name := range want {
			if !bytes.Equal(raw(want[name]), raw(got[name])) {
				t.Errorf("interrupted at step %d: %s differs", until, name)
			}
		}
	}
}

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

// The buffer gives back states that own paths had, at their times.
func TestReplay(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	c := quick(3)
	c.States = tune.Law{Own: 0.5, Steps: 8, Replay: 0.5, Capacity: 1 << 10}
	c.Noise.Start = 0.1
	tuner := newTuner(t, adapter(8), once(), c)
	if err := tuner.Run(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	state := clones(t, tuner)
	if n := tensors.ToScalar[float32](state[train.StateScope+"/replay_n"]); n != 3 {
		t.Errorf("the buffer was filled %g times in 3 steps", n)
	}
	times := tensors.MustCopyFlatData[float32](state[train.StateScope+"/replay_t"])
	rows := 128
	for i, at := range times {
		k := i % rows / (rows / 8) // of eight times from 0.1, as the squares of their numbers
		want := 0.0
		if i < 3*rows {
			want = 0.1 + 0.9*float64(k*k)/64
		}
		if math.Abs(float64(at)-want) > 1e-6 {
			t.Fatalf("state %d of the buffer is of time %g, want %g", i, at, want)
		}
	}
}

// The networks that begin with the base's weights begin at its drift, and of a low-rank update only the factors are trained.
func TestNetworksBeginAtTheBase(t *testing.T) {
	g, err := mfm.NewGaussian([]float64{0, 0}, [][]float64{{1, 0}, {0, 2}})
	if err != nil {
		t.Fatal(err)
	}
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: nn.MLP(nn.MLPConfig{Width: 8, Depth: 2, Activation: "silu", OutputGain: 1}), Parametrization: g}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(3); err != nil {
		t.Fatal(err)
	}
	at, x := []float32{0.3, 0.8}, [][]float32{{0.5, -1}, {2, 0.1}}
	evaluate := func(store *model.Store, drift interpolant.Drift) []float32 {
		exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, at, x *Node) *Node { return drift(at, x, nil) })
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
	base := tune.MapBase(m, weights, mfm.DefaultSamplerConfig())
	for name, network := range map[string]tune.Network{"copy": tune.Copy{Map: m, Weights: weights}, "low rank": tune.LowRank{Map: m, Weights: weights, Rank: 2}, "adapter": adapter(8)} {
		c := quick(2)
		tuner, err := tune.New(backendtest.New(t), base, measured(0.8).Reward(), network, once(), samplesOf(gmm.Paper()), []int{2}, c, c)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 3 {
			own := model.NewStore()
			of, err := base.In(own)
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
			if name == "adapter" && step == 0 {
				continue // its first weights are made when it is built
			}
			drift, err := tune.Restore(own, train.WeightsScope, network, trained, of.Drift)
			if err != nil {
				t.Fatal(err)
			}
			largest := 0.0
			for i, v := range evaluate(own, drift) {
				largest = max(largest, math.Abs(float64(v-want[i])))
			}
			if step == 0 && largest > 1e-5 || step > 1 && largest == 0 {
				t.Errorf("%s: after %d steps the drift is %g from the base's", name, step, largest)
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

// A budget holds λ where the divergence stays within it, and stops where it is told to.
func TestBudget(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	budget := tune.DefaultBudget()
	budget.KL, budget.Every, budget.Paths.Paths, budget.Paths.Steps = 0.15, 50, 512, 50
	run := func(budget tune.Budget) (looks []tune.Look, err error) {
		c := quick(1500)
		c.Lambda, c.Optimizer.Rate = 4, 3e-3
		tuner := newTuner(t, adapter(32), once(), c)
		err = tuner.Run(t.Context(), tuner.Observer(t.Context(), budget, func(l tune.Look) { looks = append(looks, l) }))
		return looks, err
	}
	looks, err := run(budget)
	if err != nil {
		t.Fatal(err)
	}
	last := looks[len(looks)-1]
	if last.KL > 1.7*budget.KL || last.KL < 0.5*budget.KL {
		t.Errorf("KL %.3f ± %.3f at the end, want about %g", last.KL, last.KLSE, budget.KL)
	}
	if last.Lambda >= 4 || last.Lambda <= 0 {
		t.Errorf("λ = %g at the end, want it held below 4", last.Lambda)
	}
	budget.Stop = true
	looks, err = run(budget)
	if !errors.Is(err, tune.ErrBudget) || looks[len(looks)-1].KL <= budget.KL {
		t.Errorf("stopped with %v after %d looks, want the budget's error", err, len(looks))
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	tuner := newTuner(t, adapter(8), once(), quick(5))
	if err := tuner.Run(stopped, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
}

// What makes no sense is refused with its name.
func TestRefused(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	for name, c := range map[string]struct {
		method tune.Method
		change func(c *tune.Config)
	}{
		"lambda":      {once(), func(c *tune.Config) { c.Lambda = 0 }},
		"own to 1":    {tune.AdjointMatching{}, func(*tune.Config) {}},
		"interpolant": {tune.RewardWeighted{}, func(c *tune.Config) { c.States.Own = 0.5 }},
		"replay":      {once(), func(c *tune.Config) { c.States.Replay = 0.5 }},
		"whole path":  {once(), func(c *tune.Config) { c.States.Own, c.Batch = 0.01, 64 }},
		"accumulate":  {once(), func(c *tune.Config) { c.Accumulate = 2 }},
		"antithetic":  {tune.MetaTuning{Draws: steer.Draws{N: 2, Antithetic: true}, GradientFree: true}, func(*tune.Config) {}},
		"reference":   {tune.MetaTuning{Draws: steer.Draws{N: 1}, Reference: -1}, func(*tune.Config) {}},
		"start":       {once(), func(c *tune.Config) { c.Noise.Start = 0 }},
	} {
		config := quick(5)
		c.change(&config)
		_, err := tune.New(backendtest.New(t), tune.ModelBase(m), measured(1).Reward(), adapter(8), c.method, samplesOf(law), []int{2}, config, config)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// A step whose loss is not finite changes nothing, the offset and the buffer included.
func TestNotFinite(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	law, m := gaussian(t, interpolant.Linear{})
	c := quick(10)
	c.States = tune.Law{Own: 0.25, Steps: 8, Replay: 0.25, Capacity: 200}
	c.Noise.Start = 0.1
	broken := adapter(8)
	inner := broken.Backbone
	broken.Backbone = func(scope *model.Scope, in nn.Inputs) *Node {
		// From the third step on the weights are far enough from zero for this to be no number.
		y := inner(scope, in)
		return Add(y, MulScalar(Log(AddScalar(Neg(ReduceAllSum(Square(y))), 1e-7)), 0))
	}
	tuner, err := tune.New(backendtest.New(t), tune.ModelBase(m), measured(0.8).Reward(), broken, once(), samplesOf(law), []int{2}, c, c)
	if err != nil {
		t.Fatal(err)
	}
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
		t.Fatalf("%d steps were finite", tuner.Done())
	}
	after := clones(t, tuner)
	for name, v := range before {
		if !bytes.Equal(raw(v), raw(after[name])) {
			t.Errorf("%s changed in the step that failed", name)
		}
	}
}

// The late divergence is a mean over the looks from half of the training on, however many steps it has made, and its error that of independent looks.
func TestLateKL(t *testing.T) {
	look := func(step int64, kl, se float64) tune.Look { return tune.Look{Step: step, KL: kl, KLSE: se} }
	for name, c := range map[string]struct {
		looks    []tune.Look
		mean, se float64
	}{
		"none":        {nil, 0, 0},
		"one":         {[]tune.Look{look(60, 2, 0.3)}, 2, 0.3},
		"second half": {[]tune.Look{look(250, 9, 9), look(500, 1, 0.3), look(750, 2, 0.4), look(1000, 6, 1.2)}, 3, 1.3 / 3},
		"ended early": {[]tune.Look{look(40, 9, 9), look(100, 1, 3), look(160, 2, 4)}, 1.5, 2.5},
	} {
		if mean, se := tune.LateKL(c.looks); math.Abs(mean-c.mean) > 1e-12 || math.Abs(se-c.se) > 1e-12 {
			t.Errorf("%s: %g ± %g, want %g ± %g", name, mean, se, c.mean, c.se)
		}
	}
}

// A collapse is reported where the spread falls below three quarters of the target's, or by more than half where that is not known, while the reward does not fall, and nowhere else.
func TestCollapse(t *testing.T) {
	looks := func(spreads, rewards []float64) (out []tune.Look) {
		for i := range spreads {
			out = append(out, tune.Look{Step: int64(100 * (i + 1)), Lambda: 1, Spread: spreads[i], Reward: rewards[i], RewardSE: 0.05})
		}
		return out
	}
	against := func(looks []tune.Look) []tune.Look { // a reward that is to be small
		for i := range looks {
			looks[i].Lambda = -2
		}
		return looks
	}
	for name, c := range map[string]struct {
		looks    []tune.Look
		target   float64
		collapse bool
	}{
		"collapsed": {looks([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0, true},
		"healthy":   {looks([]float64{2, 1.9, 1.8, 1.85}, []float64{-3, -1, -0.6, -0.5}), 0, false},
		"failing":   {looks([]float64{2, 1, 0.5, 0.3}, []float64{-1, -2, -5, -9}), 0, false},
		"two looks": {looks([]float64{2, 0.1}, []float64{-3, -1}), 0, true},
		"too few":   {looks([]float64{0.1}, []float64{-1}), 2, false},
		"negative":  {against(looks([]float64{2, 1, 0.5, 0.3}, []float64{-1, -2, -5, -9})), 0, true},
		"worse":     {against(looks([]float64{2, 1, 0.5, 0.3}, []float64{-9, -5, -2, -1})), 0, false},
		"narrow":    {looks([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.5, false},
		"narrower":  {looks([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.9, true},
		"a quarter": {looks([]float64{2, 1.8, 0.7, 0.4}, []float64{-3, -1, -0.2, -0.1}), 0.54, true},
		"at once":   {looks([]float64{0.4, 0.4, 0.4, 0.4}, []float64{-0.1, -0.1, -0.1, -0.1}), 2, true},
	} {
		if text := tune.Collapse(c.looks, tune.Target{Spread: c.target}); (text != "") != c.collapse {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// A drift that has not come half of the way to the tilted law, by more than error, is told of, and no other one.
func TestBehind(t *testing.T) {
	for name, c := range map[string]struct {
		kl     []float64
		se     float64
		target tune.Target
		told   bool
	}{
		"behind":    {[]float64{0.1, 0.3, 0.5, 0.6}, 0.1, tune.Target{KL: 2}, true},
		"there":     {[]float64{0.1, 1.2, 1.9, 2}, 0.1, tune.Target{KL: 2}, false},
		"early":     {[]float64{0.1, 0.2, 2, 2, 2}, 0.1, tune.Target{KL: 2}, false},
		"uncertain": {[]float64{0.1, 0.7, 0.8, 0.7}, 0.3, tune.Target{KL: 2}, false},
		"unknown":   {[]float64{0.1, 0.3, 0.5}, 0.1, tune.Target{}, false},
		"too few":   {[]float64{0.1}, 0.1, tune.Target{KL: 2}, false},
	} {
		var looks []tune.Look
		for i, v := range c.kl {
			looks = append(looks, tune.Look{Step: int64(i + 1), KL: v, KLSE: c.se})
		}
		if text := tune.Behind(looks, c.target); (text != "") != c.told {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// A drift that is farther from the base than the tilted law, and more than by error or slack, is told of, and no other one.
func TestOvershoot(t *testing.T) {
	looks := func(se float64, kl ...float64) (out []tune.Look) {
		for i, v := range kl {
			out = append(out, tune.Look{Step: int64(i + 1), KL: v, KLSE: se})
		}
		return out
	}
	for name, c := range map[string]struct {
		looks  []tune.Look
		target tune.Target
		told   bool
	}{
		"far":       {looks(0.1, 1, 2.5, 2.9, 3), tune.Target{KL: 2}, true},
		"near":      {looks(0.1, 1, 2, 2.4, 2.5), tune.Target{KL: 2}, false},
		"slack":     {looks(0.1, 1, 5, 5, 5), tune.Target{KL: 2, Slack: 3}, false},
		"too far":   {looks(0.1, 1, 7, 7, 7), tune.Target{KL: 2, Slack: 3}, true},
		"early":     {looks(0.1, 90, 2, 2, 2), tune.Target{KL: 2}, false},
		"uncertain": {looks(0.5, 1, 2.5, 2.9, 3), tune.Target{KL: 2}, false},
		"unknown":   {looks(0.1, 1, 5, 7, 7), tune.Target{}, false},
		"too few":   {looks(0.1, 70), tune.Target{KL: 2}, false},
	} {
		if text := tune.Overshoot(c.looks, c.target); (text != "") != c.told {
			t.Errorf("%s: %q", name, text)
		}
	}
}
