package run_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
)

// The first number that is not finite is named by the path that it would have in JSON; a value that
// JSON can express is no error.
func TestCheckFinite(t *testing.T) {
	type inner struct {
		SW2    float64 `json:"sw2"`
		hidden float64
		Left   float64         `json:"-"`
		Excess metric.Optional `json:"excess,omitzero"`
	}
	type outer struct {
		inner
		Rows    [][]float32        `json:"rows"`
		Metrics map[string]float64 `json:"metrics"`
		Of      *inner             `json:"of"`
		Raw     json.RawMessage    `json:"raw,omitempty"`
		Any     any
	}
	nan, inf := math.NaN(), math.Inf(1)
	hidden := outer{inner: inner{hidden: nan, Left: inf, Excess: metric.Some(nan)}}
	for _, v := range []any{nil, (*outer)(nil), 1, "NaN", hidden} {
		if err := run.CheckFinite(v); err != nil {
			t.Errorf("%+v: error %v", v, err)
		}
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("%+v has no JSON: %v", v, err)
		}
	}
	for want, v := range map[string]any{
		"it is NaN":               nan,
		"[1][0] is NaN":           [][]float32{{1}, {float32(nan)}},
		"sw2 is +Inf":             outer{inner: inner{SW2: inf}},
		"rows[0][1] is -Inf":      []any{outer{Rows: [][]float32{{0, float32(-inf)}}}}[0],
		"[0].metrics.loss is NaN": []outer{{Metrics: map[string]float64{"a": 1, "loss": nan, "z": nan}}},
		"of.excess is +Inf":       &outer{Of: &inner{Excess: metric.Some(inf)}},
		"Any[0] is NaN":           outer{Any: []float64{nan}},
	} {
		experimenttest.WantError(t, want, run.CheckFinite(v), "the result is not finite: "+want+": ")
	}
	path := filepath.Join(t.TempDir(), "result.json")
	if err := run.WriteJSON(path, outer{inner: inner{SW2: nan}}); err == nil || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), "sw2 is NaN") {
		t.Errorf("writing a result: error %v, want one that names the file and the number", err)
	}
}
