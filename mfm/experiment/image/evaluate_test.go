package image

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// pixelImages are images of 2x2 pixels, one for each value, which all four pixels have.
func pixelImages(labels []int32, values ...byte) *data.Images {
	images := &data.Images{N: len(values), Height: 2, Width: 2, Channels: 1, Labels: labels}
	for _, v := range values {
		images.Pixels = append(images.Pixels, bytes.Repeat([]byte{v}, 4)...)
	}
	return images
}

// fixedClassifier gives a dark image the class probabilities 1-dark, dark and a bright one
// 1-bright, bright.
func fixedClassifier(t *testing.T, noised bool, dark, bright float64) *Classifier {
	t.Helper()
	c := &Classifier{Config: DefaultClassifierConfig(noised), shape: []int{2, 2, 1}}
	c.Config.Network.Classes, c.Config.Network.Patch = 2, 1
	var err error
	c.exec, err = model.NewExec(backendtest.New(t), model.NewStore(), func(_ *model.Scope, _, x *Node) []*Node {
		mean := ReduceMean(x, 1, 2) // [n, 1], also the features
		of := func(p float64) *Node { return MulScalar(OnesLike(mean), p) }
		p := Where(GreaterOrEqual(mean, ZerosLike(mean)), of(bright), of(dark))
		return []*Node{Concatenate([]*Node{OneMinus(p), p}, -1), mean}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// coin returns an experiment, and the sampler of a map that draws bright and dark images with equal
// probability for every context.
func coin(t *testing.T) (*Experiment, *mfm.Sampler) {
	t.Helper()
	config := DefaultConfig()
	config.Parametrization = "plain"
	network := nn.DefaultUNet()
	network.Patch = 1 // the images are 2x2
	config.Network = nn.NewNetwork(network)
	e, err := New(t.Context(), config, pixelImages([]int32{0, 0, 0, 1}, 0, 0, 0, 255))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(_ *model.Scope, in nn.Inputs) *Node {
		side := Sign(Slice(in.Xbar, AxisRange(), AxisElem(0), AxisElem(0)))
		return Sub(Mul(OnesLike(in.Xbar), side), in.Xbar) // X_{0,1}(x̄) = x̄ + v
	}
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: flip, Parametrization: mfm.Plain{}}
	b, c := backendtest.New(t), mfm.DefaultSamplerConfig()
	sampler, err := mfm.NewSampler(b,
		mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: e.Shape()}, c)
	if err != nil {
		t.Fatal(err)
	}
	return e, sampler
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %g, want %g ± %g", what, got, want, tolerance)
	}
}

func TestGeneration(t *testing.T) {
	e, sampler := coin(t)
	// The median is over the first 200 held-out images, which are near the bright training image.
	// The others are further away.
	values := bytes.Repeat([]byte{255 - 25}, 200)
	values = append(values, bytes.Repeat([]byte{128}, 300)...)
	heldOut := pixelImages(make([]int32, 500), values...)
	const n = 1000
	r, err := e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0.15, 0.95), heldOut, n, 3)
	if err != nil {
		t.Fatal(err)
	}
	se := 0.5 / math.Sqrt(n)
	near(t, "share of bright samples", r.Classes[1], 0.5, 4*se)
	near(t, "sum of shares", r.Classes[0]+r.Classes[1], 1, 1e-12)
	// Dark samples have a probability of 0.85, which is below 0.9.
	near(t, "share of confident samples", r.Confident, r.Classes[1], 1e-12)
	near(t, "its standard error", r.ConfidentSE, se, 0.01*se)
	if r.Steps != 1 || r.Samples != n || r.ClassesData[0] != 0.75 || r.ClassesData[1] != 0.25 {
		t.Errorf("result %+v, want %d samples of one step, and classes with 3/4 and 1/4 of the data", r, n)
	}
	near(t, "largest gap", r.LargestGap, r.Classes[1]-0.25, 1e-12)
	near(t, "distance of samples to the data", r.NearestSamples, 0, 1e-6)
	near(t, "distance of held-out images to the data", r.NearestHeldOut, 25/127.5, 1e-6)

	// If all are confident the standard error is 0 for every n.
	for _, n := range []int{3, 49} {
		r, err := e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0.01, 0.99), heldOut, n, 3)
		if err != nil || r.Confident != 1 || r.ConfidentSE != 0 {
			t.Errorf("confident share %g ± %g (error %v) of %d samples, want 1 ± 0", r.Confident, r.ConfidentSE, err, n)
		}
	}
	e.Data = pixelImages(nil, 0, 255)
	_, err = e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0, 1), heldOut, n, 3)
	if err == nil || !strings.Contains(err.Error(), "no labels") {
		t.Errorf("error %v for training images without labels", err)
	}
}

// binomialDeviation returns E|k/n - q| for k binomial with n trials of probability p.
func binomialDeviation(n int, p, q float64) float64 {
	mean, weight := 0.0, math.Pow(1-p, float64(n))
	for k := range n + 1 {
		mean += weight * math.Abs(float64(k)/float64(n)-q)
		weight *= float64(n-k) / float64(k+1) * p / (1 - p)
	}
	return mean
}

func TestClasses(t *testing.T) {
	e, sampler := coin(t)
	evaluator, noised := fixedClassifier(t, false, 0.1, 0.9), fixedClassifier(t, true, 0.2, 0.2)
	heldOut := pixelImages(nil, bytes.Repeat([]byte{0, 255}, 150)...)
	const contexts, n = 200, 40
	r, err := e.Classes(t.Context(), sampler, evaluator, noised, heldOut, 0.5, contexts, n, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.T != 0.5 || r.Contexts != contexts || r.Samples != n {
		t.Errorf("result %+v", r)
	}
	// Half of the samples are bright, by the noised classifier a fifth. With two classes the total
	// variation is the difference in one share.
	deviation := math.Sqrt(0.25 / n)
	near(t, "total variation", r.TotalVariation, binomialDeviation(n, 0.5, 0.2), 4*deviation/math.Sqrt(contexts))
	near(t, "its standard error", r.StandardError, deviation/math.Sqrt(contexts), 0.2*deviation/math.Sqrt(contexts))
	near(t, "floor", r.Floor, binomialDeviation(n, 0.2, 0.2), 4*math.Sqrt(0.16/n/contexts))
	near(t, "standard deviation", r.Std, 1, 0.03)
	// Three training images are dark, -1, and one is bright, 1.
	want := 0.0
	for _, x := range mfm.Rows(e.Contexts(heldOut, 0.5, contexts, rand.New(rand.NewPCG(3, 1))), 4) {
		bright, dark := 0.0, math.Log(3)
		for _, v := range x {
			bright -= math.Pow(v-0.5, 2) / 2 / 0.25
			dark -= math.Pow(v+0.5, 2) / 2 / 0.25
		}
		bright, dark = math.Exp(bright), math.Exp(dark)
		want += math.Abs(bright/(bright+dark)-0.2) / contexts
	}
	near(t, "total variation of the training images", r.TrainingSet, want, 1e-6)

	for _, tc := range []struct {
		name     string
		noised   *Classifier
		contexts int
		message  string
	}{
		{"a clean classifier", evaluator, 2, "not trained on noised images"},
		{"more contexts than images", noised, heldOut.N + 1, "contexts = 301: must lie in [1, 300]"},
		{"no contexts", noised, 0, "contexts = 0"},
	} {
		_, err := e.Classes(t.Context(), sampler, evaluator, tc.noised, heldOut, 0.5, tc.contexts, n, 3)
		if err == nil || !strings.Contains(err.Error(), tc.message) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.message)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Classes(ctx, sampler, evaluator, noised, heldOut, 0.5, 2, n, 3); err == nil {
		t.Error("no error for a canceled context")
	}
}
