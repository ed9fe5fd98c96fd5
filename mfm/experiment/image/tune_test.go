package image

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// shades are 24 dark and 24 bright images of 2x2 pixels, each of one gray.
func shades() *data.Images {
	var values []byte
	for i := range byte(24) {
		values = append(values, 4*i, 255-3*i)
	}
	return pixelImages(nil, values...)
}

// The diversity of the training images is 1 and that of the means of their classes 0. A class with
// fewer than ten samples counts as 0 unless the target has less than 1% of it.
func TestWithinClasses(t *testing.T) {
	images := shades()
	classifier := fixedClassifier(t, false, 0.1, 0.9)
	probabilities, err := classifier.Probabilities(images.Float32(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tuning := &Tuning{Steering: &Steering{
		Base: steering.Base{Model: steer.Model{Shape: []int{2, 2, 1}}}, Experiment: &Experiment{Data: images},
		evaluators: [2]evaluator{{classifier, stats.ArgMax(probabilities)}},
	}}
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
	_, err = tuning.withinClasses(all, []float64{0.001, 0.002})
	if err == nil || !strings.Contains(err.Error(), "no class") {
		t.Errorf("a target without a class to compare with: error %v", err)
	}
}

// The target has the standard deviation of the weighted images and the divergence of their weights.
// Too few effective images are an error.
func TestTargetOfImages(t *testing.T) {
	images := shades()
	rewards := make([]float64, images.N)
	s := &Steering{Experiment: &Experiment{Data: images}, rewards: rewards}
	rows := mfm.Rows(images.Float32(), images.Dim())
	want, err := metric.Std(rows)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.target(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "standard deviation of all images", got.Std, want, 1e-9)
	near(t, "their divergence from themselves", got.KL, 0, 1e-12)
	var bright [][]float64
	for i := range rewards {
		if rewards[i] = -1000; i%2 == 1 {
			rewards[i], bright = 0, append(bright, rows[i])
		}
	}
	if want, err = metric.Std(bright); err != nil {
		t.Fatal(err)
	}
	if got, err = s.target(1, nil); err != nil {
		t.Fatal(err)
	}
	near(t, "divergence of half of the images from all", got.KL, math.Ln2, 1e-9)
	// The variance is corrected as a mean over 48 images.
	near(t, "standard deviation of bright images", got.Std, want*math.Sqrt(23./24*48/47), 1e-9)
	for i := range rewards {
		rewards[i] = float64(-100 * i)
	}
	if _, err := s.target(1, nil); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("a target of one image: error %v", err)
	}
}

// Each class is tilted by itself and keeps its share of the images, or one class has all weight.
// The divergence is that from the images of the same classes. The states are interpolants of images
// with their labels.
func TestTargetOfClasses(t *testing.T) {
	images := shades() // 24 of each class
	for i := range images.N {
		images.Labels = append(images.Labels, int32(i%2))
	}
	rewards := make([]float64, images.N)
	for i := range rewards {
		if i%4 == 0 { // half of the dark ones
			rewards[i] = -1000
		}
		rewards[i] += 3 * float64(i%2) // does not matter within a class
	}
	pixels := images.Float32()
	dims := []int{images.N, 2, 2, 1}
	s := &Steering{
		Base:    steering.Base{Model: steer.Model{Shape: []int{2, 2, 1}, Classes: 2}},
		rewards: rewards, Experiment: &Experiment{
			Data: images, pixels: tensors.FromFlatDataAndDimensions(pixels, dims...), labels: classes(images),
			Config: Config{Network: nn.NewNetwork(nn.UNetConfig{Classes: 2})},
		},
	}
	dark, bright := 0, 1
	for _, c := range []struct {
		class  *int
		share  [2]float64
		kl     float64
		weight [4]float64 // of the first images
	}{
		{nil, [2]float64{0.5, 0.5}, math.Ln2 / 2, [4]float64{0, 1. / 48, 1. / 24, 1. / 48}},
		{&dark, [2]float64{1, 0}, math.Ln2, [4]float64{0, 0, 1. / 12, 0}},
		{&bright, [2]float64{0, 1}, 0, [4]float64{0, 1. / 24, 0, 1. / 24}},
	} {
		weights, err := s.tunedWeights(1, c.class)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.weight {
			near(t, "weight of an image", weights[i], want, 1e-12)
		}
		target, err := s.target(1, c.class)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "divergence", target.KL, c.kl, 1e-9)
		for _, tilted := range []bool{false, true} {
			g := &Tuning{Steering: s,
				Config: tuning.Config{Tilted: tilted, Class: c.class, Tune: tune.Config{Lambda: 1}}}
			if got := g.shares(); math.Abs(got[0]-c.share[0])+math.Abs(got[1]-c.share[1]) > 1e-12 {
				t.Errorf("shares %v, want %v", got, c.share)
			}
			source, err := g.source()
			if err != nil {
				t.Fatal(err)
			}
			const n = 2000
			store := model.NewStore()
			exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, state *Node) []*Node {
				x, class := source(store.Scope("/data"), state.Graph(), &solver.RNG{State: state}, n)
				return []*Node{Reshape(Slice(x, AxisRange(), AxisElem(0), AxisElem(0), AxisElem(0)), n), class}
			})
			if err != nil {
				t.Fatal(err)
			}
			state, err := RNGStateFromSeed(1)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Call(state)
			if err != nil {
				t.Fatal(err)
			}
			x, labels := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[int32](out[1])
			share, weightless := 0.0, 0
			for i, class := range labels {
				if (x[i] > 0) != (class == 1) {
					t.Fatalf("an image of gray %g has the label %d", x[i], class)
				}
				share += float64(class) / n
				if k := slices.Index(pixels, x[i]) / 4; k%4 == 0 {
					weightless++
				}
			}
			near(t, "share of the second class among states", share, c.share[1], 0.05)
			if (weightless > 0) == (tilted || c.class == &bright) {
				t.Errorf("tilted %v: %d states of images without weight", tilted, weightless)
			}
		}
	}
	rewards[1], rewards[0] = 1000, -1e30
	for i := 2; i < images.N; i++ {
		rewards[i] = -1e30
	}
	if _, err := s.tunedWeights(1, nil); err == nil || !strings.Contains(err.Error(), "class 0") {
		t.Errorf("a class without reward: error %v", err)
	}
	rewards[0] = 0
	if _, err := s.tunedWeights(1, nil); err == nil || !strings.Contains(err.Error(), "one class") {
		t.Errorf("an image of each class: error %v", err)
	}
}

// The result of a training that diverged has its settings.
func TestTuneDiverged(t *testing.T) {
	c := tuning.Setting{Config: DefaultTuning(), Eval: tuning.EvalConfig{Samples: 64, Steps: 20}}
	c.Config.Network, c.Config.N, c.Config.Tune.Lambda, c.Config.Tune.Steps, c.Config.Tune.Seed = "copy", 3, 5, 77, 2
	r := (&Tuning{Steering: &Steering{}}).Diverged(c, nil)
	if !r.Diverged || r.Method != "mfm-ft-gf" || r.Network != "copy" || r.N != 3 || r.Lambda != 5 ||
		r.TuneSteps != 77 || r.Seed != 2 || r.Samples != 64 || r.Steps != 20 {
		t.Errorf("result %+v", r)
	}
	if !tuning.Diverged(fmt.Errorf("evaluation: %w", tune.ErrDiverged)) {
		t.Error("a path that is not finite is no divergence")
	}
	if tuning.Diverged(errors.Join(tune.ErrDiverged, errors.New("disk is full"))) {
		t.Error("a path that is not finite, joined with another error, is a divergence")
	}
}

// If there are more rows than a mixture is fitted to, rows returns a random part of them, with the
// index of the image of each and a row of each class.
func TestPriorRows(t *testing.T) {
	const n, moved, most = 20_000, 2, 15_000
	images := &data.Images{N: n, Height: 3, Width: 3, Channels: 1, Labels: make([]int32, n)}
	level := func(i int) byte { return byte(1 + (i*7919)%251) }
	for i := range n {
		images.Pixels = append(images.Pixels, 0, 0, 0, 0, level(i), 0, 0, 0, 0)
	}
	images.Labels[n/2] = 1 // a class of one image
	draw := func() ([][]float64, []int) {
		rows, of, err := PriorConfig{Moved: moved}.rows(images, most, rand.New(rand.NewPCG(0, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return rows, of
	}
	rows, of := draw()
	if len(rows) != most || len(of) != most {
		t.Fatalf("%d rows of %d images, want %d", len(rows), len(of), most)
	}
	counts, inOrder, whole := make([]int, n), 0, 0
	for j, i := range of {
		// The level of the center stays within the image.
		want := float64(level(i))/127.5 - 1
		if got := slices.Max(rows[j]); math.Abs(got-want) > 1e-6 {
			t.Fatalf("row %d has the gray %g, its image %d has %g", j, got, i, want)
		}
		if rows[j][4] > -1 {
			whole++
		}
		if counts[i]++; i == j%n {
			inOrder++
		}
	}
	if most := slices.Max(counts); most > 1+moved {
		t.Errorf("an image has %d rows, want at most %d", most, 1+moved)
	}
	if counts[n/2] == 0 {
		t.Error("the class of one image has no row")
	}
	// A third of the rows are the images, and a ninth of the others are not shifted.
	near(t, "share of rows that are not shifted", float64(whole)/most, (1+2./9)/3, 0.02)
	if inOrder > 50 {
		t.Errorf("%d rows are in their place: want a random part", inOrder)
	}
	again, _ := draw()
	if !slices.EqualFunc(rows, again, slices.Equal) {
		t.Error("the same images have different rows")
	}
}

// Refitted to weighted images, the components of a class are those of the weighted images of the
// class, and a class without weight keeps its components.
func TestRefitOfClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	images := &data.Images{N: 400, Height: 2, Width: 2, Channels: 1}
	weights := make([]float64, images.N)
	for i := range images.N {
		class, bright := i%2, i/2%2
		images.Labels = append(images.Labels, int32(class))
		for range 4 {
			level := 40 + 60*max(class, bright) // class 1 is like the bright half of class 0
			images.Pixels = append(images.Pixels, byte(level+rng.IntN(20)))
		}
		if class == 0 && bright == 1 {
			weights[i] = 1
		}
	}
	c := PriorConfig{Components: 2, Rank: 3, Fit: 5, Steps: 1}
	p, err := c.fit(t.Context(), images, 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.refit(p, images, weights)
	if err != nil {
		t.Fatal(err)
	}
	pixel := func(p *mfm.MixturePrior, k int) float64 { // mean of the first pixel
		mean, _ := p.Mixture.Component(k)
		return p.Gaussian.Mean[0] + floats.Dot(p.Basis[0], mean)
	}
	near(t, "pixel of the weighted class", pixel(got, 0), 2*(100+9.5)/255-1, 0.03)
	near(t, "pixel of the class without weight", pixel(got, 1), pixel(p, 1), 1e-6)
	if w := got.Mixture.Weights(); w[1] > 1e-5 || !slices.Equal(got.Labels, []int32{0, 1}) {
		t.Errorf("weights %v and labels %v, want nearly all in the first class", w, got.Labels)
	}
}

// A map of more classes than components, or with a class of few images, keeps a prior that is read
// back.
func TestPriorOfManyClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for name, labels := range map[string]func(i int) int32{
		"more classes than components": func(i int) int32 { return int32(i % 3) },
		"a class of two images":        func(i int) int32 { return min(int32(i/2), 1) },
	} {
		images := &data.Images{N: 60, Height: 2, Width: 2, Channels: 1}
		for i := range images.N {
			images.Labels = append(images.Labels, labels(i))
			for range 4 {
				images.Pixels = append(images.Pixels, byte(40+60*int(images.Labels[i])+rng.IntN(20)))
			}
		}
		c, classes := PriorConfig{Components: 2, Rank: 2, Fit: 3, Steps: 1}, images.Classes()
		if classes == 2 {
			c.Components = 6
		}
		p, err := c.fit(t.Context(), images, classes)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for class := range int32(classes) {
			if !slices.Contains(p.Labels, class) {
				t.Errorf("%s: labels %v of the components, want all of %d classes", name, p.Labels, classes)
			}
		}
		again, err := fittingPrior(priorTensors(p), c, images.Dim(), classes)
		if err != nil || !slices.Equal(again.Labels, p.Labels) {
			t.Errorf("%s: read back as %+v, %v", name, again, err)
		}
	}
}
