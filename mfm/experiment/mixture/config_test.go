package mixture_test

import (
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

func TestPresetsAreValid(t *testing.T) {
	images, _, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Presets() {
		c, err := mixture.Preset(name)
		if err == nil {
			_, err = mixture.New(c)
		}
		if err != nil {
			t.Errorf("mixture, %s: %v", name, err)
		}
		digits, err := image.Preset(name)
		if err == nil {
			err = digits.Validate(images)
		}
		if err != nil {
			t.Errorf("digits, %s: %v", name, err)
		}
		for _, noised := range []bool{false, true} {
			classifier, err := image.ClassifierPreset(name, noised)
			if err == nil {
				err = classifier.Validate()
			}
			if err != nil || classifier.Noised != noised {
				t.Errorf("classifier, %s, noised %t: %v", name, noised, err)
			}
		}
	}
	_, first := mixture.Preset("huge")
	_, second := image.Preset("huge")
	_, third := image.ClassifierPreset("huge", false)
	for _, err := range []error{first, second, third} {
		experimenttest.WantError(t, "preset huge", err, `preset "huge" is unknown: use quick or full`)
	}
}

func TestNewRejects(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(c *mixture.Config)
		message string
	}{
		{"no mixture", func(c *mixture.Config) { c.Mixture = nil }, "mixture is missing"},
		{"interpolant", func(c *mixture.Config) { c.Interpolant = "cubic" }, `interpolant "cubic" is unknown`},
		{"parametrization", func(c *mixture.Config) { c.Parametrization = "x" }, `parametrization "x" is unknown`},
		{"anchored", func(c *mixture.Config) {
			c.Parametrization, c.Interpolant = "anchored", "vp"
		}, "for the linear interpolant"},
		{"loss", func(c *mixture.Config) { c.Train.Loss.Consistency = "x" }, `loss "x" is unknown`},
		{"steps", func(c *mixture.Config) { c.Train.Steps = 0 }, "steps = 0"},
		{"network", func(c *mixture.Config) { c.Network = nn.NewNetwork(nn.MLPConfig{}) }, "width"},
	} {
		c := mixture.DefaultConfig()
		tc.change(&c)
		_, err := mixture.New(c)
		experimenttest.WantError(t, tc.name, err, tc.message)
	}
	images, _, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []mfm.ParametrizationName{"x", mfm.AnchoredName} {
		c := image.DefaultConfig()
		c.Parametrization = p
		_, err := image.New(t.Context(), c, images)
		experimenttest.WantError(t, "digits with parametrization "+string(p), err, "is unknown for images")
	}
}

// New accepts every parametrization, in other dimensions than two as well.
func TestParametrizations(t *testing.T) {
	line := mfmtest.NewMixture(t, []float64{1, 2}, [][]float64{{-1}, {1}}, [][][]float64{{{0.1}}, {{0.2}}})
	for _, p := range []mfm.ParametrizationName{
		mfm.GaussianName, mfm.UnfusedName, mfm.DiagonalName, mfm.PlainName, mfm.AnchoredName,
	} {
		for _, m := range []*gmm.Mixture{gmm.Paper(), line} {
			c := mixture.DefaultConfig()
			c.Mixture, c.Parametrization = m, p
			e, err := mixture.New(c)
			if err != nil {
				t.Errorf("%s in %d dimensions: %v", p, m.Dim(), err)
			} else if e.Shape()[0] != m.Dim() {
				t.Errorf("%s: samples of shape %v in %d dimensions", p, e.Shape(), m.Dim())
			}
		}
	}
}
