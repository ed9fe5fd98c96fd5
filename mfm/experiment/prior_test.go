package experiment_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// blots are images of 4x4 pixels in two kinds, more of them than pixels.
func blots(seed uint64) *data.Images {
	rng := rand.New(rand.NewPCG(seed, 1))
	images := &data.Images{N: 60, Height: 4, Width: 4, Channels: 1}
	for i := range images.N {
		images.Labels = append(images.Labels, byte(i%2))
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

func mixtureConfig() experiment.DigitsConfig {
	c := experiment.DefaultDigitsConfig()
	c.Parametrization, c.Prior = "mixture", &experiment.PriorConfig{Components: 2, Rank: 3, Fit: 3, Steps: 1, Moved: 1}
	c.Network.Patch, c.Network.Channels, c.Network.Attention, c.Network.Heads, c.Network.Groups, c.Network.Embedding = 1, []int{4}, nil, 1, 2, 4
	c.Train.Steps, c.Train.Batch = 2, 4
	return c
}

// A run keeps its prior and is opened with it, whatever would be fitted now; a run that begins with its weights takes it over.
func TestRunKeepsItsPrior(t *testing.T) {
	b := backendtest.New(t)
	dir, next := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	e, err := experiment.NewDigits(mixtureConfig(), blots(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	want := e.Map.Parametrization.(*mfm.MixturePrior)
	same := func(name string, got mfm.Parametrization) {
		t.Helper()
		p := got.(*mfm.MixturePrior)
		m, c := p.Law.Component(1)
		wm, wc := want.Law.Component(1)
		if !reflect.DeepEqual(p.Basis, want.Basis) || p.Rest != want.Rest || !reflect.DeepEqual(p.Gaussian, want.Gaussian) || !reflect.DeepEqual(m, wm) || !reflect.DeepEqual(c, wc) {
			t.Errorf("%s: another prior", name)
		}
	}
	opened, _, err := experiment.OpenDigits(dir, blots(2))
	if err != nil {
		t.Fatal(err)
	}
	same("opened", opened.Map.Parametrization)
	other, err := experiment.NewDigits(mixtureConfig(), blots(2))
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(other.Map.Parametrization.(*mfm.MixturePrior).Basis, want.Basis) {
		t.Fatal("other images have the same prior: the test says nothing")
	}
	if _, err := other.Train(t.Context(), b, experiment.RunOptions{Dir: next, Init: dir}); err != nil {
		t.Fatal(err)
	}
	same("begun with its weights", other.Map.Parametrization)

	raw, err := os.ReadFile(filepath.Join(dir, "prior.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-3] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "prior.safetensors"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := experiment.OpenDigits(dir, blots(1)); err == nil || !strings.Contains(err.Error(), "prior.safetensors") {
		t.Errorf("an altered prior: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "prior.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := experiment.OpenDigits(dir, blots(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run without its prior: %v", err)
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("going on without its prior: %v", err)
	}
}

func TestPriorRefuses(t *testing.T) {
	for want, spoil := range map[string]func(c *experiment.DigitsConfig){
		"needs a prior": func(c *experiment.DigitsConfig) { c.Prior = nil },
		"rank":          func(c *experiment.DigitsConfig) { c.Prior.Rank = 16 },
		"components":    func(c *experiment.DigitsConfig) { c.Prior.Components = 1000 },
		"steps":         func(c *experiment.DigitsConfig) { c.Prior.Steps = 0 },
	} {
		c := mixtureConfig()
		spoil(&c)
		if _, err := experiment.NewDigits(c, blots(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
