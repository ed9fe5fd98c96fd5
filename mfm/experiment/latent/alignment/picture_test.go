package alignment

import (
	"bytes"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric"
)

// The Fréchet distance from the singular values is that from the moments, of more and of fewer
// features than samples.
func TestFrechet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for _, dim := range []int{3, 30} {
		sets := make([][][]float64, 2)
		var moments [2]metric.Moments
		for k, n := range []int{10, 14} {
			for range n {
				row := make([]float64, dim)
				for j := range row {
					row[j] = rng.NormFloat64()*float64(j%3+k+1) + float64(k)
				}
				sets[k] = append(sets[k], row)
			}
			var err error
			if moments[k], err = metric.NewMoments(sets[k], nil); err != nil {
				t.Fatal(err)
			}
		}
		want, err := metric.Frechet(moments[0], moments[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := frechet(sets[0], sets[1])
		if err != nil || math.Abs(got-want) > 1e-6*want {
			t.Errorf("%d features: distance %g, want %g (%v)", dim, got, want, err)
		}
		if same, err := frechet(sets[0], sets[0]); err != nil || math.Abs(same) > 1e-9*want {
			t.Errorf("a set has the distance %g to itself (%v)", same, err)
		}
	}
	if _, err := frechet([][]float64{{1}}, [][]float64{{1}, {2}}); err == nil {
		t.Error("a single row has a distance")
	}
}

// A picture of two black columns and a red one has known monitors. Sobel's gradient at its inner pixel
// is a third.
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
