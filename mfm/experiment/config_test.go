package experiment_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
)

func TestPresetsAreSound(t *testing.T) {
	images, _, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range experiment.Presets() {
		mixture, err := experiment.GMMPreset(name)
		if err == nil {
			_, err = experiment.NewGMM(mixture)
		}
		if err != nil {
			t.Errorf("mixture, %s: %v", name, err)
		}
		digits, err := experiment.DigitsPreset(name)
		if err == nil {
			err = digits.Check(images)
		}
		if err != nil {
			t.Errorf("digits, %s: %v", name, err)
		}
		for _, noised := range []bool{false, true} {
			classifier, err := experiment.ClassifierPreset(name, noised)
			if err == nil {
				err = classifier.Validate()
			}
			if err != nil || classifier.Noised != noised {
				t.Errorf("classifier, %s, noised %t: %v", name, noised, err)
			}
		}
	}
	_, first := experiment.GMMPreset("huge")
	_, second := experiment.DigitsPreset("huge")
	_, third := experiment.ClassifierPreset("huge", false)
	for _, err := range []error{first, second, third} {
		wantError(t, "preset huge", err, `preset "huge" is unknown: use quick or full`)
	}
}

func TestMerge(t *testing.T) {
	c := experiment.DefaultGMMConfig()
	err := experiment.Merge(&c, []byte(`{"interpolant": "vp", "train": {"loss": {"laws": {"whole_gap": 0.25}}, "ema": [0.9, 0.99], "seed": -3}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := experiment.DefaultGMMConfig()
	want.Interpolant, want.Train.Loss.Times.WholeGap, want.Train.EMA, want.Train.Seed = "vp", 0.25, []float64{0.9, 0.99}, -3
	if !reflect.DeepEqual(c, want) {
		t.Errorf("merged into %+v, want %+v", c, want)
	}
}

func TestMergeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, message string }{
		{"unknown key", `{"train": {"stepz": 5}}`, `unknown key "stepz"`},
		{"wrong type", "{\n \"train\": {\"steps\": \"many\"}}", "train.steps: string where a whole number is due"},
		{"fraction", `{"train": {"batch": 1.5}}`, "train.batch: number 1.5 where a whole number is due"},
		{"embedded type", `{"train": {"optimizer": {"clip": true}}}`, "train.optimizer.clip: bool where a number is due"},
		{"list", `{"train": {"ema": 0.9}}`, "train.ema: number where a list is due"},
		{"text", `{"interpolant": 1}`, "interpolant: number where a text is due"},
		{"truth", `{"train": {"loss": {"sum": 1}}}`, "train.loss.sum: number where true or false is due"},
		{"no object", `[]`, "array where an object is due"},
		{"syntax", "{\n\"train\":\n!}", "line 3: not JSON"},
		{"truncated", `{"train": {`, "ends too early"},
		{"empty", ``, "ends too early"},
		{"two values", "{}\n{}", "something after the JSON value, at line 2"},
		{"closing brace too many", `{}}`, "something after the JSON value"},
		{"mixture", `{"mixture": {"weights": [1], "means": [[0, 0]]}}`, `lacks the key "covariances"`},
		{"number too large", `{"train": {"seed": 1e400}}`, "train.seed: number 1e400"},
	} {
		c := experiment.DefaultGMMConfig()
		wantError(t, tc.name, experiment.Merge(&c, []byte(tc.text)), tc.message)
	}
}

func TestSet(t *testing.T) {
	c := experiment.DefaultGMMConfig()
	for _, v := range []struct{ path, value string }{
		{"train.steps", "12"}, {"train.optimizer.rate", ".5"}, {"train.ema", "[0.5, 0.75]"}, {"train.loss.consistency", "meanflow"},
		{"train.loss.sum", "true"}, {"train.seed", "-7"}, {"interpolant", `"vp"`},
	} {
		if err := experiment.Set(&c, v.path, v.value); err != nil {
			t.Errorf("%s = %s: %v", v.path, v.value, err)
		}
	}
	want := experiment.DefaultGMMConfig()
	want.Train.Steps, want.Train.Optimizer.Rate, want.Train.EMA, want.Train.Seed = 12, 0.5, []float64{0.5, 0.75}, -7
	want.Train.Loss.Consistency, want.Train.Loss.Sum, want.Interpolant = mfm.MeanFlow, true, "vp"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("set to %+v, want %+v", c, want)
	}
	for _, tc := range []struct{ path, value, message string }{
		{"train.stepz", "1", `train.stepz: unknown key "stepz"`},
		{"train.steps", "x", "train.steps: string where a whole number is due"},
		{"train.steps", "1e3000", "whole number"},
		{"train.optimizer.rate", "nan", "train.optimizer.rate: string where a number is due"},
		{"train.optimizer.rate", "Inf", "string where a number is due"},
		{"train.optimizer", "1", "train.optimizer: number where an object is due"},
		{"mixture", "null", "object is due"}, // would leave no mixture
		{"", "1", `unknown key ""`},
		{`a"b`, "1", "unknown key"},
	} {
		wantError(t, tc.path+"="+tc.value, experiment.Set(&c, tc.path, tc.value), tc.message)
	}
}

func TestExperimentsRefuse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(c *experiment.GMMConfig)
		message string
	}{
		{"no mixture", func(c *experiment.GMMConfig) { c.Mixture = nil }, "mixture is missing"},
		{"interpolant", func(c *experiment.GMMConfig) { c.Interpolant = "cubic" }, `interpolant "cubic" is unknown`},
		{"parametrization", func(c *experiment.GMMConfig) { c.Parametrization = "x" }, `parametrization "x" is unknown`},
		{"anchored", func(c *experiment.GMMConfig) { c.Parametrization, c.Interpolant = "anchored", "vp" }, "for the linear interpolant"},
		{"loss", func(c *experiment.GMMConfig) { c.Train.Loss.Consistency = "x" }, `loss "x" is unknown`},
		{"steps", func(c *experiment.GMMConfig) { c.Train.Steps = 0 }, "steps = 0"},
		{"network", func(c *experiment.GMMConfig) { c.Network.Width = 0 }, "width"},
	} {
		c := experiment.DefaultGMMConfig()
		tc.change(&c)
		_, err := experiment.NewGMM(c)
		wantError(t, tc.name, err, tc.message)
	}
	images, _, err := data.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"x", "anchored"} {
		c := experiment.DefaultDigitsConfig()
		c.Parametrization = p
		_, err := experiment.NewDigits(c, images)
		wantError(t, "digits with parametrization "+p, err, "is unknown for images")
	}
}

// Every parametrization of a mixture's map that the configuration names can be made, in other dimensions than two as well.
func TestParametrizations(t *testing.T) {
	line, err := gmm.New([]float64{1, 2}, [][]float64{{-1}, {1}}, [][][]float64{{{0.1}}, {{0.2}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"gaussian", "diagonal", "plain", "anchored"} {
		for _, m := range []*gmm.Mixture{gmm.Paper(), line} {
			c := experiment.DefaultGMMConfig()
			c.Mixture, c.Parametrization = m, p
			e, err := experiment.NewGMM(c)
			if err != nil {
				t.Errorf("%s in %d dimensions: %v", p, m.Dim(), err)
			} else if e.Shape()[0] != m.Dim() {
				t.Errorf("%s: samples of shape %v in %d dimensions", p, e.Shape(), m.Dim())
			}
		}
	}
}

func wantError(t *testing.T, what string, err error, message string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), message) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want one line with %q", what, err, message)
	}
}
