package train_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// bits returns a copy of a trainer's state for comparison to the bit.
func bits(t *testing.T, trainer *train.Trainer) map[string][]uint64 {
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

// afterStep is a hook that calls f after each step.
func afterStep(f func(m train.Metrics) error) train.Hook {
	return train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error { return f(m) }}
}

// firstStep is a hook that stores the number of the first step.
func firstStep(first *int64) train.Hook {
	return afterStep(func(m train.Metrics) error {
		if *first == 0 {
			*first = m.Step
		}
		return nil
	})
}

func TestRunResumesToTheBit(t *testing.T) {
	whole := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	if err := whole.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := bits(t, whole)

	dir := t.TempDir()
	stop := errors.New("stop")
	for _, last := range []int64{3, 7, 12} {
		trainer := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
		trainer.AddHook(afterStep(func(m train.Metrics) error {
			if m.Step == last && last < 12 {
				return stop
			}
			return nil
		}))
		err := train.Run(context.Background(), trainer, train.Options{Dir: dir, Every: 2, Keep: 2})
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

// Run skips a damaged checkpoint, reports it, and refuses one of another configuration.
func TestRunSkipsDamagedCheckpoints(t *testing.T) {
	dir := t.TempDir()
	c := mfmtest.SmallConfig()
	options := train.Options{Dir: dir, Every: 5, Keep: 3}
	if err := train.Run(context.Background(), mfmtest.NewSmallTrainer(t, c), options); err != nil {
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
	trainer := mfmtest.NewSmallTrainer(t, c)
	first := int64(0)
	trainer.AddHook(firstStep(&first))
	options = train.Options{Dir: dir, OnDamage: func(err error) { problems = append(problems, err) }}
	if err := train.Run(context.Background(), trainer, options); err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), "step-000000012") {
		t.Errorf("reported damage %v, want one error that names the truncated file", problems)
	}
	if first != 11 {
		t.Errorf("resumed with step %d, want 11", first)
	}

	c.Batch = 16
	err = train.Run(context.Background(), mfmtest.NewSmallTrainer(t, c), train.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("resuming with another batch: error %v, want one about the configuration", err)
	}
}

func TestRunStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	trainer := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	trainer.AddHook(afterStep(func(m train.Metrics) error {
		if m.Step == 4 {
			cancel()
		}
		return nil
	}))
	err := trainer.Run(ctx)
	if !errors.Is(err, context.Canceled) || trainer.Done() != 4 {
		t.Errorf("%d steps, error %v; want 4 and context.Canceled", trainer.Done(), err)
	}
}

// tinyObjective is the mean square of the difference between change(w, x, step) and the weight w of
// two numbers, where x is standard normal.
func tinyObjective(change func(weight, x, step *Node) *Node) train.Objective {
	return func(weights, _ *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		shape := shapes.Make(dtypes.Float32, 1, 2)
		w := weights.WithInitializer(Ones).VariableWithShape("w", shape).NodeValue(step.Graph())
		x, _ := mfmtest.NormalSource(nil, step.Graph(), rng, 32)
		return train.Terms{Total: ReduceAllMean(Square(Sub(change(w, x, step), w)))}
	}
}

func newObjectiveTrainer(t *testing.T, b compute.Backend, objective train.Objective) *train.Trainer {
	t.Helper()
	trainer, err := train.New(b, objective, mfmtest.SmallConfig().Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// A step follows the mean gradient of the accumulated batches, scaled down to the clipping norm if
// its norm is larger. The gradients themselves are the first moments of a trainer whose rate is too
// small to change its weights.
func TestAccumulationAveragesGradients(t *testing.T) {
	const batches, rate = 4, 0.1
	still := mfmtest.NewSmallTrainer(t, plainGradient(mfmtest.SmallConfig(), 1e-30))
	var start map[string][]float64
	mean := make(map[string][]float64)
	var firstNorm, loss float64
	first := make(map[string][]float64)
	for i := range batches {
		m, err := still.Step()
		if err != nil {
			t.Fatal(err)
		}
		loss += m.Loss / batches
		start = floatState(t, still, train.WeightsScope)
		for name, gradient := range floatState(t, still, "/moments/first") {
			if i == 0 {
				first[name], mean[name] = gradient, make([]float64, len(gradient))
				firstNorm = math.Hypot(firstNorm, floats.Norm(gradient, 2))
			}
			floats.AddScaled(mean[name], 1./batches, gradient)
		}
		if i == 0 && math.Abs(m.GradientNorm-firstNorm) > 1e-5*firstNorm {
			t.Errorf("reported gradient norm %g, norm of the first moments %g", m.GradientNorm, firstNorm)
		}
	}
	accumulated := plainGradient(mfmtest.SmallConfig(), rate)
	accumulated.Accumulate = batches
	clipped := plainGradient(mfmtest.SmallConfig(), rate)
	clipped.Optimizer.Clip = firstNorm / 3
	unclipped := plainGradient(mfmtest.SmallConfig(), rate)
	unclipped.Optimizer.Clip = firstNorm * 1.01
	for _, c := range []struct {
		name     string
		config   mfm.TrainConfig
		gradient map[string][]float64
		factor   float64
		loss     float64
	}{
		{"four batches", accumulated, mean, 1, loss},
		{"clipped", clipped, first, 1. / 3, 0},
		{"not clipped", unclipped, first, 1, 0},
	} {
		trainer := mfmtest.NewSmallTrainer(t, c.config)
		m, err := trainer.Step()
		if err != nil {
			t.Fatal(err)
		}
		if c.loss > 0 && math.Abs(m.Loss-c.loss) > 1e-5*c.loss {
			t.Errorf("%s: loss %g, want %g", c.name, m.Loss, c.loss)
		}
		for name, got := range floatState(t, trainer, train.WeightsScope) {
			want := floats.AddScaledTo(make([]float64, len(got)), start[name], -rate*c.factor, c.gradient[name])
			if e := floats.Distance(got, want, math.Inf(1)); e > 1e-6 {
				t.Errorf("%s: %s after one step is off by %.2g", c.name, name, e)
			}
		}
	}
}

// An average with decay d is a <- d_n a + (1-d_n) w after each step, with d_n = min(d, n/(n+10))
// after n earlier steps. So it starts from the first weights.
func TestMovingAverages(t *testing.T) {
	c := mfmtest.SmallConfig()
	c.EMA = []float64{0.3, 0.45, 0.999} // n/(n+10) exceeds the first at n = 4.3, the second at 8.2
	c.Optimizer.Rate = 0.05
	trainer := mfmtest.NewSmallTrainer(t, c)
	want := make([]map[string][]float64, len(c.EMA))
	trainer.AddHook(afterStep(func(m train.Metrics) error {
		n := float64(m.Step - 1)
		for name, w := range floatState(t, trainer, train.WeightsScope) {
			for i, decay := range c.EMA {
				if want[i] == nil {
					want[i] = make(map[string][]float64)
				}
				if want[i][name] == nil {
					want[i][name] = make([]float64, len(w))
				}
				d := math.Min(decay, n/(n+10))
				floats.Scale(d, want[i][name])
				floats.AddScaled(want[i][name], 1-d, w)
			}
		}
		return nil
	}))
	if err := trainer.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, decay := range c.EMA {
		for name, got := range floatState(t, trainer, train.AverageScope(i)) {
			if e := floats.Distance(got, want[i][name], math.Inf(1)); e > 1e-6 {
				t.Errorf("average of %s with decay %g is off by %.2g", name, decay, e)
			}
		}
	}
}

// referenceAdam minimizes over one number by Adam, AdamW or RAdam as in their papers. Muon is Adam
// for one number.
func referenceAdam(o train.Optimizer, w float64, gradient func(w float64) float64, steps int) float64 {
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
	for _, method := range []train.Algorithm{train.Adam, train.AdamW, train.RAdam, train.Muon} {
		t.Run(string(method), func(t *testing.T) {
			c := mfmtest.SmallConfig().Config
			c.Steps, c.EMA = 40, []float64{0.8}
			c.Optimizer = train.Optimizer{Method: method, Rate: 0.05, Warmup: 5, Cosine: true, FinalShare: 0.1,
				Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1}
			objective := func(weights, _ *model.Scope, _ *solver.RNG, step *Node) train.Terms {
				w := weights.WithInitializer(Ones).VariableWithShape("w", shapes.Make(dtypes.Float32))
				return train.Terms{Total: Square(SubScalar(w.NodeValue(step.Graph()), 3))}
			}
			trainer, err := train.New(backendtest.New(t), objective, c, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := trainer.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			weights, err := trainer.Weights(train.WeightsScope)
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
