package image_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
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
