package config_test

import (
	"reflect"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
)

// Merge changes the values of the keys in the text and no others.
func TestMerge(t *testing.T) {
	c := mixture.DefaultConfig()
	err := config.Merge(&c, []byte(`{
		"interpolant": "vp", "train": {"loss": {"laws": {"whole_gap": 0.25}}, "ema": [0.9, 0.99], "seed": -3}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := mixture.DefaultConfig()
	want.Interpolant, want.Train.Loss.Times.WholeGap = "vp", 0.25
	want.Train.EMA, want.Train.Seed = []float64{0.9, 0.99}, -3
	if !reflect.DeepEqual(c, want) {
		t.Errorf("merged into %+v, want %+v", c, want)
	}
}

// The error of a faulty text is one line that names the fault and where it is.
func TestMergeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, message string }{
		{"unknown key", `{"train": {"stepz": 5}}`, `train.stepz: unknown key: did you mean steps?`},
		{"wrong type", "{\n \"train\": {\"steps\": \"many\"}}", `train.steps: "many" where an integer is required`},
		{"fraction", `{"train": {"batch": 1.5}}`, "train.batch: 1.5 where an integer is required"},
		{"embedded type", `{"train": {"optimizer": {"clip": true}}}`,
			"train.optimizer.clip: true where a number is required"},
		{"list", `{"train": {"ema": 0.9}}`, "train.ema: 0.9 where a list is required"},
		{"text", `{"interpolant": 1}`, "interpolant: 1 where a string is required"},
		{"truth", `{"train": {"loss": {"sum": 1}}}`, "train.loss.sum: 1 where true or false is required"},
		{"no object", `[]`, "a list where an object is required"},
		{"syntax", "{\n\"train\":\n!}", "line 3: not JSON"},
		{"truncated", `{"train": {`, "ends too early"},
		{"empty", ``, "ends too early"},
		{"two values", "{}\n{}", "text after the JSON value, at line 2"},
		{"closing brace too many", `{}}`, "text after the JSON value"},
		{"mixture", `{"mixture": {"weights": [1], "means": [[0, 0]]}}`, `lacks the key "covariances"`},
		{"other case of a group", `{"Train": {"steps": 5}}`, `Train: unknown key: did you mean train?`},
		{"other case", `{"train": {"STEPS": 5}}`, `train.STEPS: unknown key: did you mean steps?`},
		{"null", `{"train": {"steps": null}}`, "train.steps: null where an integer is required"},
		{"null for a group", `{"train": null}`, "train: null where an object is required"},
		{"null for a mixture", `{"mixture": null}`, "mixture: null where an object is required"},
		{"null for a network", `{"network": null}`, "network: null where an object is required"},
		{"null for a list of a network", `{"network": {"kind": "unet", "attention": null}}`,
			"network.attention: null where a list is required"},
		{"null for a list", `{"train": {"ema": null}}`, "train.ema: null where a list is required"},
		{"null in a list", `{"train": {"ema": [0.9, null]}}`, "train.ema[1]: null where a number is required"},
		{"repeated", `{"train": {"steps": 5, "batch": 2, "steps": 6}}`, "train.steps: the key is repeated"},
		{"repeated in a network", `{"network": {"width": 5, "width": 6}}`, "network.width: the key is repeated"},
		{"byte-order mark", "\ufeff{}", "byte-order mark"},
		{"not UTF-8", "{\"interpolant\": \"\xff\"}", "not UTF-8"},
		{"out of range", `{"train": {"steps": 1e400}}`, "train.steps: 1e400 is out of range: use an integer"},
		{"seed out of range", `{"train": {"seed": 9223372036854775808}}`, "train.seed: 9223372036854775808 is out of range"},
		{"rate out of range", `{"train": {"optimizer": {"rate": 1e309}}}`, "train.optimizer.rate: 1e309 is out of range"},
		{"rate too small", `{"train": {"optimizer": {"rate": 1e-400}}}`, "train.optimizer.rate: 1e-400 is too small"},
		{"network's key", `{"network": {"Width": 5}}`, `network.Width: unknown key: did you mean width?`},
		{"mixture's entry", `{"mixture": {"weights": [1], "means": [[0, true]]}}`, "mixture.means[0][1]: true where a number"},
		{"number too large", `{"train": {"seed": 1e400}}`, "train.seed: 1e400 is out of range"},
	} {
		c := mixture.DefaultConfig()
		experimenttest.WantError(t, tc.name, config.Merge(&c, []byte(tc.text)), tc.message)
	}
}

// Set takes JSON, numbers and bare strings.
func TestSet(t *testing.T) {
	c := mixture.DefaultConfig()
	for _, v := range []struct{ path, value string }{
		{"train.steps", "12"}, {"train.optimizer.rate", ".5"}, {"train.ema", "[0.5, 0.75]"},
		{"train.loss.consistency", "meanflow"},
		{"train.loss.sum", "true"}, {"train.seed", "+9007199254740993"}, {"train.batch", "5e1"}, {"interpolant", `"vp"`},
	} {
		if err := config.Set(&c, v.path, v.value); err != nil {
			t.Errorf("%s = %s: %v", v.path, v.value, err)
		}
	}
	want := mixture.DefaultConfig()
	want.Train.Steps, want.Train.Optimizer.Rate, want.Train.EMA, want.Train.Seed = 12, 0.5, []float64{0.5, 0.75}, 9007199254740993
	want.Train.Batch = 50
	want.Train.Loss.Consistency, want.Train.Loss.Sum, want.Interpolant = mfm.MeanFlow, true, "vp"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("set to %+v, want %+v", c, want)
	}
	for _, tc := range []struct{ path, value, message string }{
		{"train.stepz", "1", `train.stepz: unknown key: did you mean steps?`},
		{"train.steps", "x", `train.steps: "x" where an integer is required`},
		{"train.steps", "1e3000", "train.steps: 1e3000 is out of range: use an integer"},
		{"train.optimizer.rate", "nan", `train.optimizer.rate: "nan" where a number is required`},
		{"train.optimizer.rate", "Inf", `"Inf" where a number is required`},
		{"train.optimizer", "1", "train.optimizer: 1 where an object is required"},
		{"mixture", "null", "object is required"}, // JSON null would remove the mixture
		{"", "1", `unknown key ""`},
		{`a"b`, "1", "unknown key"},
	} {
		experimenttest.WantError(t, tc.path+"="+tc.value, config.Set(&c, tc.path, tc.value), tc.message)
	}
}
