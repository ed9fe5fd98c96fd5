package mfm_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// must returns v, or panics on an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Train a map on four points and sample a posterior.
func Example() {
	ctx, b := context.Background(), must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
	}
	config := mfm.DefaultTrainConfig() // the mean flow loss, from the data alone
	config.Steps, config.Batch, config.EMA = 200, 128, nil
	config.Optimizer.Rate = 1e-2
	trainer := must(mfm.NewTrainer(b, m, source, nil, config))
	if err := trainer.Run(ctx); err != nil {
		panic(err)
	}
	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
	sampler := must(mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig())) // one step per sample
	x := mfm.Points([][]float64{{2.7}})
	samples := must(mfm.Flat(sampler.Posterior(ctx, 1, 0.9, x, 1000, nil)))
	mean := float32(0)
	for _, x := range samples {
		mean += x / 1000
	}
	fmt.Printf("%.0f\n", mean) // 3
	// Output: 3
}

// Train a flow (the diagonal alone), then use it as the teacher of a map.
func ExampleFrozen() {
	b := must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-3}, {-1}, {1}, {3}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{5}},
	}
	config := mfm.DefaultTrainConfig()
	config.Loss.Consistency = mfm.DiagonalOnly
	config.Steps, config.Batch = 20, 64
	flow := must(mfm.NewTrainer(b, m, source, nil, config))
	if err := flow.Run(context.Background()); err != nil {
		panic(err)
	}
	teacher := must(mfm.Frozen(m, "flow", must(flow.Weights(train.AverageScope(0)))))
	config.Loss.Consistency, config.Loss.Distillation = mfm.Eulerian, mfm.Teacher
	student := must(mfm.NewTrainer(b, m, source, teacher, config))
	fmt.Println(student.Run(context.Background()), student.Done())
	// Output: <nil> 20
}

// A loss of one's own is a [train.Objective]. This one is the energy score of two posterior samples
// X and X' in one step each, E|X - I_1| - E|X - X'|/2. It is least if X has the distribution of the
// posterior. The data are -1 and 1; given x_0.5 = 0 both are equally likely. Without training a
// quarter of the samples lies within 0.3 of them.
func Example_loss() {
	ctx, b := context.Background(), must(backend.New("go"))
	source := must(train.DataSet(tensors.FromValue([][]float32{{-1}, {1}}), nil))
	network := nn.DefaultMLP()
	network.Width, network.Depth = 16, 2
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        nn.MLP(network),
		Parametrization: &mfm.Gaussian{Variance: []float64{1}},
	}
	config := mfm.DefaultTrainConfig().Config
	config.Steps, config.Batch, config.EMA = 500, 256, nil
	config.Optimizer.Rate = 5e-2
	energyScore := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		z, _ := source(data, step.Graph(), rng, config.Batch)
		t := rng.Uniform(shapes.Make(z.DType(), config.Batch))
		x := interpolant.StateAt(m.Interpolant, t, rng.Normal(z.Shape()), z)
		sample := func() *Node { // X_{0,1}(ε; t, x) = ε + v_{0,1}(ε; t, x)
			in := nn.Inputs{S: ZerosLike(t), U: OnesLike(t), T: t, Xbar: rng.Normal(z.Shape()), X: x}
			return Add(in.Xbar, m.Velocity(weights, in))
		}
		first, second := sample(), sample()
		near, apart := Add(Abs(Sub(first, z)), Abs(Sub(second, z))), Abs(Sub(first, second))
		return train.Terms{Total: MulScalar(ReduceAllMean(Sub(near, apart)), 0.5)}
	}
	trainer := must(train.New(b, energyScore, config, config))
	if err := trainer.Run(ctx); err != nil {
		panic(err)
	}
	trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
	sampler := must(mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig()))
	near := 0
	for _, x := range must(mfm.Flat(sampler.Posterior(ctx, 1, 0.5, mfm.Points([][]float64{{0}}), 1000, nil))) {
		if math.Abs(math.Abs(float64(x))-1) < 0.3 {
			near++
		}
	}
	fmt.Println("more than half of the samples lie within 0.3 of the data:", near > 500)
	// Output: more than half of the samples lie within 0.3 of the data: true
}

// scaled is the parametrization v = scale F, for data whose standard deviation is scale.
type scaled float64

func (c scaled) Velocity(_ interpolant.Schedule, f mfm.Network, in nn.Inputs) *Node {
	in.X = DivScalar(in.X, float64(c)) // the network sees a context of unit size
	return MulScalar(f(in), float64(c))
}

func (c scaled) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node {
	return DivScalar(err, float64(c))
}

// A parametrization of one's own for data of size 100. The network here returns its context.
func ExampleParametrization() {
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        func(_ *model.Scope, in nn.Inputs) *Node { return in.X },
		Parametrization: scaled(100),
	}
	build := func(scope *model.Scope, eps, t, x *Node) []*Node {
		sample := m.Posterior(scope, eps, t, x, nil)
		return []*Node{sample, m.Parametrization.Whiten(m.Interpolant, t, t, Sub(sample, x))}
	}
	exec := must(model.NewExec(must(backend.New("go")), model.NewStore(), build))
	out := must(exec.Call([][]float32{{1}}, []float32{0.9}, [][]float32{{200}}))
	for _, y := range out {
		fmt.Println(tensors.MustCopyFlatData[float32](y)[0])
	}
	// Output:
	// 201
	// 0.01
}

// The program in the package comment and in the README is the tested example.
func TestDocProgramIsTheExample(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, program, found := strings.Cut(read("doc.go"), "panics on an error.\n//\n")
	program, _, ended := strings.Cut(program, "package mfm")
	if !found || !ended {
		t.Fatal("the package comment has no program")
	}
	body := strings.ReplaceAll("\n"+program, "\n//", "\n")
	if example := read("example_test.go"); !strings.Contains(example, "func Example() {"+body+"\t// Output: 3\n}\n") {
		t.Errorf("the program of the package comment is not the body of Example:\n%s", body)
	}
	block := "```go\n" + strings.TrimPrefix(strings.ReplaceAll(body, "\n\t", "\n"), "\n") + "```"
	if !strings.Contains(read("../README.md"), block) {
		t.Errorf("the program of README.md is not that of the package comment:\n%s", block)
	}
}
