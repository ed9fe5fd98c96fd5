package samplefile_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/numpy"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/experiment/samplefile"
	"github.com/gomfm/gomfm/mfm/figure"
)

// samples are three samples of two numbers for each of two contexts.
func samples() samplefile.Samples {
	values := []float32{0.1, -2, 3e-45, 3.4e38, 5, 6, 7, 8, 9, 10, 11, 12}
	return samplefile.Samples{
		Values: values, Shape: []int{2, 3, 2}, Index: []string{"context", "sample"}, JSON: map[string]any{"t": 0.5},
		Figure: func() *figure.Figure {
			fig := figure.New(figure.Paper(), 1, 1)
			fig.X, fig.Y = figure.Axis{Label: "x"}, figure.Axis{Label: "y"}
			fig.Panel(0, 0).Add(figure.Line{Name: "a line", X: []float64{0, 1}, Y: []float64{1, 2}})
			return fig
		},
	}
}

// Each format can be read and has the numbers to the last bit.
func TestFormats(t *testing.T) {
	dir, s := t.TempDir(), samples()
	read := func(name string) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := samplefile.Write(path, s); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if got, want := string(read("a.csv")), "context,sample,x0,x1\n0,0,0.1,-2\n0,1,3e-45,3.4e+38\n0,2,5,6\n"+
		"1,0,7,8\n1,1,9,10\n1,2,11,12\n"; got != want {
		t.Errorf("CSV %q, want %q", got, want)
	}
	array, err := numpy.FromNpyReader(bytes.NewReader(read("a.NPY")))
	if err != nil {
		t.Fatal(err)
	}
	if got := tensors.MustCopyFlatData[float32](array); !slices.Equal(got, s.Values) ||
		!slices.Equal(array.Shape().Dimensions, s.Shape) {
		t.Errorf("NPY %v of shape %v", got, array.Shape())
	}
	var value any
	if err := json.Unmarshal(read("a.json"), &value); err != nil || !reflect.DeepEqual(value, s.JSON) {
		t.Errorf("JSON %v (%v)", value, err)
	}
	if _, err := png.Decode(bytes.NewReader(read("a.png"))); err != nil {
		t.Errorf("PNG: %v", err)
	}
	if !strings.Contains(string(read("a.svg")), "<svg") {
		t.Error("the SVG file is none")
	}
}

// A table is read back with its columns, to the last bit.
func TestTable(t *testing.T) {
	s := samples()
	s.Values = nil
	s.Table = &tabular.Table{Columns: []string{"mass", "ratio"}, Rows: [][]float64{{1. / 3, 2e9 + 0.1}, {3, 4}}}
	for _, name := range []string{"a.csv", "a.npy", "a.json"} {
		path := filepath.Join(t.TempDir(), name)
		if err := samplefile.Write(path, s); err != nil {
			t.Fatal(err)
		}
		got, err := tabular.Read(path, "")
		if err != nil || !reflect.DeepEqual(got.Rows, s.Table.Rows) ||
			name == "a.csv" && !slices.Equal(got.Columns, s.Table.Columns) {
			t.Errorf("%s: %+v (%v)", name, got, err)
		}
	}
	s.Table.Rows[1][1] = math.Inf(1)
	err := samplefile.Write(filepath.Join(t.TempDir(), "a.csv"), s)
	if err == nil || !strings.Contains(err.Error(), `column "ratio" of sample 1 is +Inf`) {
		t.Errorf("an infinite sample: %v", err)
	}
}

// What cannot be written is an error that says why, and leaves a file as it was.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.csv")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.npy"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a.txt":        "name a .csv, .json, .npy, .png or .svg file",
		"csv":          "name a .csv, .json, .npy, .png or .svg file",
		"none/a.csv":   "there is no folder",
		"folder.npy":   "is a folder",
		"old.csv":      "number 3 of the samples is NaN",
		"old.csv/a.py": "name a .csv",
	} {
		s := samples()
		s.Values[3] = float32(math.NaN())
		err := samplefile.Write(filepath.Join(dir, path), s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
	if raw, err := os.ReadFile(old); err != nil || string(raw) != "old" {
		t.Errorf("a file that could not be replaced has %q (%v)", raw, err)
	}
}
