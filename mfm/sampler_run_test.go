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

// Many contexts are answered in order, whatever the size of a chunk, and what they have in common is compiled once.
func TestSamplerChunks(t *testing.T) {
	law, ctx := mfmtest.Tilted(t), context.Background()
	ip := interpolant.Linear{}
	built := 0
	m := mfmtest.ExactMap(t, law, ip)
	m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { built++; return ZerosLike(in.Xbar) }
	config := mfm.DefaultSamplerConfig()
	config.Chunk = 700
	s, err := mfm.NewSampler(backendtest.New(t), model.NewStore(), train.WeightsScope, m, []int{2}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	const n = 999
	x := []float32{0.9, -1.1, -2, 0.3, 0, 1.5}
	for _, at := range []float64{0.2, 0.7} { // 2,997 rows: five chunks of 600, the last with three to spare
		got, err := s.Posterior(ctx, 1, at, x, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 3*n*2 {
			t.Fatalf("%d numbers, want %d", len(got), 3*n*2)
		}
		rows := mfm.Rows(got, 2)
		for k := range 3 {
			posterior := law.Posterior(ip, at, []float64{float64(x[2*k]), float64(x[2*k+1])})
			mfmtest.HasMoments(t, fmt.Sprintf("context %d at t = %g", k, at), rows[k*n:(k+1)*n], posterior.Mean(), posterior.Covariance(), 0)
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
		mfm.DefaultSamplerConfig(), configured(mfm.RefineMethod, "", 3, 1), configured(mfm.SDEMethod, "", 8, 1),
	} {
		s := mapSampler(t, interpolant.Linear{}, c)
		draw := func(seed int64) []float32 {
			x, err := s.Unconditional(ctx, seed, 5, nil)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		a, b, other := draw(1), draw(1), draw(2)
		if !slices.Equal(a, b) {
			t.Errorf("%s: the same seed gives other samples", c.Method)
		}
		if slices.Equal(a, other) {
			t.Errorf("%s: another seed gives the same samples", c.Method)
		}
	}
}

// NFE is the number of times that a sample passes through the network: counted where loops are unrolled.
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
		{configured(mfm.MapMethod, "", 4, 1), 4},
		{configured(mfm.RefineMethod, "", 5, 1), 5},
		{configured(mfm.ODEMethod, solver.Euler, 6, 1), 6},
		{configured(mfm.ODEMethod, solver.Heun, 6, 1), 11},
		{configured(mfm.SDEMethod, "", 7, 1), 7},
	} {
		passes := 0
		m := mfmtest.ExactMap(t, mfmtest.Tilted(t), interpolant.Linear{})
		m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { passes++; return ZerosLike(in.Xbar) }
		s, err := mfm.NewSampler(b, model.NewStore(), train.WeightsScope, m, []int{2}, c.config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Unconditional(context.Background(), 1, 2, nil); err != nil {
			t.Fatal(err)
		}
		s.Finalize()
		if passes != c.want || s.NFE() != c.want {
			t.Errorf("%s with %d steps: %d evaluations, NFE says %d, want %d", c.config.Method, c.config.Steps, passes, s.NFE(), c.want)
		}
	}
}

// A compiled loop computes what the unrolled one does, with weights that nothing touches before the loop.
func TestSamplersUnrolled(t *testing.T) {
	compiled := backendtest.New(t)
	backendtest.NeedLoops(t, compiled)
	unrolled, err := backend.New("go")
	if err != nil {
		t.Fatal(err)
	}
	m := mfmtest.ExactMap(t, mfmtest.Tilted(t), interpolant.Linear{})
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
				return solver.Integrate(nil, solver.Euler, times, interpolant.ConditionalField(m.Interpolant, m.DriftIn(weights), at, x, nil), eps)
			},
		} {
			out, err := model.CallOnce(b, store, func(_ *model.Scope, eps, at, x *Node) *Node { return build(eps, at, x) },
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
		mfmtest.Near(t, name, mfmtest.Flatten(len(got[i]), func(k int) []float64 { return []float64{float64(got[i][k])} }),
			mfmtest.Flatten(len(want[i]), func(k int) []float64 { return []float64{float64(want[i][k])} }), 1e-5)
	}
}

// learned is a small network with weights; learnedStore makes them.
func learned(scope *model.Scope, in nn.Inputs) *Node {
	g := in.Xbar.Graph()
	w := scope.In("layer").VariableWithShape("w", shapes.Make(dtypes.Float32, 4, 2)).NodeValue(g)
	b := scope.At("layer").VariableWithShape("b", shapes.Make(dtypes.Float32, 2)).NodeValue(g)
	h := Concatenate([]*Node{in.Xbar, in.X}, 1)
	return Mul(Tanh(Add(Dot(h, w).Product(), InsertAxes(b, 0))), InsertAxes(OnePlus(in.S), -1))
}

func learnedStore(t testing.TB) *model.Store {
	t.Helper()
	store := model.NewStore()
	for k, scope := range []string{train.WeightsScope, train.AverageScope(0)} {
		w := make([]float32, 8)
		for i := range w {
			w[i] = float32(math.Sin(float64(i + k)))
		}
		for name, value := range map[string]*tensors.Tensor{
			"w": tensors.FromFlatDataAndDimensions(w, 4, 2), "b": tensors.FromFlatDataAndDimensions([]float32{0.1, -0.2}, 2),
		} {
			if _, err := store.CreateVariable(scope+"/layer/"+name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return store
}

// The weights are those of the scope named, and are missed where they are not.
func TestSamplerScope(t *testing.T) {
	ctx, b, store := context.Background(), backendtest.New(t), learnedStore(t)
	m := mfmtest.ExactMap(t, mfmtest.Tilted(t), interpolant.Linear{})
	m.Backbone = learned
	draw := func(scope string) ([]float32, error) {
		s, err := mfm.NewSampler(b, store, scope, m, []int{2}, configured(mfm.MapMethod, "", 2, 1))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		return s.Unconditional(ctx, 1, 4, nil)
	}
	weights, err := draw(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	average, err := draw(train.AverageScope(0))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(weights, average) {
		t.Error("weights and their average give the same samples")
	}
	before := store.NumVariables()
	if _, err := draw("/elsewhere"); err == nil || !strings.Contains(err.Error(), "/elsewhere/layer/") {
		t.Errorf("a scope without weights gives the error %v, which should name one that is missing", err)
	}
	if store.NumVariables() != before {
		t.Errorf("the store went from %d variables to %d", before, store.NumVariables())
	}
}

// Every row has the label of its context, and none where none is given.
func TestSamplerClasses(t *testing.T) {
	ctx := context.Background()
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Parametrization: mfm.Plain{}}
	m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { // so that x̄ + v is the label
		label := ConvertDType(InsertAxes(in.Class, -1), in.Xbar.DType())
		return Sub(Add(label, ZerosLike(in.Xbar)), in.Xbar)
	}
	config := mfm.DefaultSamplerConfig()
	config.Classes, config.Chunk = 10, 3
	s, err := mfm.NewSampler(backendtest.New(t), model.NewStore(), train.WeightsScope, m, []int{1}, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	for _, c := range []struct{ class, want []int32 }{
		{nil, []int32{10, 10}},
		{[]int32{3, 7, 10}, []int32{3, 3, 7, 7, 10, 10}},
	} {
		got, err := s.Unconditional(ctx, 1, 2, c.class)
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
		if _, err := s.Unconditional(ctx, 1, 1, class); err == nil {
			t.Errorf("class %d is taken", class[0])
		}
	}
}

func TestSamplerRefuses(t *testing.T) {
	ctx := context.Background()
	s := mapSampler(t, interpolant.Linear{}, mfm.DefaultSamplerConfig())
	x := []float32{1, 2}
	first := func(_ []float32, err error) error { return err }
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"time":        {first(s.Posterior(ctx, 1, 1.5, x, 1, nil)), "1.5"},
		"NaN":         {first(s.Posterior(ctx, 1, math.NaN(), x, 1, nil)), "NaN"},
		"no context":  {first(s.Posterior(ctx, 1, 0.5, nil, 1, nil)), "0 numbers"},
		"odd context": {first(s.Posterior(ctx, 1, 0.5, []float32{1, 2, 3}, 1, nil)), "3 numbers"},
		"no samples":  {first(s.Posterior(ctx, 1, 0.5, x, 0, nil)), "0 samples"},
		"too many":    {first(s.Posterior(ctx, 1, 0.5, x, math.MaxInt, nil)), "samples a context"},
		"class":       {first(s.Posterior(ctx, 1, 0.5, x, 1, []int32{0})), "classes"},
		"backwards":   {first(s.Transition(ctx, 1, 0.5, 0.4, 0, x, 1, nil)), "rise"},
		"one time":    {first(s.Transition(ctx, 1, 0.5, 0.5+1e-9, 0, x, 1, nil)), "float32"},
		"correlation": {first(s.Transition(ctx, 1, 0.5, 0.6, 1, x, 1, nil)), "correlation 1"},
		"method":      {first(s.Transition(ctx, 1, 0.5, 0.6, 0, x, 1, nil)), `"map"`},
		"velocity":    {first(s.Velocity(ctx, 0.5, 0.2, x, 0.5, x, nil)), "0.5 and 0.2"},
		"two states":  {first(s.Velocity(ctx, 0.2, 0.5, x, 0.5, []float32{1, 2, 3, 4}, nil)), "4 numbers"},
		"drift time":  {first(s.Drift(ctx, -0.1, x, nil)), "-0.1"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", name, c.err, c.want)
		}
	}

	b, m := backendtest.New(t), mfmtest.ExactMap(t, mfmtest.Tilted(t), interpolant.Linear{})
	for _, shape := range [][]int{nil, {0}, {2, -1}} {
		if _, err := mfm.NewSampler(b, model.NewStore(), "/", m, shape, mfm.DefaultSamplerConfig()); err == nil {
			t.Errorf("shape %v is taken", shape)
		}
	}
	if _, err := mfm.NewTeacherSampler(b, model.NewStore(), interpolant.Linear{}, mfmtest.DriftOf(mfmtest.Tilted(t), interpolant.Linear{}), []int{2}, mfm.DefaultSamplerConfig()); err == nil {
		t.Error("a teacher is taken for a map")
	}
	broken := &mfm.Map{Interpolant: interpolant.Linear{}, Parametrization: mfm.Plain{}, Backbone: func(*model.Scope, nn.Inputs) *Node { panic("no network") }}
	s, err := mfm.NewSampler(b, model.NewStore(), "/", broken, []int{2}, mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unconditional(ctx, 1, 1, nil); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("a network that panics gives the error %v", err)
	}
}

func TestSamplerCancel(t *testing.T) {
	config := mfm.DefaultSamplerConfig()
	config.Chunk = 10
	s := mapSampler(t, interpolant.Linear{}, config)
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := s.Unconditional(ctx, 1, 100, nil); !errors.Is(err, reason) {
		t.Errorf("a cancelled call gives the error %v", err)
	}
}

func TestSamplerConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *mfm.SamplerConfig)
		want   string
	}{
		"method":  {func(c *mfm.SamplerConfig) { c.Method = "magic" }, `"magic"`},
		"solver":  {func(c *mfm.SamplerConfig) { c.Method, c.Solver = mfm.ODEMethod, "rk4" }, `"rk4"`},
		"steps":   {func(c *mfm.SamplerConfig) { c.Steps = 0 }, "steps = 0"},
		"power":   {func(c *mfm.SamplerConfig) { c.Power = -1 }, "power = -1"},
		"sde":     {func(c *mfm.SamplerConfig) { c.Method, c.Steps = mfm.SDEMethod, 2 }, "steps = 2"},
		"start":   {func(c *mfm.SamplerConfig) { c.Method, c.Steps, c.Start = mfm.SDEMethod, 20, 0 }, "start = 0"},
		"classes": {func(c *mfm.SamplerConfig) { c.Classes = -1 }, "classes = -1"},
		"chunk":   {func(c *mfm.SamplerConfig) { c.Chunk = -1 }, "chunk = -1"},
	} {
		config := mfm.DefaultSamplerConfig()
		if err := config.Validate(); err != nil {
			t.Fatalf("the default is refused: %v", err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
	text, err := json.Marshal(configured(mfm.ODEMethod, solver.Euler, 7, 2))
	if err != nil {
		t.Fatal(err)
	}
	back := mfm.DefaultSamplerConfig()
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back != configured(mfm.ODEMethod, solver.Euler, 7, 2) || !strings.Contains(string(text), `"steps":7`) {
		t.Errorf("JSON %s reads as %+v", text, back)
	}
}
