package experiment

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

// pixelImages are images of 2x2 pixels, all four of the given value.
func pixelImages(labels []byte, values ...byte) *data.Images {
	images := &data.Images{N: len(values), Height: 2, Width: 2, Channels: 1, Labels: labels}
	for _, v := range values {
		images.Pixels = append(images.Pixels, bytes.Repeat([]byte{v}, 4)...)
	}
	return images
}

// fixedClassifier gives a dark image the class probabilities 1-dark, ..., dark, and a bright one 1-bright, ..., bright.
func fixedClassifier(t *testing.T, noised bool, dark, bright float64) *Classifier {
	t.Helper()
	c := &Classifier{Config: DefaultClassifierConfig(noised), shape: []int{2, 2, 1}}
	c.Config.Network.Classes = 2
	var err error
	c.exec, err = model.NewExec(backendtest.New(t), model.NewStore(), func(_ *model.Scope, _, x *Node) []*Node {
		of := func(p float64) *Node { return MulScalar(OnesLike(ReduceMean(x, 1, 2)), p) } // [n, 1]
		p := Where(GreaterOrEqual(ReduceMean(x, 1, 2), ZerosLike(of(1))), of(bright), of(dark))
		return []*Node{Concatenate([]*Node{OneMinus(p), p}, -1), ReduceMean(x, 1, 2)} // and features
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// coin is an experiment whose map draws, whatever the context, a bright or a dark image with equal odds: its sampler, and the training images.
func coin(t *testing.T) (*Digits, *mfm.Sampler) {
	t.Helper()
	config := DefaultDigitsConfig()
	config.Parametrization = "plain"
	e, err := NewDigits(config, pixelImages([]byte{0, 0, 0, 1}, 0, 0, 0, 255))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(_ *model.Scope, in nn.Inputs) *Node {
		side := Sign(Slice(in.Xbar, AxisRange(), AxisElem(0), AxisElem(0)))
		return Sub(Mul(OnesLike(in.Xbar), side), in.Xbar) // X_{0,1}(x̄) = x̄ + v
	}
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: flip, Parametrization: mfm.Plain{}}
	sampler, err := mfm.NewSampler(backendtest.New(t), model.NewStore(), train.WeightsScope, m, e.Shape(), mfm.DefaultSamplerConfig())
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
	// The first 200 images held out are a tenth from the bright one, those after them, which no median is over, further away.
	values := bytes.Repeat([]byte{255 - 25}, 200)
	values = append(values, bytes.Repeat([]byte{128}, 300)...)
	heldOut := pixelImages(make([]byte, 500), values...)
	const n = 1000
	row, err := e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0.15, 0.95), heldOut, n, 3)
	if err != nil {
		t.Fatal(err)
	}
	se := 0.5 / math.Sqrt(n)
	near(t, "share of bright samples", row.Classes[1], 0.5, 4*se)
	near(t, "sum of shares", row.Classes[0]+row.Classes[1], 1, 1e-12)
	// Of dark samples it is 0.85 sure, which is not enough.
	near(t, "share of confident ones", row.Confident, row.Classes[1], 1e-12)
	near(t, "its standard error", row.ConfidentSE, se, 0.01*se)
	if row.Steps != 1 || row.Samples != n || row.ClassesData[0] != 0.75 || row.ClassesData[1] != 0.25 {
		t.Errorf("row %+v, want %d samples of one step, and 3/4 and 1/4 of the data", row, n)
	}
	near(t, "largest gap", row.LargestGap, row.Classes[1]-0.25, 1e-12)
	near(t, "distance of samples to the data", row.NearestSamples, 0, 1e-6)
	near(t, "distance of held-out images to the data", row.NearestHeldOut, 25/127.5, 1e-6)

	// All of them confident: no standard error, whatever n.
	for _, n := range []int{3, 49} {
		row, err := e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0.01, 0.99), heldOut, n, 3)
		if err != nil || row.Confident != 1 || row.ConfidentSE != 0 {
			t.Errorf("share %g ± %g (error %v) of %d samples is confident, want all", row.Confident, row.ConfidentSE, err, n)
		}
	}
	e.Data = pixelImages(nil, 0, 255)
	if _, err := e.Generation(t.Context(), sampler, fixedClassifier(t, false, 0, 1), heldOut, n, 3); err == nil || !strings.Contains(err.Error(), "no labels") {
		t.Errorf("error %v for training images without labels", err)
	}
}

// binomialDeviation is the mean of |k/n - q| for k of n draws of probability p.
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
	judge, noised := fixedClassifier(t, false, 0.1, 0.9), fixedClassifier(t, true, 0.2, 0.2)
	heldOut := pixelImages(nil, bytes.Repeat([]byte{0, 255}, 150)...)
	const contexts, n = 200, 40
	row, err := e.Classes(t.Context(), sampler, judge, noised, heldOut, 0.5, contexts, n, 3)
	if err != nil {
		t.Fatal(err)
	}
	if row.T != 0.5 || row.Contexts != contexts || row.Samples != n {
		t.Errorf("row %+v", row)
	}
	// Half of the samples are bright, the noised classifier says a fifth; of two classes the total variation is the difference in one.
	deviation := math.Sqrt(0.25 / n)
	near(t, "total variation", row.TotalVariation, binomialDeviation(n, 0.5, 0.2), 4*deviation/math.Sqrt(contexts))
	near(t, "its standard error", row.StandardError, deviation/math.Sqrt(contexts), 0.2*deviation/math.Sqrt(contexts))
	near(t, "floor", row.Floor, binomialDeviation(n, 0.2, 0.2), 4*math.Sqrt(0.16/n/contexts))
	near(t, "spread", row.Spread, 1, 0.03)
	// Of the training images three are dark, at -1, and one bright, at 1.
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
	near(t, "that of the training images", row.TrainingSet, want, 1e-6)

	for _, tc := range []struct {
		name     string
		noised   *Classifier
		contexts int
		message  string
	}{
		{"a clean classifier", judge, 2, "not trained on noised images"},
		{"more contexts than images", noised, heldOut.N + 1, "contexts = 301: must lie in [1, 300]"},
		{"no contexts", noised, 0, "contexts = 0"},
	} {
		if _, err := e.Classes(t.Context(), sampler, judge, tc.noised, heldOut, 0.5, tc.contexts, n, 3); err == nil || !strings.Contains(err.Error(), tc.message) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.message)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Classes(ctx, sampler, judge, noised, heldOut, 0.5, 2, n, 3); err == nil {
		t.Error("a context that has ended does not stop it")
	}
}

// Features of one number have a closed form of the distance, and samples that are the held-out images have none.
func TestLossDistances(t *testing.T) {
	bench := &LossBench{Images: pixelImages(nil, 0, 255, 0, 255), HeldOut: pixelImages(nil, 0, 0, 0, 255), Judge: fixedClassifier(t, false, 0.15, 0.95)}
	var row LossRow
	if err := bench.distances(bench.HeldOut.Float32(), &row); err != nil {
		t.Fatal(err)
	}
	near(t, "distance of the held-out images", row.Distance, 0, 1e-9)
	near(t, "share of confident ones", row.Confident, 0.25, 1e-12) // of dark ones it is 0.85 sure
	// The held-out ones have mean -1/2 and variance 1, these mean 0 and variance 4/3.
	near(t, "distance of the training images", row.DistanceFloor, 0.25+math.Pow(math.Sqrt(4./3)-1, 2), 1e-6)
	row = LossRow{}
	if err := bench.distances(bench.Images.Float32()[:2*4], &row); err != nil {
		t.Fatal(err)
	}
	near(t, "distance of a dark and a bright image", row.Distance, 0.25+math.Pow(math.Sqrt2-1, 2), 1e-6)
	near(t, "distance of two training images, both dark", row.DistanceFloor, 0.25+1, 1e-6)
}
