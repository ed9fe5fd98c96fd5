package metric_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric"
)

// The number keeps its JSON form, and its absence, beside other fields of a struct that embeds it.
func TestOptional(t *testing.T) {
	type inner struct {
		A metric.Optional `json:"a,omitzero"`
		B metric.Optional `json:"b,omitzero"`
	}
	type outer struct {
		Name string `json:"name"`
		inner
	}
	for want, v := range map[string]outer{
		`{"name":"x"}`:                {"x", inner{metric.Some(math.NaN()), metric.Optional{}}},
		`{"name":"x","a":0,"b":1e-9}`: {"x", inner{metric.Some(0), metric.Some(1e-9)}},
	} {
		raw, err := json.Marshal(v)
		if err != nil || string(raw) != want {
			t.Errorf("JSON is %s, error %v, want %s", raw, err, want)
		}
		var read outer
		if err := json.Unmarshal(raw, &read); err != nil || read != v {
			t.Errorf("%s is read as %+v, error %v, want %+v", raw, read, err, v)
		}
	}
	if v := metric.Some(2.5).Float(); v != 2.5 {
		t.Errorf("Some(2.5) is %g", v)
	}
	if v := (metric.Optional{}).Float(); !math.IsNaN(v) {
		t.Errorf("an undefined number is %g, want NaN", v)
	}
	if raw, err := json.Marshal(metric.Some(math.Inf(1))); err == nil {
		t.Errorf("an infinite number is written as %s", raw)
	}
	old := metric.Some(1)
	if err := json.Unmarshal([]byte("null"), &old); err != nil || old != (metric.Optional{}) {
		t.Errorf("null is read as %+v, error %v", old, err)
	}
	if err := json.Unmarshal([]byte(`"1"`), &old); err == nil {
		t.Error("a string is read as a number")
	}
}
