package alignment

import (
	"bytes"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"
)

// A picture of two black columns and a red one has known monitors. Sobel's gradient at its inner
// pixel is a third.
func TestMonitors(t *testing.T) {
	var columns []float32
	for range 3 {
		columns = append(columns, -1, -1, -1, -1, -1, -1, 1, -1, -1)
	}
	got, err := newMonitors([]float32{3, -4}, columns, 3, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := Monitors{Saturation: 1. / 3, Clipped: 1, Edges: 1, Latents: math.Sqrt(12.5)}
	pixels := []float32{1, -1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 1}
	for name, v := range map[string][2]float64{
		"saturation": {got.Saturation, want.Saturation}, "clipped": {got.Clipped, want.Clipped},
		"edges": {got.Edges, want.Edges}, "latents": {got.Latents, want.Latents},
	} {
		if math.Abs(v[0]-v[1]) > 1e-12 {
			t.Errorf("%s is %g, want %g", name, v[0], v[1])
		}
	}
	raw, err := strip(2, 2, 3, pixels, pixels)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil || picture.Bounds().Dx() != 2 || picture.Bounds().Dy() != 4 {
		t.Fatalf("picture %v (%v)", picture.Bounds(), err)
	}
	if r, g, _, _ := picture.At(0, 2).RGBA(); r>>8 != 255 || g != 0 {
		t.Errorf("the first pixel of the second row is %d, %d", r>>8, g>>8)
	}
	if mean := meanDistance([][]float64{{0, 0}, {3, 4}, {0, 0}}); math.Abs(mean-10./3) > 1e-12 {
		t.Errorf("the mean distance is %g", mean)
	}
}

// Pictures with half the contrast have spectra of a quarter of the power, 6 dB less; gray ones have
// none.
func TestSpectralDistance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	pixels, faint := make([]float32, 2*4*6*3), make([]float32, 2*4*6*3)
	for i := range pixels {
		pixels[i] = float32(rng.NormFloat64())
		faint[i] = pixels[i] / 2
	}
	if d := spectralDistance(faint, pixels, 4, 6, 3); d.IsZero() || math.Abs(d.Float()-20*math.Log10(2)) > 1e-6 {
		t.Errorf("distance %g dB, want 6.02", d.Float())
	}
	if d := spectralDistance(make([]float32, len(pixels)), pixels, 4, 6, 3); !d.IsZero() {
		t.Errorf("gray pictures have the distance %g", d.Float())
	}
}

// A row of the grid has the picture before steering above the one after it, and rows have as many
// as the strip with the fewest, at most eight.
func TestPairs(t *testing.T) {
	drawn := func(n int, level float32) []byte {
		above, below := make([]float32, n*2*3*3), make([]float32, n*2*3*3)
		for i := range above {
			above[i], below[i] = -1, level
		}
		raw, err := strip(2, 3, 3, above, below)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	grid, err := Pairs([][]byte{drawn(10, 1), drawn(9, 0.2)}, []int{2, 3, 3}, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if grid.H != 4 || grid.W != 3 || grid.C != 3 || grid.N != 16 || grid.Cols != 8 || len(grid.Pixels) != 16*4*3*3 {
		t.Errorf("a grid of %d pictures of %dx%d, %d columns, %d values", grid.N, grid.H, grid.W, grid.Cols, len(grid.Pixels))
	}
	const picture, half = 4 * 3 * 3, 2 * 3 * 3
	for at, want := range map[int]float64{0: -1, half: 1, 8 * picture: -1, 8*picture + half: 0.2} {
		if got := float64(grid.Pixels[at]); math.Abs(got-want) > 0.01 {
			t.Errorf("value %d is %g, want %g", at, got, want)
		}
	}
	if grid, err = Pairs([][]byte{drawn(10, 1), drawn(5, 1)}, []int{2, 3, 3}, []string{"a", "b"}); err != nil || grid.Cols != 5 || grid.N != 10 {
		t.Errorf("%d columns and %d pictures, error %v; the second strip has five", grid.Cols, grid.N, err)
	}
	for name, size := range map[string][]int{"another size": {3, 3, 3}, "one channel": {2, 3, 1}} {
		if _, err := Pairs([][]byte{drawn(10, 1)}, size, []string{"a"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Pairs([][]byte{drawn(10, 1)}, []int{2, 3, 3}, nil); err == nil {
		t.Error("no error for a row without a label")
	}
}
