package train_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// mixtureTraining trains a network on a mixture of two Gaussians by the mean flow loss, which has a
// directional derivative, with three batches per step, two of them in a loop.
func mixtureTraining(t *testing.T, b compute.Backend, c mfm.TrainConfig) *train.Trainer {
	t.Helper()
	mixture, err := gmm.New([]float64{0.3, 0.7}, [][]float64{{-2, 1}, {1, 0}},
		[][][]float64{{{0.5, 0.2}, {0.2, 0.4}}, {{0.3, 0}, {0, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	source := func(_ *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = mixture.OnGraph(g, dtypes.Float32).Sample(rng.State, n)
		return data, nil
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 1
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: nn.MLP(network), Parametrization: mfm.Plain{}}
	c.Accumulate, c.EMA = 3, []float64{0.9}
	trainer, err := mfm.NewTrainer(b, m, source, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// transformerTraining trains a transformer with recomputed blocks on images in two classes by the
// semigroup loss.
func transformerTraining(t *testing.T, b compute.Backend, c mfm.TrainConfig) *train.Trainer {
	t.Helper()
	images, classes := make([]float32, 10*16), make([]int32, 10)
	for i := range images {
		images[i], classes[i/16] = float32(math.Sin(float64(i*i))), int32(i/16%2)
	}
	source, err := train.DataSet(tensors.FromFlatDataAndDimensions(images, 10, 4, 4, 1), tensors.FromValue(classes))
	if err != nil {
		t.Fatal(err)
	}
	network := nn.DiT(nn.DiTConfig{Patch: 2, Width: 8, Depth: 1, Encoder: 1, Heads: 2, Classes: 2, Checkpoint: true})
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: network, Parametrization: mfm.Plain{}}
	c.Loss.Consistency = mfm.Semigroup
	trainer, err := mfm.NewTrainer(b, m, source, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// Trainings on one device and on four have the same losses, gradients (the moments), weights and
// random state, up to the rounding of float32: the sums over the batch are those of four parts.
func TestTrainingDoesNotDependOnTheDevices(t *testing.T) {
	for name, training := range map[string]func(*testing.T, compute.Backend, mfm.TrainConfig) *train.Trainer{
		"mixture, mean flow": mixtureTraining, "transformer, semigroup": transformerTraining,
	} {
		t.Run(name, func(t *testing.T) {
			c := mfm.DefaultTrainConfig()
			c.Steps, c.Batch, c.EMA, c.Seed, c.Optimizer.Warmup = 6, 32, nil, 3, 2
			c.Optimizer.Method = train.AdamW
			one, four := training(t, backendtest.Devices(t, 1), c), training(t, backendtest.Devices(t, 4), c)
			for range c.Steps {
				want, err := one.Step()
				if err != nil {
					t.Fatal(err)
				}
				got, err := four.Step()
				if err != nil {
					t.Fatal(err)
				}
				near(t, fmt.Sprintf("step %d: loss", want.Step), got.Loss, want.Loss, 1e-5*want.Loss)
				near(t, fmt.Sprintf("step %d: norm", want.Step), got.GradientNorm, want.GradientNorm, 1e-5*want.GradientNorm)
				if want.Step == 1 {
					compareStates(t, state(t, four), state(t, one), 1e-5)
				}
			}
			compareStates(t, state(t, four), state(t, one), 1e-4)
		})
	}
}

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.8g, want %.8g within %.2g", name, got, want, tolerance)
	}
}

func state(t *testing.T, trainer *train.Trainer) map[string]*tensors.Tensor {
	t.Helper()
	s, err := trainer.State()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// compareStates compares floats up to a tolerance, relative to the largest one of their tensor, and
// everything else to the bit.
func compareStates(t *testing.T, got, want map[string]*tensors.Tensor, tolerance float64) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Fatalf("tensors %v, want %v", a, b)
	}
	largest := 0.0
	defer func() { t.Logf("largest difference: %.2g", largest) }()
	for path, w := range want {
		if w.DType() != dtypes.Float32 {
			if !got[path].Equal(w) {
				t.Errorf("%s = %s, want %s", path, got[path], w)
			}
			continue
		}
		g, w := tensors.MustCopyFlatData[float32](got[path]), tensors.MustCopyFlatData[float32](w)
		size, worst := 0.0, 0.0
		for i := range w {
			size = max(size, math.Abs(float64(w[i])))
			worst = max(worst, math.Abs(float64(g[i])-float64(w[i])))
		}
		largest = max(largest, worst/max(size, math.SmallestNonzeroFloat64))
		if !(worst <= tolerance*size) {
			t.Errorf("%s differs by %.2g of %.2g", path, worst, size)
		}
	}
}

// The random numbers are the same on one device and on four: uniform numbers and integers to the
// bit, normal ones up to the rounding of their functions. Seven rows are not split.
func TestNoiseDoesNotDependOnTheDevices(t *testing.T) {
	objective := func(weights, _ *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		g := step.Graph()
		keep := func(name string, x *Node) *Node {
			scope := weights.Store().Scope(train.StateScope)
			scope.WithInitializer(Zeros).VariableWithShape(name, x.Shape()).SetTrainable(false).SetNodeValue(x)
			return ReduceAllMean(ConvertDType(x, dtypes.Float32))
		}
		float := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
		sum := keep("normal", rng.Normal(float(8, 3)))
		sum = Add(sum, keep("uniform", rng.Uniform(float(8, 3))))
		sum = Add(sum, keep("below", rng.Below(1000, 12)))
		sum = Add(sum, keep("odd", rng.Normal(float(7, 3))))
		sum = Add(sum, keep("scalar", rng.Uniform(float())))
		w := weights.VariableWithValue("w", float32(1)).NodeValue(g)
		return train.Terms{Total: Square(Sub(w, sum))}
	}
	c := train.Config{Optimizer: train.DefaultOptimizer(), Steps: 2, Batch: 8, Accumulate: 1}
	var states []map[string]*tensors.Tensor
	for _, n := range []int{1, 4} {
		trainer, err := train.New(backendtest.Devices(t, n), objective, c, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := trainer.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		states = append(states, state(t, trainer))
	}
	compareStates(t, states[1], states[0], 1e-6)
	for _, name := range []string{"/uniform", "/scalar"} {
		if path := train.StateScope + name; !states[1][path].Equal(states[0][path]) {
			t.Errorf("%s numbers differ", name)
		}
	}
}

// A training moves from four devices to one and back by its checkpoints, with host batches of which
// each device has its rows.
func TestCheckpointsMoveBetweenDevices(t *testing.T) {
	c := hostConfig(6)
	c.Batch = 4
	load := func(_ context.Context, step int64) (train.HostBatch, error) {
		x, classes := make([]float32, 8), make([]int32, 4)
		for i := range x {
			x[i], classes[i/2] = float32(step)+float32(i*i), int32(step)*int32(i)
		}
		return train.HostBatch{
			Samples: tensors.FromFlatDataAndDimensions(x, 4, 2), Classes: tensors.FromValue(classes),
		}, nil
	}
	var want []train.Metrics
	whole := hostTrainer(t, backendtest.Devices(t, 1), c, load)
	whole.AddHook(afterStep(func(m train.Metrics) error { want = append(want, m); return nil }))
	if err := whole.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	dir, done := t.TempDir(), int64(0)
	var last *train.Trainer
	for i, n := range []int{4, 1, 4} {
		ctx, stop := context.WithCancel(context.Background())
		last = hostTrainer(t, backendtest.Devices(t, n), c, load)
		last.AddHook(afterStep(func(m train.Metrics) error {
			done++
			if m.Step != done {
				t.Errorf("step %d on %d devices, want %d", m.Step, n, done)
			}
			w := want[m.Step-1]
			near(t, fmt.Sprintf("step %d: loss", m.Step), m.Loss, w.Loss, 1e-5*w.Loss)
			for name, v := range w.Values {
				near(t, fmt.Sprintf("step %d: %s", m.Step, name), m.Values[name], v, 1e-5*v)
			}
			if int(m.Step) == 2*(i+1) {
				stop()
			}
			return nil
		}))
		err := train.Run(ctx, last, train.Options{Dir: dir})
		if i < 2 && err == nil || i == 2 && err != nil {
			t.Fatalf("training on %d devices: error %v", n, err)
		}
	}
	compareStates(t, state(t, last), state(t, whole), 1e-5)
	for _, name := range []string{"/host_samples", "/host_classes"} {
		if part := last.Store().GetVariable(train.DataScope + name).ShardShape(); part.Dim(0) != 1 {
			t.Errorf("a device has %s of %s, want one row of four", part, name)
		}
	}
}

// A batch that cannot be split evenly is refused.
func TestBatchIsAMultipleOfTheDevices(t *testing.T) {
	c := hostConfig(1)
	c.Batch = 6
	_, err := train.New(backendtest.Devices(t, 4), nil, c, c)
	if err == nil || !strings.Contains(err.Error(), "batch = 6 on 4 devices") {
		t.Errorf("error %v, want one that names the batch 6 and the 4 devices", err)
	}
}

// A non-finite value is found and named on several devices, and the step is not taken.
func TestNonFiniteOnDevices(t *testing.T) {
	trainer := newObjectiveTrainer(t, backendtest.Devices(t, 4), tinyObjective(func(w, x, step *Node) *Node {
		return Div(Mul(w, x), OneMinus(Square(step)))
	}))
	before := state(t, trainer)["/state/rng"].String()
	_, err := trainer.Step()
	var nonFinite *train.NonFiniteError
	if !errors.As(err, &nonFinite) || nonFinite.Step != 1 ||
		!strings.Contains(nonFinite.Tensor, "of Div at devices_test.go") {
		t.Errorf("error %v, want one of step 1 that names the division", err)
	}
	if after := state(t, trainer)["/state/rng"].String(); after != before || trainer.Done() != 0 {
		t.Errorf("random state %s after %d steps, want %s after none", after, trainer.Done(), before)
	}
}
