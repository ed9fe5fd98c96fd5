package mfm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Many contexts are answered in order for any size of a chunk, and their graph is compiled once.
func TestSamplerChunks(t *testing.T) {
	mixture, ctx := mfmtest.Gaussian(t), context.Background()
	ip := interpolant.Linear{}
	built := 0
	m := mfmtest.ExactMap(t, mixture, ip)
	m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { built++; return ZerosLike(in.Xbar) }
	config := mfm.DefaultSamplerConfig()
	config.Chunk = 700
	s, err := mfm.NewSampler(backendtest.New(t),
		mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2}}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	const n = 999
	x := []float32{0.9, -1.1, -2, 0.3, 0, 1.5}
	for _, at := range []float64{0.2, 0.7} { // 2,997 rows: five chunks of 600, padded by three rows
		got, err := mfm.Flat(s.Posterior(ctx, 1, at, states(x, 2), n, nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 3*n*2 {
			t.Fatalf("%d numbers, want %d", len(got), 3*n*2)
		}
		rows := mfm.Rows(got, 2)
		for k := range 3 {
			posterior := mixture.Posterior(ip, at, []float64{float64(x[2*k]), float64(x[2*k+1])})
			mfmtest.HasMoments(t, fmt.Sprintf("context %d at t = %g", k, at), rows[k*n:(k+1)*n], posterior.Mean(),
				posterior.Covariance(), 0)
		}
		if rows[0][0] == rows[600][0] {
			t.Error("the second chunk repeats the first's noise")
		}
	}
	if built != 1 {
		t.Errorf("the network was built %d times, want once for all times and chunks", built)
	}
}

func TestSamplerSeed(t *testing.T) {
	ctx := context.Background()
	for _, c := range []mfm.SamplerConfig{
		mfm.DefaultSamplerConfig(), configured(mfm.RefineSampling, "", 3, 1), configured(mfm.SDESampling, "", 8, 1),
	} {
		s := mapSampler(t, interpolant.Linear{}, c)
		sample := func(seed int64) []float32 {
			x, err := mfm.Flat(s.Unconditional(ctx, seed, 5, nil))
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		a, b, other := sample(1), sample(1), sample(2)
		if !slices.Equal(a, b) {
			t.Errorf("%s: the same seed gives other samples", c.Method)
		}
		if slices.Equal(a, other) {
			t.Errorf("%s: another seed gives the same samples", c.Method)
		}
	}
}

// NFE is the number of evaluations of the network per sample, counted where loops are unrolled.
func TestSamplerNFE(t *testing.T) {
	b, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config mfm.SamplerConfig
		want   int
	}{
		{mfm.DefaultSamplerConfig(), 1},
		{configured(mfm.MapSampling, "", 4, 1), 4},
		{configured(mfm.RefineSampling, "", 5, 1), 5},
		{configured(mfm.ODESampling, solver.Euler, 6, 1), 6},
		{configured(mfm.ODESampling, solver.Heun, 6, 1), 11},
		{configured(mfm.SDESampling, "", 7, 1), 7},
	} {
		passes := 0
		m := mfmtest.ExactMap(t, mfmtest.Gaussian(t), interpolant.Linear{})
		m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { passes++; return ZerosLike(in.Xbar) }
		s, err := mfm.NewSampler(b,
			mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2}}, c.config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mfm.Flat(s.Unconditional(context.Background(), 1, 2, nil)); err != nil {
			t.Fatal(err)
		}
		s.Finalize()
		if passes != c.want || s.NFE() != c.want {
			t.Errorf("%s with %d steps: %d evaluations and NFE %d, want %d",
				c.config.Method, c.config.Steps, passes, s.NFE(), c.want)
		}
	}
}

// A compiled loop agrees with the unrolled one, also for weights that are first used inside the
// loop.
func TestSamplersUnrolled(t *testing.T) {
	compiled := backendtest.New(t)
	backendtest.NeedLoops(t, compiled)
	unrolled, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	m := mfmtest.ExactMap(t, mfmtest.Gaussian(t), interpolant.Linear{})
	m.Backbone = learned
	times := interpolant.Grid{Steps: 5, Power: 1.5}.Times(0, 1)
	run := func(b compute.Backend) (flat [3][]float32) {
		store := learnedStore(t)
		weights := store.Scope(train.WeightsScope)
		for i, build := range []func(eps, at, x *Node) *Node{
			func(eps, at, x *Node) *Node { return m.PosteriorSteps(weights, times, eps, at, x, nil) },
			func(eps, at, x *Node) *Node {
				return solver.Integrate(nil, solver.Heun, times, m.Field(weights, at, x, nil), eps)
			},
			func(eps, at, x *Node) *Node {
				return solver.Integrate(nil, solver.Euler, times,
					interpolant.ConditionalField(m.Interpolant, m.DriftIn(weights), at, x, nil), eps)
			},
		} {
			graph := func(_ *model.Scope, eps, at, x *Node) *Node { return build(eps, at, x) }
			out, err := model.CallOnce(b, store, graph,
				[][]float32{{0.3, -1}, {1.2, 0.4}}, []float32{0.2, 0.7}, [][]float32{{1, 0}, {-0.5, 2}})
			if err != nil {
				t.Fatal(err)
			}
			flat[i] = tensors.MustCopyFlatData[float32](out)
		}
		return flat
	}
	got, want := run(compiled), run(unrolled)
	for i, name := range []string{"map", "heun", "GLASS"} {
		mfmtest.Near(t, name, mfmtest.Flatten(len(got[i]), func(k int) []float64 {
			return []float64{float64(got[i][k])}
		}),
			mfmtest.Flatten(len(want[i]), func(k int) []float64 { return []float64{float64(want[i][k])} }), 1e-5)
	}
}

// learned is a small network with weights in a scope.
func learned(scope *model.Scope, in nn.Inputs) *Node {
	g := in.Xbar.Graph()
	w := scope.In("layer").VariableWithShape("w", shapes.Make(dtypes.Float32, 4, 2)).NodeValue(g)
	b := scope.At("layer").VariableWithShape("b", shapes.Make(dtypes.Float32, 2)).NodeValue(g)
	h := Concatenate([]*Node{in.Xbar, in.X}, 1)
	return Mul(Tanh(Add(Dot(h, w).Product(), InsertAxes(b, 0))), InsertAxes(OnePlus(in.S), -1))
}

// learnedStore returns a store with weights of learned in two scopes.
func learnedStore(t testing.TB) *model.Store {
	t.Helper()
	store := model.NewStore()
	for k, scope := range []string{train.WeightsScope, train.AverageScope(0)} {
		w := make([]float32, 8)
		for i := range w {
			w[i] = float32(math.Sin(float64(i + k)))
		}
		for name, value := range map[string]*tensors.Tensor{
			"w": tensors.FromFlatDataAndDimensions(w, 4, 2),
			"b": tensors.FromFlatDataAndDimensions([]float32{0.1, -0.2}, 2),
		} {
			if _, err := store.CreateVariable(scope+"/layer/"+name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return store
}

// A sampler uses the weights of its scope, and reports missing ones.
func TestSamplerScope(t *testing.T) {
	ctx, b, store := context.Background(), backendtest.New(t), learnedStore(t)
	m := mfmtest.ExactMap(t, mfmtest.Gaussian(t), interpolant.Linear{})
	m.Backbone = learned
	sample := func(scope string) ([]float32, error) {
		s, err := mfm.NewSampler(b, mfm.Model{Map: m, Weights: store.Scope(scope), Shape: []int{2}},
			configured(mfm.MapSampling, "", 2, 1))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		return mfm.Flat(s.Unconditional(ctx, 1, 4, nil))
	}
	weights, err := sample(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	average, err := sample(train.AverageScope(0))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(weights, average) {
		t.Error("weights and their average give the same samples")
	}
	before := store.NumVariables()
	// A network with an initializer in the graph, and one with values from the host.
	for _, network := range []nn.Backbone{learned, nn.MLP(nn.DefaultMLP())} {
		m.Backbone = network
		for range 2 {
			if _, err := sample("/elsewhere"); err == nil || !strings.Contains(err.Error(), "the first is /elsewhere/") {
				t.Errorf("error %v for a scope without weights, want one that names a missing weight", err)
			}
		}
		if store.NumVariables() != before {
			t.Errorf("the store went from %d variables to %d", before, store.NumVariables())
		}
	}
}

// Every row has the label of its context, or "no class" if none is given.
func TestSamplerClasses(t *testing.T) {
	ctx := context.Background()
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Parametrization: mfm.Plain{}}
	m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { // so that x̄ + v is the label
		label := ConvertDType(InsertAxes(in.Class, -1), in.Xbar.DType())
		return Sub(Add(label, ZerosLike(in.Xbar)), in.Xbar)
	}
	config := mfm.DefaultSamplerConfig()
	config.Classes, config.Chunk = 10, 3
	s, err := mfm.NewSampler(backendtest.New(t),
		mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{1}}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	for _, c := range []struct{ class, want []int32 }{
		{nil, []int32{10, 10}},
		{[]int32{3, 7, 10}, []int32{3, 3, 7, 7, 10, 10}},
	} {
		got, err := mfm.Flat(s.Unconditional(ctx, 1, 2, c.class))
		if err != nil {
			t.Fatal(err)
		}
		labels := make([]int32, len(got))
		for i, v := range got {
			labels[i] = int32(math.Round(float64(v)))
		}
		if !slices.Equal(labels, c.want) {
			t.Errorf("classes %v reach the network as %v, want %v", c.class, labels, c.want)
		}
	}
	for _, class := range [][]int32{{11}, {-1}} {
		if _, err := mfm.Flat(s.Unconditional(ctx, 1, 1, class)); err == nil {
			t.Errorf("no error for class %d", class[0])
		}
	}
}

func TestSamplerErrors(t *testing.T) {
	ctx := context.Background()
	s := mapSampler(t, interpolant.Linear{}, mfm.DefaultSamplerConfig())
	x := states([]float32{1, 2}, 2)
	first := func(_ *tensors.Tensor, err error) error { return err }
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"time":        {first(s.Posterior(ctx, 1, 1.5, x, 1, nil)), "1.5"},
		"NaN":         {first(s.Posterior(ctx, 1, math.NaN(), x, 1, nil)), "NaN"},
		"no context":  {first(s.Posterior(ctx, 1, 0.5, nil, 1, nil)), "no states"},
		"odd context": {first(s.Posterior(ctx, 1, 0.5, states([]float32{1, 2, 3}, 3), 1, nil)), "shape [1 3]"},
		"integers":    {first(s.Posterior(ctx, 1, 0.5, tensors.FromValue([]int32{1, 2}), 1, nil)), "Int32"},
		"no samples":  {first(s.Posterior(ctx, 1, 0.5, x, 0, nil)), "0 samples"},
		"too many":    {first(s.Posterior(ctx, 1, 0.5, x, math.MaxInt, nil)), "samples per context"},
		"class":       {first(s.Posterior(ctx, 1, 0.5, x, 1, []int32{0})), "classes"},
		"backward":    {first(s.Transition(ctx, 1, 0.5, 0.4, 0, x, 1, nil)), "rise"},
		"one time":    {first(s.Transition(ctx, 1, 0.5, 0.5+1e-9, 0, x, 1, nil)), "float32"},
		"correlation": {first(s.Transition(ctx, 1, 0.5, 0.6, 1, x, 1, nil)), "correlation 1"},
		"method":      {first(s.Transition(ctx, 1, 0.5, 0.6, 0, x, 1, nil)), `"map"`},
		"velocity":    {first(s.Velocity(ctx, 0.5, 0.2, x, 0.5, x, nil)), "from 0.5 to 0.2"},
		"two states": {first(s.Velocity(ctx, 0.2, 0.5, x, 0.5, states([]float32{1, 2, 3, 4}, 2), nil)),
			"1 and 2 samples"},
		"drift time": {first(s.Drift(ctx, -0.1, x, nil)), "-0.1"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, c.err, c.want)
		}
	}

	b, m := backendtest.New(t), mfmtest.ExactMap(t, mfmtest.Gaussian(t), interpolant.Linear{})
	for _, shape := range [][]int{nil, {0}, {2, -1}} {
		if _, err := mfm.NewSampler(b, mfm.Model{Map: m, Weights: model.NewStore().Scope("/"), Shape: shape},
			mfm.DefaultSamplerConfig()); err == nil {
			t.Errorf("no error for shape %v", shape)
		}
	}
	teacher := mfmtest.DriftOf(mfmtest.Gaussian(t), m.Interpolant)
	_, err := mfm.NewTeacherSampler(b, model.NewStore(), m.Interpolant, teacher, []int{2}, mfm.DefaultSamplerConfig())
	if err == nil {
		t.Error("no error for a teacher with the map's method")
	}
	broken := &mfm.Map{Interpolant: interpolant.Linear{}, Parametrization: mfm.Plain{}}
	broken.Backbone = func(*model.Scope, nn.Inputs) *Node { panic("no network") }
	s, err = mfm.NewSampler(b, mfm.Model{Map: broken, Weights: model.NewStore().Scope("/"), Shape: []int{2}},
		mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mfm.Flat(s.Unconditional(ctx, 1, 1, nil)); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("error %v for a network that panics, want its message", err)
	}
}

func TestSamplerCancel(t *testing.T) {
	config := mfm.DefaultSamplerConfig()
	config.Chunk = 10
	s := mapSampler(t, interpolant.Linear{}, config)
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := mfm.Flat(s.Unconditional(ctx, 1, 100, nil)); !errors.Is(err, reason) {
		t.Errorf("error %v for a canceled call, want the cause", err)
	}
}

func TestSamplerConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *mfm.SamplerConfig)
		want   string
	}{
		"method":  {func(c *mfm.SamplerConfig) { c.Method = "magic" }, `"magic"`},
		"solver":  {func(c *mfm.SamplerConfig) { c.Method, c.Solver = mfm.ODESampling, "rk4" }, `"rk4"`},
		"steps":   {func(c *mfm.SamplerConfig) { c.Steps = 0 }, "steps = 0"},
		"power":   {func(c *mfm.SamplerConfig) { c.Power = -1 }, "power = -1"},
		"sde":     {func(c *mfm.SamplerConfig) { c.Method, c.Steps = mfm.SDESampling, 2 }, "steps = 2"},
		"start":   {func(c *mfm.SamplerConfig) { c.Method, c.Steps, c.Start = mfm.SDESampling, 20, 0 }, "start = 0"},
		"classes": {func(c *mfm.SamplerConfig) { c.Classes = -1 }, "classes = -1"},
		"chunk":   {func(c *mfm.SamplerConfig) { c.Chunk = -1 }, "chunk = -1"},
	} {
		config := mfm.DefaultSamplerConfig()
		if err := config.Validate(); err != nil {
			t.Fatalf("the default is invalid: %v", err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	text, err := json.Marshal(configured(mfm.ODESampling, solver.Euler, 7, 2))
	if err != nil {
		t.Fatal(err)
	}
	back := mfm.DefaultSamplerConfig()
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back != configured(mfm.ODESampling, solver.Euler, 7, 2) || !strings.Contains(string(text), `"steps":7`) {
		t.Errorf("JSON %s reads as %+v", text, back)
	}
}

// Samples on four devices are those on one, up to rounding: with rows that the devices share, also
// in chunks, and with rows that they cannot share. The weights are those of a training on the four,
// which continues afterwards.
func TestSamplerOnDevices(t *testing.T) {
	one, four, ctx := backendtest.Devices(t, 1), backendtest.Devices(t, 4), context.Background()
	trainer, err := mfm.NewTrainer(four, mfmtest.SmallMap(), mfmtest.NormalSource, nil, mfmtest.SmallConfig())
	if err != nil {
		t.Fatal(err)
	}
	step := func() {
		if _, err := trainer.Step(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	config := configured(mfm.SDESampling, "", 8, 1)
	config.Chunk = 16
	sampler := func(b compute.Backend, store *model.Store) func(n int) []float32 {
		m := mfm.Model{Map: mfmtest.SmallMap(), Weights: store.Scope(train.WeightsScope), Shape: []int{2}}
		s, err := mfm.NewSampler(b, m, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Finalize)
		return func(n int) []float32 {
			x, err := mfm.Flat(s.Posterior(ctx, 1, 0.4, states([]float32{0.5, -1, 2, 0}, 2), n, nil))
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
	}
	onFour := sampler(four, trainer.Store())
	for range 2 {
		weights, err := trainer.Weights(train.WeightsScope)
		if err != nil {
			t.Fatal(err)
		}
		store := model.NewStore()
		for path, value := range weights { // a tensor belongs to one backend
			if weights[path], err = value.LocalClone(); err != nil {
				t.Fatal(err)
			}
		}
		if err := train.SetWeights(store, weights); err != nil {
			t.Fatal(err)
		}
		onOne := sampler(one, store)
		for _, n := range []int{4, 12, 5} {
			want, got := onOne(n), onFour(n)
			for i := range want {
				if !(math.Abs(float64(got[i]-want[i])) < 1e-5) || len(got) != 4*n {
					t.Fatalf("%d samples per context: element %d of %d is %g, want %g of %d", n, i, len(got), got[i],
						want[i], 4*n)
				}
			}
		}
		step()
	}
}
