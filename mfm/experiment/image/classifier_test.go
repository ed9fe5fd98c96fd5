package image_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// tinyClassifier learns most digits from a few hundred images, in seconds.
func tinyClassifier() image.ClassifierConfig {
	c := image.DefaultClassifierConfig(false)
	c.Network.Channels, c.Network.Groups, c.Network.Embedding = []int{8, 16}, 4, 8
	c.Shift, c.Train.Steps, c.Train.Batch, c.Train.EMA = 0, 150, 64, []float64{0.9}
	c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = 1e-2, 10
	return c
}

func TestClassifier(t *testing.T) {
	if testing.Short() {
		t.Skip("convolutions take too long on the pure-Go backend")
	}
	train, heldOut, err := data.MNIST()
	if err == nil {
		train, err = train.Slice(0, 600)
	}
	if err == nil {
		heldOut, err = heldOut.Slice(0, 501) // one more than a call takes
	}
	if err != nil {
		t.Fatal(err)
	}
	b, dir := backendtest.New(t), t.TempDir()
	c, err := image.TrainClassifier(t.Context(), b, tinyClassifier(), train, run.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	accuracy, err := c.Accuracy(heldOut)
	// Chance is 0.1 ± 0.013.
	if err != nil || !(accuracy > 0.4) {
		t.Errorf("accuracy %g (error %v) on held-out digits, want above 0.4", accuracy, err)
	}

	// The opened classifier has the same probabilities, and accuracy 1 on its own labels.
	opened, err := image.OpenClassifier(b, dir, []int{28, 28, 1})
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Probabilities(heldOut.Float32(), 1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := opened.Probabilities(heldOut.Float32(), 1)
	if err != nil {
		t.Fatal(err)
	}
	labeled := *heldOut
	labeled.Labels = make([]int32, heldOut.N)
	for i, p := range got {
		if !slices.Equal(p, want[i]) {
			t.Fatalf("image %d has probabilities %v, from the trained classifier %v", i, p, want[i])
		}
		total := 0.0
		for class, v := range p {
			total += v
			if v == slices.Max(p) {
				labeled.Labels[i] = int32(class)
			}
		}
		if math.Abs(total-1) > 1e-5 {
			t.Fatalf("the probabilities of image %d sum to %g", i, total)
		}
	}
	if accuracy, err := opened.Accuracy(&labeled); accuracy != 1 || err != nil {
		t.Errorf("accuracy %g (error %v) on its own labels", accuracy, err)
	}

	_, err = c.Probabilities(make([]float32, 28*28+1), 1)
	experimenttest.WantError(t, "a pixel too many", err, "785 pixels")
	far := make([]float32, 2*28*28)
	for i := range 28 * 28 {
		far[28*28+i] = 3e38 // its features overflow
	}
	_, err = c.Probabilities(far, 1)
	experimenttest.WantError(t, "an image of huge values", err, "image 1 has a probability or feature that is not finite")
	_, err = image.OpenClassifier(b, dir, []int{14, 14, 1})
	experimenttest.WantError(t, "images of another size", err, "images of shape [28 28 1], these have [14 14 1]")
	for name, tc := range badLabels(heldOut) {
		_, err := c.Accuracy(tc.images)
		experimenttest.WantError(t, "accuracy with "+name, err, tc.message)
	}
	_, err = image.OpenClassifier(b, filepath.Join(dir, "none"), []int{28, 28, 1})
	experimenttest.WantError(t, "no run", err, "no such file")
}

type badImages struct {
	images  *data.Images
	message string
}

// badLabels returns images with labels that are invalid for ten classes.
func badLabels(images *data.Images) map[string]badImages {
	none, few, large := *images, *images, *images
	none.Labels, few.Labels, large.Labels = nil, images.Labels[1:], slices.Clone(images.Labels)
	large.Labels[2] = 10
	return map[string]badImages{
		"no labels":      {&none, "have no labels"},
		"a label missed": {&few, "labels"},
		"a large label":  {&large, "label 2 of"},
	}
}

func TestTrainClassifierRejects(t *testing.T) {
	b, dir := backendtest.New(t), filepath.Join(t.TempDir(), "run")
	c := tinyClassifier()
	c.Network.Patch = 1 // the images are 2x2
	for name, tc := range badLabels(fourImages()) {
		_, err := image.TrainClassifier(t.Context(), b, c, tc.images, run.Options{Dir: dir})
		experimenttest.WantError(t, name, err, tc.message)
	}
	c.Network.Classes = 3
	_, err := image.TrainClassifier(t.Context(), b, c, fourImages(), run.Options{Dir: dir})
	experimenttest.WantError(t, "a class too few", err, "network.classes = 3, these images need 4")
	c.Shift = 9
	_, err = image.TrainClassifier(t.Context(), b, c, fourImages(), run.Options{Dir: dir})
	experimenttest.WantError(t, "shift", err, "shift = 9")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a rejected training created its folder")
	}
}
