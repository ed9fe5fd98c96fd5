package notebook

import (
	"image"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/data/tabular"
)

// The two moons are half circles of radius 1 around (0, 0) and (1, 0.5), with noise 0.05.
func TestExamplePoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "moons.csv")
	ExamplePoints(path, "two-moons")
	table, err := tabular.Read(path, "")
	if err != nil || len(table.Rows) != 4000 || len(table.Columns) != 2 {
		t.Fatal(err, table)
	}
	for i, x := range table.Rows {
		upper, lower := math.Abs(math.Hypot(x[0], x[1])-1), math.Abs(math.Hypot(x[0]-1, x[1]-0.5)-1)
		if min(upper, lower) > 6*0.05 {
			t.Fatalf("row %d = %v is on no moon", i, x)
		}
	}
	if err := os.WriteFile(path, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	ExamplePoints(path, "two-moons")
	if raw, _ := os.ReadFile(path); string(raw) != "kept" {
		t.Errorf("the file has become %.40q", raw)
	}
}

// A disc of radius r has the area π r².
func TestDisc(t *testing.T) {
	for _, r := range []float64{2, 3.3, 4} {
		area := 0.0
		for _, v := range disc(7.6, 8.3, r).Pix {
			area += float64(v) / 255
		}
		if want := math.Pi * r * r; math.Abs(area-want) > 0.03*want {
			t.Errorf("radius %g: area %.2f, want %.2f", r, area, want)
		}
	}
}

func TestExamplePictures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "discs")
	ExamplePictures(dir)
	paths, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil || len(paths) != 400 {
		t.Fatal(len(paths), err)
	}
	for _, path := range []string{paths[0], paths[399]} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		picture, _, err := image.Decode(f)
		f.Close()
		gray, ok := picture.(*image.Gray)
		if err != nil || !ok || gray.Rect != image.Rect(0, 0, 16, 16) {
			t.Errorf("%s: %v, %T", path, err, picture)
		}
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	ExamplePictures(dir)
	if _, err := os.Stat(paths[0]); err == nil {
		t.Error("the folder has been written again")
	}
}

func TestByPreset(t *testing.T) {
	for preset, want := range map[string]int{"": 1, "quick": 1, "paper": 1, "full": 2} {
		t.Setenv("MFM_PRESET", preset)
		if got := ByPreset(1, 2); got != want {
			t.Errorf("preset %q: %d, want %d", preset, got, want)
		}
	}
}
