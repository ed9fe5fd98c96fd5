package stress

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/config"
)

// FuzzRates checks that any file of rates gives an error, or settings that are valid.
func FuzzRates(f *testing.F) {
	budget := DefaultLossBudget()
	budget.Digits = 0
	rates := map[string]float64{}
	for _, s := range budget.settings() {
		rates[s.name()] = 12.5
	}
	good, err := json.Marshal(rates)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte("12.5"), []byte("1e300")))
	f.Add(bytes.ReplaceAll(good, []byte("12.5"), []byte("-1")))
	for _, text := range []string{`{}`, `null`, `[]`, `{"x\n": 1}`, `{"": "a"}`, `{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var settings []LossSetting
		err := fuzztest.Read(t, len(raw), 256, func() (err error) {
			rates := map[string]float64{}
			if err = config.Merge(&rates, raw); err == nil {
				settings, err = budget.Grid(rates, "")
			}
			return err
		})
		if err != nil {
			return
		}
		for _, s := range settings {
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
