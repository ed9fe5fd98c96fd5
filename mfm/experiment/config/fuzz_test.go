package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/steer"
)

// configurations returns a pointer to each configuration and list of settings that a file or a
// command line changes.
func configurations() []any {
	mixtures, images, classifier := mixture.DefaultConfig(), image.DefaultConfig(), image.DefaultClassifierConfig(true)
	distillation, tuned, steered, diagnosis := mixture.DefaultDistillConfig(), tuning.DefaultConfig(),
		steer.DefaultConfig(),
		diagnose.DefaultConfig()
	return []any{
		&mixtures, &images, &classifier, &distillation, &tuned, &steered, &diagnosis, &map[string]float64{},
		&[]stress.LossSetting{}, &[]stress.DiversitySetting{}, &[]stress.BaseSetting{}, &[]stress.ManifoldSetting{},
		&[]stress.PrecisionSetting{}, &[]stress.TimesSetting{},
	}
}

// checkConfiguration checks that a configuration can be validated, and is the same after writing
// and reading again.
func checkConfiguration(t *testing.T, c any) {
	value := reflect.ValueOf(c).Elem()
	if v, ok := value.Interface().(interface{ Validate() error }); ok {
		_ = v.Validate()
	}
	if value.Kind() == reflect.Slice {
		for i := range value.Len() {
			_ = value.Index(i).Interface().(interface{ Validate() error }).Validate()
		}
	}
	fuzztest.RoundTrip(t, c, func(raw []byte) (any, error) {
		again := reflect.New(value.Type()).Interface()
		return again, strictjson.DecodeStored(raw, again) // a list that was left out is written as null
	})
}

// FuzzMerge checks that any text gives an error, or a configuration that is the same after writing
// and reading again. which numbers the configurations.
func FuzzMerge(f *testing.F) {
	for i, c := range configurations() {
		raw, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), raw)
	}
	for i, settings := range []any{
		[]stress.LossSetting{{Family: new(stress.Family), Width: 8, Depth: 1, Steps: 5}},
		stress.DiversityGrid()[:1], stress.BaseGrid()[:1], stress.ManifoldGrid()[:1], stress.PrecisionGrid()[:1],
		stress.TimesGrid()[:1],
	} {
		raw, err := json.Marshal(settings)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(8+i), raw)
	}
	for _, text := range []string{`{"train": {"stepz": 5}}`, `{"train": {"steps": "many"}}`,
		`{"train": {"ema": 0.9}}`, `[]`,
		"{\n\"train\":\n!}", `{"mixture": {"weights": [1], "means": [[0, 0]]}}`, `{"train": {"seed": 1e400}}`, "{}\n{}",
		`{"": 1}`, `{"network": {"kind": "unet"}}`, `{"": "x"}`} {
		f.Add(byte(0), []byte(text))
		f.Add(byte(7), []byte(text))
	}
	f.Fuzz(func(t *testing.T, which byte, raw []byte) {
		all := configurations()
		c := all[int(which)%len(all)]
		if fuzztest.Read(t, len(raw), 1<<12, func() error { return config.Merge(c, raw) }) == nil {
			checkConfiguration(t, c)
		}
	})
}

// FuzzSet is FuzzMerge for a single value by its path.
func FuzzSet(f *testing.F) {
	for _, v := range [][2]string{{"train.steps", "12"}, {"train.optimizer.rate", ".5"}, {"train.ema", "[0.5, 0.75]"},
		{"train.loss.sum", "true"}, {"interpolant", `"vp"`}, {"", ""}, {".", "{}"}, {"train..steps", "1"}, {"a", "\n"},
		{"network.width", "1e3"}, {"mixture", "null"}, {"network", `{"kind": "unet"}`}, {"train.steps", "0x1p4"}} {
		f.Add(byte(0), v[0], v[1])
	}
	f.Fuzz(func(t *testing.T, which byte, path, value string) {
		all := configurations()
		c := all[int(which)%len(all)]
		if strings.ContainsAny(path, "\r\n") { // the error repeats the path
			t.Skip()
		}
		err := fuzztest.Read(t, len(path)+len(value), 1<<12, func() error { return config.Set(c, path, value) })
		if err == nil {
			checkConfiguration(t, c)
		}
	})
}
