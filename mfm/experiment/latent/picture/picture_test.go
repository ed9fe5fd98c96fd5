package picture_test

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// newEvaluator returns an evaluator by a small network with random weights.
func newEvaluator(t *testing.T) *picture.Evaluator {
	t.Helper()
	network, weights := experimenttest.EfficientNet(t)
	e, err := picture.NewEvaluator(backendtest.New(t), network, weights)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Finalize)
	return e
}

// Each picture has its own features, whatever their number.
func TestEvaluator(t *testing.T) {
	e, images := newEvaluator(t), experimenttest.Pictures(35)
	all, err := e.FeaturesOf(t.Context(), images.Float32(), 8, 8)
	if err != nil || len(all) != 35 {
		t.Fatalf("%d features: %v", len(all), err)
	}
	for _, i := range []int{0, 20, 34} {
		one, err := e.FeaturesOf(t.Context(), images.Float32()[i*192:(i+1)*192], 8, 8)
		if err != nil {
			t.Fatal(err)
		}
		for j, v := range one[0] {
			if math.Abs(v-all[i][j]) > 1e-5 || len(one) != 1 {
				t.Errorf("feature %d of picture %d is %g alone, %g with others", j, i, v, all[i][j])
			}
		}
	}
	if slices.Equal(all[0], all[1]) {
		t.Error("different pictures have the same features")
	}
	_, err = e.FeaturesOf(t.Context(), make([]float32, 100), 8, 8)
	if err == nil || !strings.Contains(err.Error(), "[8, 8, 3]") {
		t.Errorf("part of a picture: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := e.FeaturesOf(ended, images.Float32(), 8, 8); err == nil {
		t.Error("an ended context is no error")
	}
}

// Pictures that copy the training pictures, or mirror them, have known distances.
func TestReference(t *testing.T) {
	e, all := newEvaluator(t), experimenttest.Pictures(200)
	train, heldOut, err := all.Split(150)
	if err != nil {
		t.Fatal(err)
	}
	r, err := picture.NewReference(t.Context(), e, train, heldOut)
	if err != nil {
		t.Fatal(err)
	}
	floor := r.Floor
	t.Logf("%+v, accuracy %.2f", floor, *floor.Accuracy)
	if floor.Pictures != 50 || !(floor.Frechet > 0) || math.Abs(floor.Kernel) > 5*floor.KernelSE ||
		*floor.Accuracy < 0.6 || !(floor.NearestFeatures > 0) || !(floor.NearestPixels > 0) {
		t.Errorf("floor %+v with the accuracy %g", floor, *floor.Accuracy)
	}
	compare := func(pixels []float32, classes []int32) picture.Result {
		t.Helper()
		result, err := r.Compare(t.Context(), pixels, classes)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	copies := compare(train.Float32(), nil)
	if copies.Frechet > 1e-5 || copies.NearestFeatures != 0 || copies.NearestPixels != 0 || copies.Accuracy != nil {
		t.Errorf("copies of the training pictures: %+v", copies)
	}

	// Each row of a mirrored picture is that of the picture, backward; it is also 10 levels darker.
	var mirrored []float32
	for row := range slices.Chunk(train.Float32(), 24) {
		for x := 7; x >= 0; x-- {
			for _, v := range row[3*x : 3*x+3] {
				mirrored = append(mirrored, v-10/127.5)
			}
		}
	}
	if got := compare(mirrored[:4*192], nil).NearestPixels; math.Abs(got-10/127.5) > 1e-4 {
		t.Errorf("mirrored pictures are at %g, want %g", got, 10/127.5)
	}
	swapped := slices.Clone(heldOut.Labels)
	for i := range swapped {
		swapped[i] = 1 - swapped[i]
	}
	if got := *compare(heldOut.Float32(), swapped).Accuracy; math.Abs(got+*floor.Accuracy-1) > 1e-9 {
		t.Errorf("accuracy %g of the other class, %g of the class", got, *floor.Accuracy)
	}
	raw, err := json.Marshal(floor)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"pictures", "frechet", "kernel", "kernel_se", "accuracy", "nearest_features", "nearest_pixels",
	} {
		if !strings.Contains(string(raw), `"`+key+`":`) {
			t.Errorf("%s has no %q", raw, key)
		}
	}
}

func TestReferenceErrors(t *testing.T) {
	e, all := newEvaluator(t), experimenttest.Pictures(10)
	other := &data.Images{N: 4, Height: 4, Width: 4, Channels: 3, Pixels: make([]byte, 4*48)}
	_, err := picture.NewReference(t.Context(), e, all, other)
	if err == nil || !strings.Contains(err.Error(), "equal sizes") {
		t.Errorf("held-out pictures of another size: %v", err)
	}
	train, heldOut, err := all.Split(7)
	if err != nil {
		t.Fatal(err)
	}
	_, err = picture.NewReference(t.Context(), e, train, heldOut)
	if err == nil || !strings.Contains(err.Error(), "at least 4") {
		t.Errorf("three held-out pictures: %v", err)
	}
}
