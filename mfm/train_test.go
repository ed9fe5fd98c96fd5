package mfm_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// smallBackbone is one hidden layer of 16.
func smallBackbone(scope *model.Scope, in nn.Inputs) *Node {
	g := in.S.Graph()
	column := func(t *Node) *Node { return InsertAxes(t, -1) }
	h := Concatenate([]*Node{in.Xbar, in.X, column(in.S), column(in.U), column(in.T)}, -1)
	variable := func(name string, init model.VariableInitializer, dims ...int) *Node {
		return scope.WithInitializer(init).VariableWithShape(name, shapes.Make(dtypes.Float32, dims...)).NodeValue(g)
	}
	normal := func(g *Graph, shape shapes.Shape) *Node {
		return MulScalar(ClipScalar(model.GetStore(g).RandomNormal(g, shape), -6, 6), 0.3) // it may give infinities
	}
	h = Tanh(Add(Dot(h, variable("w1", normal, 7, 16)).Product(), variable("b1", Zeros, 1, 16)))
	return Dot(h, variable("w2", normal, 16, 2)).Product()
}

func smallMap() *mfm.Map {
	return &mfm.Map{Interpolant: mfm.Linear{}, Backbone: smallBackbone, Parametrization: mfm.Plain{}}
}

// normalSource draws from N(0, I) in two dimensions; scaled makes it overflow after some steps.
func normalSource(_ *model.Scope, _ *Graph, rng *mfm.RNG, n int) (data, class *Node) {
	return rng.Normal(shapes.Make(dtypes.Float32, n, 2)), nil
}

func smallConfig() mfm.TrainConfig {
	c := mfm.DefaultTrainConfig()
	c.Steps, c.Batch, c.EMA, c.Seed = 12, 32, []float64{0.9, 0.99}, 5
	c.Optimizer.Warmup = 4
	return c
}

func newSmallTrainer(t *testing.T, c mfm.TrainConfig) *mfm.Trainer {
	t.Helper()
	trainer, err := mfm.NewTrainer(backendtest.New(t), smallMap(), normalSource, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// bits returns a copy of a state, comparable to the bit.
func bits(t *testing.T, trainer *mfm.Trainer) map[string][]uint64 {
	t.Helper()
	state, err := trainer.State()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]uint64)
	for path, value := range state {
		if value.DType() == dtypes.Uint64 {
			out[path] = tensors.MustCopyFlatData[uint64](value)
			continue
		}
		for _, v := range tensors.MustCopyFlatData[float32](value) {
			out[path] = append(out[path], uint64(math.Float32bits(v)))
		}
	}
	return out
}

func compareBits(t *testing.T, got, want map[string][]uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
	for path, w := range want {
		if !slices.Equal(got[path], w) {
			t.Errorf("%s differs", path)
		}
	}
}

func TestFitResumesToTheBit(t *testing.T) {
	whole := newSmallTrainer(t, smallConfig())
	if err := whole.Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	want := bits(t, whole)

	dir := t.TempDir()
	stop := errors.New("stop")
	for _, last := range []int64{3, 7, 12} {
		trainer := newSmallTrainer(t, smallConfig())
		err := mfm.Fit(context.Background(), trainer, mfm.FitOptions{Dir: dir, Every: 2, Keep: 2, Observe: func(m mfm.Metrics) error {
			if m.Step == last && last < 12 {
				return stop
			}
			return nil
		}})
		if last < 12 && !errors.Is(err, stop) || last == 12 && err != nil {
			t.Fatalf("stopping at %d: %v", last, err)
		}
		if trainer.Done() != last {
			t.Fatalf("%d steps done, want %d", trainer.Done(), last)
		}
		if last == 12 {
			compareBits(t, bits(t, trainer), want)
		}
	}
}

func TestFitPassesOverDamage(t *testing.T) {
	dir := t.TempDir()
	c := smallConfig()
	if err := mfm.Fit(context.Background(), newSmallTrainer(t, c), mfm.FitOptions{Dir: dir, Every: 5, Keep: 3}); err != nil {
		t.Fatal(err)
	}
	newest, err := filepath.Glob(filepath.Join(dir, "step-000000012*.safetensors"))
	if err != nil || len(newest) != 1 {
		t.Fatalf("newest checkpoint: %v, %v", newest, err)
	}
	if err := os.Truncate(newest[0], 100); err != nil {
		t.Fatal(err)
	}
	var problems []error
	trainer := newSmallTrainer(t, c)
	first := int64(0)
	err = mfm.Fit(context.Background(), trainer, mfm.FitOptions{Dir: dir, Problem: func(err error) { problems = append(problems, err) }, Observe: func(m mfm.Metrics) error {
		if first == 0 {
			first = m.Step
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "step-000000012") {
		t.Errorf("problems %v, want one that names the torn file", problems)
	}
	if first != 11 {
		t.Errorf("went on with step %d, want 11", first)
	}

	c.Batch = 16
	if err := mfm.Fit(context.Background(), newSmallTrainer(t, c), mfm.FitOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("resuming with another batch: %v, want an error", err)
	}
}

func TestRunStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	trainer := newSmallTrainer(t, smallConfig())
	err := trainer.Run(ctx, func(m mfm.Metrics) error {
		if m.Step == 4 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || trainer.Done() != 4 {
		t.Errorf("%d steps, error %v; want 4 and context.Canceled", trainer.Done(), err)
	}
}

func TestNonFiniteStepIsNotTaken(t *testing.T) {
	// The data become infinite at step 4.
	objectiveStep := func(weights, _ *model.Scope, rng *mfm.RNG, step *Node) mfm.Terms {
		x, _ := normalSource(nil, step.Graph(), rng, 32)
		bad := GreaterOrEqual(step, Scalar(step.Graph(), dtypes.Float32, 4))
		x = Where(bad, MulScalar(x, math.Inf(1)), x)
		return mfm.DefaultLoss().Build(smallMap(), weights, weights, nil, rng, mfm.Batch{Data: x, Step: step})
	}
	trainer, err := mfm.NewObjectiveTrainer(backendtest.New(t), objectiveStep, smallConfig().RunConfig, nil)
	if err != nil {
		t.Fatal(err)
	}
	var before map[string][]uint64
	err = trainer.Run(context.Background(), func(m mfm.Metrics) error {
		if m.Step == 3 {
			before = bits(t, trainer)
		}
		return nil
	})
	var nonFinite *mfm.NonFiniteError
	if !errors.As(err, &nonFinite) || nonFinite.Step != 4 || nonFinite.Tensor != "diagonal loss" {
		t.Fatalf("error %v, want the diagonal loss of step 4", err)
	}
	if trainer.Done() != 3 {
		t.Errorf("%d steps done, want 3", trainer.Done())
	}
	compareBits(t, bits(t, trainer), before)
}

func TestAccumulationAveragesGradients(t *testing.T) {
	// With plain gradients (Adam's first step is the sign of the gradient, so look at the norm) four batches give the mean loss
	// that four single draws from the same stream give.
	c := smallConfig()
	c.Accumulate = 4
	got, err := newSmallTrainer(t, c).Step()
	if err != nil {
		t.Fatal(err)
	}
	rate := smallConfig()
	rate.Optimizer.Rate = 1e-30 // weights stay: only the stream of data moves
	trainer := newSmallTrainer(t, rate)
	mean := 0.0
	for range 4 {
		m, err := trainer.Step()
		if err != nil {
			t.Fatal(err)
		}
		mean += m.Loss / 4
	}
	if math.Abs(got.Loss-mean) > 1e-5*mean {
		t.Errorf("loss %g over four batches, mean of four single ones %g", got.Loss, mean)
	}
}

// referenceAdam is Adam, AdamW and RAdam on one number, from their papers; Muon is Adam there.
func referenceAdam(o mfm.Optimizer, w float64, gradient func(w float64) float64, steps int) float64 {
	var m, v float64
	for i := 1; i <= steps; i++ {
		n := float64(i)
		g := gradient(w)
		m, v = o.Beta1*m+(1-o.Beta1)*g, o.Beta2*v+(1-o.Beta2)*g*g
		mHat, vHat := m/(1-math.Pow(o.Beta1, n)), v/(1-math.Pow(o.Beta2, n))
		step := mHat / (math.Sqrt(vHat) + o.Epsilon)
		if o.Method == "radam" {
			inf := 2/(1-o.Beta2) - 1
			rho := inf - 2*n*math.Pow(o.Beta2, n)/(1-math.Pow(o.Beta2, n))
			step = mHat
			if rho > 5 {
				step = mHat / (math.Sqrt(vHat) + o.Epsilon) * math.Sqrt((rho-4)*(rho-2)*inf/((inf-4)*(inf-2)*rho))
			}
		}
		if o.Method == "adamw" {
			step += o.WeightDecay * w
		}
		rate := o.Rate
		if o.Cosine {
			rate *= o.FinalShare + (1-o.FinalShare)*(1+math.Cos(math.Pi*(n-1)/float64(steps)))/2
		}
		if o.Warmup > 0 {
			rate *= math.Min(1, n/float64(o.Warmup))
		}
		w -= rate * step
	}
	return w
}

func TestOptimizersAgainstTheirPapers(t *testing.T) {
	for _, method := range []string{"adam", "adamw", "radam", "muon"} {
		t.Run(method, func(t *testing.T) {
			c := smallConfig().RunConfig
			c.Steps, c.EMA = 40, []float64{0.8}
			c.Optimizer = mfm.Optimizer{Method: method, Rate: 0.05, Warmup: 5, Cosine: true, FinalShare: 0.1, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1}
			objective := func(weights, _ *model.Scope, _ *mfm.RNG, step *Node) mfm.Terms {
				w := weights.WithInitializer(Ones).VariableWithShape("w", shapes.Make(dtypes.Float32)).NodeValue(step.Graph())
				loss := Square(SubScalar(w, 3))
				zero := ZerosLike(loss)
				return mfm.Terms{Total: loss, Diagonal: zero, Consistency: zero}
			}
			trainer, err := mfm.NewObjectiveTrainer(backendtest.New(t), objective, c, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := trainer.Run(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			weights, err := trainer.Weights(mfm.WeightsScope)
			if err != nil {
				t.Fatal(err)
			}
			got := float64(tensors.ToScalar[float32](weights["/w"]))
			want := referenceAdam(c.Optimizer, 1, func(w float64) float64 { return 2 * (w - 3) }, 40)
			if math.Abs(got-want) > 1e-4 {
				t.Errorf("%s ends at %g, its paper's formula at %g", method, got, want)
			}
		})
	}
}
