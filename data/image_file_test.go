package data

import (
	"image"
	"os"
	"testing"
)

func decodeFile(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := DecodeImage(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestDecode compares with PIL's pixels (testdata/make_jpeg.py). Two decoders may differ by
// rounding in the cosine transform.
func TestDecodeImage(t *testing.T) {
	for _, name := range []string{"420", "422", "444"} {
		got := decodeFile(t, "testdata/jpeg_"+name+".jpg")
		want := decodeFile(t, "testdata/jpeg_"+name+".png")
		if got.Bounds() != want.Bounds() {
			t.Fatalf("%s: %v, want %v", name, got.Bounds(), want.Bounds())
		}
		sum, worst, n := 0, 0, 0
		for y := range want.Bounds().Dy() {
			for x := range want.Bounds().Dx() {
				gr, gg, gb, _ := got.At(x, y).RGBA()
				wr, wg, wb, _ := want.At(x, y).RGBA()
				for _, d := range []int{int(gr>>8) - int(wr>>8), int(gg>>8) - int(wg>>8), int(gb>>8) - int(wb>>8)} {
					worst, sum, n = max(worst, d, -d), sum+max(d, -d), n+1
				}
			}
		}
		t.Logf("%s: mean difference %.2f gray levels, at most %d", name, float64(sum)/float64(n), worst)
		if worst > 4 || float64(sum)/float64(n) > 0.5 {
			t.Errorf("%s: mean difference %.2f gray levels, at most %d", name, float64(sum)/float64(n), worst)
		}
	}
}
