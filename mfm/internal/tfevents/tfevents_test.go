package tfevents_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/tfevents"
)

// The file has the bytes that TensorBoard writes for the values that TensorBoard reads from it. The
// script make_reference.py wrote the file and read the values.
func TestReference(t *testing.T) {
	want, err := os.ReadFile("testdata/reference.tfevents")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		WallTime float64 `json:"wall_time"`
		Version  string  `json:"file_version"`
		Step     int64   `json:"step"`
		Scalars  []struct {
			Tag   string `json:"tag"`
			Value any    `json:"value"`
		} `json:"scalars"`
	}
	if err := json.Unmarshal(raw, &events); err != nil {
		t.Fatal(err)
	}
	var got []byte
	numbers := 0
	for _, e := range events {
		if e.Version != "" {
			got = tfevents.AppendHeader(got, e.WallTime)
			continue
		}
		var scalars []tfevents.Scalar
		for _, s := range e.Scalars {
			v, finite := s.Value.(float64)
			if !finite {
				v = map[any]float64{"Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}[s.Value]
			}
			scalars = append(scalars, tfevents.Scalar{Tag: s.Tag, Value: float32(v)})
			numbers++
		}
		got = tfevents.AppendScalars(got, e.WallTime, e.Step, scalars...)
	}
	if numbers < 10 || !bytes.Equal(got, want) {
		t.Errorf("%d numbers in %d bytes; TensorBoard writes %d bytes:\n%x\n%x", numbers, len(got), len(want), got, want)
	}
}
