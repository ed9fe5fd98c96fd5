package imagefile

import (
	"fmt"
	"image"
	"testing"
)

// pattern is the pattern of testdata/make_pictures.py.
func pattern(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			for c := range 3 {
				value := (x*x + 3*y*y + 5*x*y*(c+1) + 60*c) / 4 % 512
				img.Pix[y*img.Stride+4*x+c] = uint8(min(max(value-128, 0), 255))
			}
			img.Pix[y*img.Stride+4*x+3] = 0xff
		}
	}
	return img
}

// Crops are those of ADM's center_crop_arr with PIL, which rounds in the same way.
func TestCenterCrop(t *testing.T) {
	for _, tc := range []struct{ width, height, size int }{
		{61, 37, 16}, {133, 200, 32}, {20, 9, 32}, {24, 24, 24}, {500, 375, 64}, {7, 300, 9}, {48, 32, 16},
	} {
		name := fmt.Sprintf("crop_%dx%d_%d", tc.width, tc.height, tc.size)
		got := CenterCrop(pattern(tc.width, tc.height), tc.size, tc.size)
		compare(t, name, got, decodeFile(t, name+".want.png"), 0, 0)
	}
	got := CenterCrop(decodeFile(t, "jpeg_420.jpg"), 16, 16)
	compare(t, "a JPEG", got, decodeFile(t, "crop_jpeg_420_16.want.png"), 2, 0.3)
}

// A rectangle is covered by the picture, whose center is kept. The largest sides take no more
// memory than they need.
func TestCenterCropRectangle(t *testing.T) {
	img := pattern(40, 24)
	want := img.SubImage(image.Rect(4, 0, 36, 24)).(*image.RGBA)
	got := CenterCrop(img, 24, 32)
	for y := range 24 {
		for x := range 32 {
			if got.RGBAAt(x, y) != want.RGBAAt(4+x, y) {
				t.Fatalf("pixel (%d, %d) is %v, want %v", x, y, got.RGBAAt(x, y), want.RGBAAt(4+x, y))
			}
		}
	}
	for _, size := range []image.Point{{1, MaxSide}, {MaxSide, 1}, {1, 1}} {
		for _, to := range []image.Point{{1, 1}, {3, 50}, {50, 3}} {
			got := CenterCrop(pattern(size.X, size.Y), to.Y, to.X)
			if got.Rect.Size() != to {
				t.Errorf("%v is cropped to %v, want %v", size, got.Rect.Size(), to)
			}
		}
	}
}
