package experiment

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/tune"
)

// shades are 24 dark images of 2x2 pixels and as many bright ones, each of one grey.
func shades() *data.Images {
	var values []byte
	for i := range byte(24) {
		values = append(values, 4*i, 255-3*i)
	}
	return pixelImages(nil, values...)
}

// Of samples that are the training images the diversity is 1, of samples that are their classes' means 0, and a class that they have left counts as nothing, unless the target hardly has it.
func TestWithinClasses(t *testing.T) {
	images := shades()
	judge := fixedClassifier(t, false, 0.1, 0.9)
	probabilities, err := judge.Probabilities(images.Float32(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tuning := &DigitsTuning{DigitsSteering: &DigitsSteering{Digits: &Digits{Data: images}, judges: [2]judged{{judge, likeliest(probabilities)}}}}
	all := images.Float32()
	var dark, bright, means []float32
	for i := range images.N {
		if x := all[4*i:][:4]; i%2 == 0 {
			dark = append(dark, x...)
		} else {
			bright = append(bright, x...)
		}
	}
	for _, class := range [][]float32{dark, bright} {
		sum := float32(0)
		for _, v := range class {
			sum += v
		}
		means = append(means, slices.Repeat([]float32{sum / float32(len(class))}, len(class))...)
	}
	for _, c := range []struct {
		name    string
		samples []float32
		shares  []float64
		want    float64
	}{
		{"the images themselves", all, []float64{0.3, 0.7}, 1},
		{"their classes' means", means, []float64{0.3, 0.7}, 0},
		{"bright ones alone", bright, []float64{0.3, 0.7}, 0.7},
		{"nine dark ones", append(slices.Clone(bright), dark[:9*4]...), []float64{0.3, 0.7}, 0.7},
		{"bright ones, of a target that hardly has others", bright, []float64{0.009, 0.991}, 1},
	} {
		got, err := tuning.withinClasses(c.samples, c.shares)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		near(t, "diversity of "+c.name, got, c.want, 1e-6)
	}
	if _, err := tuning.withinClasses(all, []float64{0.001, 0.002}); err == nil || !strings.Contains(err.Error(), "no class") {
		t.Errorf("a target without a class to compare with: error %v", err)
	}
}

// The target's spread is that of the images, each as often as its weight says, and its divergence that of those weights; with too few of them it is an error.
func TestTargetOfImages(t *testing.T) {
	images := shades()
	rewards := make([]float64, images.N)
	s := &DigitsSteering{Digits: &Digits{Data: images}, rewards: rewards}
	rows := mfm.Rows(images.Float32(), images.Dim())
	want, err := metric.Spread(rows)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.target(1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "spread of all images", got.Spread, want, 1e-9)
	near(t, "their divergence from themselves", got.KL, 0, 1e-12)
	var bright [][]float64
	for i := range rewards {
		if rewards[i] = -1000; i%2 == 1 {
			rewards[i], bright = 0, append(bright, rows[i])
		}
	}
	if want, err = metric.Spread(bright); err != nil {
		t.Fatal(err)
	}
	if got, err = s.target(1); err != nil {
		t.Fatal(err)
	}
	near(t, "divergence of half of the images from all", got.KL, math.Ln2, 1e-9)
	near(t, "spread of bright images", got.Spread, want*math.Sqrt(23./24*48/47), 1e-9) // corrected as a mean over 48
	for i := range rewards {
		rewards[i] = float64(-100 * i)
	}
	if _, err := s.target(1); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("a target of one image: error %v", err)
	}
}

// A training that diverges is a row that says of which cell it is.
func TestTuneDiverged(t *testing.T) {
	c := DigitsTuneCell{Config: DefaultDigitsTuneConfig(), Eval: EvalConfig{Samples: 64, Steps: 20}}
	c.Config.Network, c.Config.N, c.Config.Tune.Lambda, c.Config.Tune.Steps, c.Config.Tune.Seed = "copy", 3, 5, 77, 2
	row := c.diverged()
	if !row.Diverged || row.Method != "mfm-ft-gf" || row.Network != "copy" || row.N != 3 || row.Lambda != 5 || row.TuneSteps != 77 || row.Seed != 2 || row.Samples != 64 || row.Steps != 20 {
		t.Errorf("row %+v", row)
	}
	if !diverged(fmt.Errorf("look: %w", tune.ErrDiverged)) || diverged(errors.Join(tune.ErrDiverged, errors.New("disk is full"))) {
		t.Error("a path that is not finite is a divergence, with a full disk beside it it is not")
	}
}

// Of more images than a mixture is fitted to a random part is taken, each row with the number of the image that it was moved from.
func TestPriorRows(t *testing.T) {
	const n, moved = 20_000, 2
	images := &data.Images{N: n, Height: 3, Width: 3, Channels: 1}
	level := func(i int) byte { return byte(1 + (i*7919)%251) }
	for i := range n {
		for range 9 {
			images.Pixels = append(images.Pixels, level(i))
		}
	}
	rows, of := PriorConfig{Moved: moved}.rows(images, rand.New(rand.NewPCG(0, 0)))
	if len(rows) != mostFitted || len(of) != mostFitted {
		t.Fatalf("%d rows of %d images, want %d", len(rows), len(of), mostFitted)
	}
	counts, inOrder, whole := make([]int, n), 0, 0
	for j, i := range of {
		// A moved image keeps its grey, with the background where it was.
		want := float64(level(i))/127.5 - 1
		if got := slices.Max(rows[j]); math.Abs(got-want) > 1e-6 {
			t.Fatalf("row %d has the grey %g, image %d that it is of %g", j, got, i, want)
		}
		if slices.Min(rows[j]) > -1 {
			whole++
		}
		if counts[i]++; i == j%n {
			inOrder++
		}
	}
	if most := slices.Max(counts); most > 1+moved {
		t.Errorf("an image is there %d times, want at most %d", most, 1+moved)
	}
	// A third of the rows are the images, and of the moved ones each ninth.
	near(t, "rows that are not moved", float64(whole)/mostFitted, (1+2./9)/3, 0.02)
	if inOrder > 50 {
		t.Errorf("%d rows are where they were: not shuffled", inOrder)
	}
	if again, _ := (PriorConfig{Moved: moved}).rows(images, rand.New(rand.NewPCG(0, 0))); !slices.EqualFunc(rows, again, slices.Equal) {
		t.Error("the same images have other rows")
	}
}
