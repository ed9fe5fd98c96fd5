package mixture

import (
	"encoding/json"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm"
)

// FuzzLossResult checks that any text gives an error, or a result that is the same after writing
// and reading again.
func FuzzLossResult(f *testing.F) {
	for _, text := range []string{`{"loss": "semigroup", "mean_excess": 0.1, "worst_excess": 0.2}`, `{}`, `null`, `[]`,
		`{"mean_excess": null, "worst_excess": 1}`, `{"mean_excess": 1}`, `{"mean_excess": 1e400}`,
		`{"seed": "\n"}`, `{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r LossResult
		if fuzztest.Read(t, len(raw), 256, func() error { return json.Unmarshal(raw, &r) }) != nil {
			return
		}
		fuzztest.RoundTrip(t, r, func(raw []byte) (any, error) {
			var again LossResult
			return &again, json.Unmarshal(raw, &again)
		})
	})
}

// FuzzGaussian checks that any file of a run's parametrization gives an error, or a valid
// parametrization that is the same after writing and reading again.
func FuzzGaussian(f *testing.F) {
	for _, text := range []string{`{"variance": [5]}`,
		`{"mean": [1, 2], "variance": [5, 6], "basis": [[1, 0], [0, 1]]}`, `{}`,
		`null`, `[]`, `{"variance": [-1]}`, `{"variance": [1], "basis": [[1, 2]]}`,
		`{"variance": [1], "no_fusion": true} {}`,
		`{"variance": [1], "mean": [1, 2, 3]}`, `{"x\n": 1}`, `{`} {
		f.Add([]byte(text))
	}
	write, dir := fuzztest.File(f, gaussianFile)
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, content)
		var g *mfm.Gaussian
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			g, err = keptGaussian(dir)
			return err
		})
		if err != nil {
			return
		}
		fuzztest.RoundTrip(t, g, func(raw []byte) (any, error) {
			write(t, raw)
			return keptGaussian(dir)
		})
	})
}
