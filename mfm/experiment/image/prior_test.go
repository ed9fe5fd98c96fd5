package image_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
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

func mixtureConfig() image.Config {
	c := image.DefaultConfig()
	c.Parametrization, c.Prior = "mixture", &image.PriorConfig{Components: 2, Rank: 3, Fit: 3, Steps: 1, Moved: 1}
	c.Network = nn.NewNetwork(nn.UNetConfig{Patch: 1, Channels: []int{4}, Blocks: 1, Heads: 1, Groups: 2, Embedding: 4})
	c.Train.Steps, c.Train.Batch = 2, 4
	return c
}

// A run is opened with the prior that it kept, whatever the images, and a run that starts with its
// weights adopts it.
func TestRunKeepsItsPrior(t *testing.T) {
	b := backendtest.New(t)
	dir, next := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	e, err := image.New(t.Context(), mixtureConfig(), blots(1))
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
		e, err := image.NewRun(t.Context(), mixtureConfig(), blots(2), o)
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

// An interrupted run that resumes with its kept prior ends with the weights of an uninterrupted one.
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
		"components":    func(c *image.Config) { c.Prior.Components = 1000 },
		"steps":         func(c *image.Config) { c.Prior.Steps = 0 },
		"multiples of 8": func(c *image.Config) {
			unet := c.Network.Architecture.(nn.UNetConfig)
			unet.Patch, unet.Channels = 4, []int{4, 4}
			c.Network.Architecture = unet
		},
	} {
		c := mixtureConfig()
		spoil(&c)
		if _, err := image.New(t.Context(), c, blots(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
