package image_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	mfmtrain "github.com/gomfm/gomfm/mfm/train"
)

// blots are 60 images of 4x4 pixels in two classes, bright above or below.
func blots(seed uint64) *data.Images {
	rng := rand.New(rand.NewPCG(seed, 1))
	images := &data.Images{N: 60, Height: 4, Width: 4, Channels: 1}
	for i := range images.N {
		images.Labels = append(images.Labels, int32(i%2))
		for j := range 16 {
			v := rng.IntN(60)
			if (j < 8) == (i%2 == 0) {
				v += 150
			}
			images.Pixels = append(images.Pixels, byte(v))
		}
	}
	return images
}

// mixtureConfig is a small map with a mixture prior, by the network and the loss that compile
// fastest.
func mixtureConfig() image.Config {
	c := image.DefaultConfig()
	c.Parametrization, c.Prior = "mixture", &image.PriorConfig{Components: 2, Rank: 3, Fit: 3, Steps: 1, Moved: 1}
	c.Network = nn.NewNetwork(nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu"})
	c.Train.Steps, c.Train.Batch, c.Train.Loss.Consistency = 2, 4, mfm.DiagonalOnly
	return c
}

// A run is opened with the prior that it kept, whatever the images, and a run that starts with its
// weights adopts it.
func TestRunKeepsItsPrior(t *testing.T) {
	b, config := backendtest.New(t), mixtureConfig()
	config.Train.Loss.Consistency = mfm.Semigroup
	dir, next := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	e, err := image.New(t.Context(), config, blots(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, run.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	want := e.Map.Parametrization.(*mfm.MixturePrior)
	same := func(name string, got mfm.Parametrization) {
		t.Helper()
		p := got.(*mfm.MixturePrior)
		m, c := p.Mixture.Component(1)
		wm, wc := want.Mixture.Component(1)
		if !reflect.DeepEqual(p.Basis, want.Basis) || p.Rest != want.Rest ||
			!reflect.DeepEqual(p.Gaussian, want.Gaussian) || !reflect.DeepEqual(m, wm) || !reflect.DeepEqual(c, wc) {
			t.Errorf("%s: another prior", name)
		}
	}
	if _, _, err := image.Open(dir, blots(2)); err == nil || !strings.Contains(err.Error(), "the data have changed") {
		t.Errorf("opened with other images: error %v", err)
	}
	withoutHash(t, dir)
	opened, _, err := image.Open(dir, blots(2))
	if err != nil {
		t.Fatal(err)
	}
	same("opened", opened.Map.Parametrization)
	other, err := image.New(t.Context(), mixtureConfig(), blots(2))
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(other.Map.Parametrization.(*mfm.MixturePrior).Basis, want.Basis) {
		t.Fatal("other images have the same prior, which the test needs to differ")
	}
	if _, err := other.Train(t.Context(), b, run.Options{Dir: next, Init: dir}); err != nil {
		t.Fatal(err)
	}
	same("started with its weights", other.Map.Parametrization)
	for name, o := range map[string]run.Options{
		"to resume": {Dir: dir}, "to start": {Dir: filepath.Join(dir, "new"), Init: dir},
	} {
		e, err := image.NewRun(t.Context(), config, blots(2), o)
		if err != nil {
			t.Fatal(err)
		}
		same(name, e.Map.Parametrization)
	}
	fresh, err := image.NewRun(t.Context(), mixtureConfig(), blots(1), run.Options{Dir: filepath.Join(dir, "new")})
	if err != nil {
		t.Fatal(err)
	}
	same("fitted anew", fresh.Map.Parametrization)

	raw, err := os.ReadFile(filepath.Join(dir, "prior.safetensors"))
	if err == nil {
		one := checkpoint.Tensors{"one": tensors.FromFlatDataAndDimensions([]float32{1}, 1)}
		err = checkpoint.WriteWeights(filepath.Join(dir, "prior.safetensors"), one, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := image.Open(dir, blots(1)); err == nil || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("another prior: error %v, want one that names the run once", err)
	}
	raw[len(raw)-3] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "prior.safetensors"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := image.Open(dir, blots(1)); err == nil || !strings.Contains(err.Error(), "prior.safetensors") {
		t.Errorf("an altered prior: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "prior.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := image.Open(dir, blots(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run without its prior: %v", err)
	}
	if _, err := e.Train(t.Context(), b, run.Options{Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resumed without its prior: %v", err)
	}
}

// An interrupted run that resumes with its kept prior ends with the weights of an uninterrupted
// one.
func TestRunResumesWithItsPrior(t *testing.T) {
	b, config := backendtest.New(t), mixtureConfig()
	config.Train.Steps = 4
	train := func(ctx context.Context, o run.Options) error {
		e, err := image.NewRun(t.Context(), config, blots(1), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Train(ctx, b, o)
		return err
	}
	dir := t.TempDir()
	whole, parts := run.Options{Dir: filepath.Join(dir, "whole")}, run.Options{Dir: filepath.Join(dir, "parts")}
	if err := train(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopping := parts
	stopping.Hooks = []mfmtrain.Hook{{Step: func(_ *mfmtrain.Trainer, m mfmtrain.Metrics) error {
		if m.Step == 2 {
			cancel()
		}
		return nil
	}}}
	if err := train(ctx, stopping); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted training: %v", err)
	}
	if err := train(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"weights.safetensors", "prior.safetensors", "step-000000004.safetensors"} {
		want, err := os.ReadFile(filepath.Join(whole.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(parts.Dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s of the resumed run differs (%v)", name, err)
		}
	}
}

// withoutHash turns the run in dir into one that is older than hashes of data, which takes any
// images.
func withoutHash(t *testing.T, dir string) {
	t.Helper()
	m, err := run.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.DataHash == "" {
		t.Error("the run keeps no hash of its images")
	}
	m.DataHash = ""
	if err := run.WriteJSON(filepath.Join(dir, "config.json"), m); err != nil {
		t.Fatal(err)
	}
}

func TestPriorRejects(t *testing.T) {
	for want, spoil := range map[string]func(c *image.Config){
		"needs a prior": func(c *image.Config) { c.Prior = nil },
		"rank":          func(c *image.Config) { c.Prior.Rank = 16 },
		"1000 components for 60 images and 1 shifted": func(c *image.Config) { c.Prior.Components = 1000 },
		"steps": func(c *image.Config) { c.Prior.Steps = 0 },
		"multiples of 8": func(c *image.Config) {
			unet := nn.UNetConfig{Patch: 4, Channels: []int{4, 4}, Blocks: 1, Heads: 1, Groups: 2, Embedding: 4}
			c.Network = nn.NewNetwork(unet)
		},
	} {
		c := mixtureConfig()
		spoil(&c)
		if _, err := image.New(t.Context(), c, blots(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// Images and their shifted copies must be more than the values of an image. The message has the
// number of images that the user gave, and one that suffices.
func TestPriorNeedsImages(t *testing.T) {
	c := mixtureConfig()
	c.Prior.Moved = 4 // 16 values: three images are fifteen rows, four are twenty
	for n, want := range map[int]string{
		3: "3 images to train on, of 16 values each: a mixture is fitted to them and 4 shifted copies of each, which must be " +
			"more than the values: use the parametrization gaussian, or at least 4 images to train on, or smaller ones",
		4: "",
	} {
		images, err := blots(1).Slice(0, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(images); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%d images: error %v, want %q", n, err, want)
		}
	}
}

// Given a class, the prior of a map of classes is the mixture fitted to the images of the class,
// and its file keeps the classes of the components. The teacher is the drift of the images of the
// class.
func TestPriorOfClasses(t *testing.T) {
	b, images := backendtest.New(t), blots(1)
	c := mixtureConfig()
	c.Prior.Components, c.Prior.Moved = 4, 0
	c.Train.Loss.Consistency = mfm.Semigroup // with the teacher
	mlp := nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu", Classes: 2}
	c.Network, c.Train.Loss.Guidance.Classes = nn.NewNetwork(mlp), 2
	dir := t.TempDir()
	e, err := image.New(context.Background(), c, images)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(context.Background(), b, run.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	kept, _, err := image.Open(dir, images)
	if err != nil {
		t.Fatal(err)
	}
	p := e.Map.Parametrization.(*mfm.MixturePrior)
	if !reflect.DeepEqual(p, kept.Map.Parametrization) || len(p.Labels) != p.Mixture.Len() {
		t.Errorf("labels %v of %d components, kept %v", p.Labels, p.Mixture.Len(), kept.Map.Parametrization)
	}
	// Images of class 0 are bright above: the means of its components, in pixels, are, too.
	for k, label := range p.Labels {
		mean, _ := p.Mixture.Component(k)
		var above, below float64
		for j, row := range p.Basis {
			value := p.Gaussian.Mean[j]
			for i, v := range row {
				value += v * mean[i]
			}
			if j < 8 {
				above += value
			} else {
				below += value
			}
		}
		if (above > below) != (label == 0) {
			t.Errorf("component %d of class %d has the means %.2f above and %.2f below", k, label, above/8, below/8)
		}
	}
	store := model.NewStore()
	exec := model.MustNewExec(b, store, func(_ *model.Scope, at, x, class *graph.Node) *graph.Node {
		return e.Teacher()(at, x, class)
	})
	x := tensors.FromFlatDataAndDimensions(slices.Repeat([]float32{0.3, -0.2}, 24), 3, 4, 4, 1)
	got := tensors.MustCopyFlatData[float32](exec.MustCall1([]float32{0.5, 0.5, 0.5}, x, []int32{0, 1, 2}))
	pixels := images.Float32()
	for row, class := range []int32{0, 1, 2} {
		var own [][]float64
		for i, label := range images.Labels {
			if class == 2 || label == class {
				own = append(own, mfm.Rows(pixels[i*16:][:16], 16)...)
			}
		}
		m, err := gmm.Points(own)
		if err != nil {
			t.Fatal(err)
		}
		want := m.Drift(interpolant.Linear{}, 0.5, slices.Repeat([]float64{float64(float32(0.3)), float64(float32(-0.2))}, 8))
		for j, v := range want {
			if math.Abs(float64(got[row*16+j])-v) > 1e-4 {
				t.Fatalf("class %d: drift %v, want %v", class, got[row*16:][:16], want)
			}
		}
	}
}
