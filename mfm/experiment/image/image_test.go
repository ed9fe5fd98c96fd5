package image_test

import (
	"errors"
	"fmt"
	stdimage "image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// fourImages are images of 2x2 pixels.
func fourImages() *data.Images {
	return &data.Images{N: 4, Height: 2, Width: 2, Channels: 1, Labels: []int32{0, 1, 2, 3}, Pixels: []byte{
		0, 0, 0, 255,
		0, 255, 0, 0,
		255, 255, 0, 128,
		30, 60, 90, 120,
	}}
}

// plainConfig is for few images of any size, to which a mixture cannot be fitted.
func plainConfig() image.Config {
	c := image.DefaultConfig()
	c.Parametrization = "plain"
	network := nn.DefaultUNet()
	network.Patch, network.Channels, network.Attention = 1, network.Channels[:1], nil
	c.Network = nn.NewNetwork(network)
	return c
}

// A training from picture files sees the batches of the loader, with their classes.
func TestBatches(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		img := stdimage.NewGray(stdimage.Rect(0, 0, 2, 2))
		for p := range img.Pix {
			img.Pix[p] = uint8(50 * i)
		}
		folder := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(filepath.Join(folder, "a.png"))
		if err == nil {
			err = errors.Join(png.Encode(f, img), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set, err := stream.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := stream.NewLoader(set, stream.Config{Height: 2, Width: 2, Batch: 3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	source, hook := train.FromHost(image.Batches(loader), 2)
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, class := source(data, step.Graph(), rng, 3)
		w := weights.VariableWithValue("w", float32(1)).NodeValue(step.Graph())
		return train.Terms{
			Total: Square(Sub(ReduceAllMean(x), w)),
			Metrics: []train.Metric{
				{Name: "mean", Value: ReduceAllMean(x)},
				{Name: "class", Value: ReduceAllMean(ConvertDType(class, x.DType()))},
			},
		}
	}
	c := train.Config{Optimizer: train.DefaultOptimizer(), Steps: 4, Batch: 3, Accumulate: 1}
	trainer, err := train.New(backendtest.New(t), objective, c, c)
	if err != nil {
		t.Fatal(err)
	}
	trainer.AddHook(hook)
	steps := 0
	trainer.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		b, err := loader.Batch(t.Context(), m.Step)
		if err != nil {
			return err
		}
		class := 0.0
		for _, k := range b.Labels {
			class += float64(k) / 3
		}
		// Pictures of class k have the gray level 50 k.
		if mean := 50*class/127.5 - 1; math.Abs(m.Values["mean"]-mean) > 1e-6 ||
			math.Abs(m.Values["class"]-class) > 1e-6 {
			t.Errorf("step %d saw %v, want the mean %g and the class %g", m.Step, m.Values, mean, class)
		}
		steps++
		return nil
	}})
	if err := trainer.Run(t.Context()); err != nil || steps != 4 {
		t.Fatalf("%d steps: %v", steps, err)
	}
}

// The teacher is the drift of the images as a mixture of points.
func TestDigitsTeacher(t *testing.T) {
	images := fourImages()
	e, err := image.New(t.Context(), plainConfig(), images)
	if err != nil {
		t.Fatal(err)
	}
	points, err := gmm.Points(mfm.Rows(images.Float32(), images.Dim()))
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{-0.5, 0.25, 0, 1, 0.5, -1, 0.75, 0.1}
	times := []float32{0.3, 0.7}
	teacher := func(_ *model.Scope, at, x *Node) *Node { return e.Teacher()(at, x, nil) }
	exec, err := model.NewExec(backendtest.New(t), model.NewStore(), teacher)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call1(tensors.FromValue(times), tensors.FromFlatDataAndDimensions(x, 2, 2, 2, 1))
	if err != nil {
		t.Fatal(err)
	}
	rows := mfm.Rows(x, 4)
	for i, got := range mfm.Rows(tensors.MustCopyFlatData[float32](out), 4) {
		want := points.Drift(interpolant.Linear{}, float64(times[i]), rows[i])
		for j := range want {
			// The teacher is a softmax of distances over α² in float32.
			if math.Abs(got[j]-want[j]) > 1e-4*(1+math.Abs(want[j])) {
				t.Errorf("drift %d at t = %g is %v, want %v", i, times[i], got, want)
				break
			}
		}
	}
}

func TestContexts(t *testing.T) {
	images := fourImages()
	e, err := image.New(t.Context(), plainConfig(), images)
	if err != nil {
		t.Fatal(err)
	}
	// At t = 1 there is no noise, and contexts are images at equal distances.
	x := e.Contexts(images, 1, 2, rand.New(rand.NewPCG(1, 1)))
	pixels := images.Float32()
	for i := range 4 {
		if x[i] != pixels[i] || x[4+i] != pixels[8+i] {
			t.Fatalf("contexts at t = 1 are %v, want images 0 and 2 of %v", x, pixels)
		}
	}
}

// The empirical distribution has the images as points of equal weight.
func TestEmpirical(t *testing.T) {
	images := fourImages()
	e, err := image.New(t.Context(), plainConfig(), images)
	if err != nil {
		t.Fatal(err)
	}
	points, err := e.Empirical()
	if err != nil {
		t.Fatal(err)
	}
	mean := images.Mean()
	for i, got := range points.Mean() {
		if math.Abs(got-float64(mean[i])) > 1e-6 {
			t.Errorf("mean of pixel %d is %g, that of the images %g", i, got, mean[i])
		}
	}
	if points.Len() != images.N {
		t.Errorf("%d points for %d images", points.Len(), images.N)
	}
}
