package preprocess

import (
	"image"

	"github.com/gomfm/gomfm/data/imagefile"
)

// Picture returns an opaque picture as a square of size x size pixels, with the pixels that PIL
// computes of it: those of the network's original. It panics unless the picture has pixels and size
// is positive.
func (f Fit) Picture(picture *image.RGBA, size int) *image.RGBA {
	bounds := picture.Rect.Size()
	height, width := f.scaled(bounds.Y, bounds.X, size)
	top, left := f.offset(height, size), f.offset(width, size)
	square := image.NewRGBA(image.Rect(0, 0, size, size))
	for i := 3; i < len(square.Pix); i += 4 {
		square.Pix[i] = 0xff
	}
	crop := image.Rect(left, top, left+size, top+size).Intersect(image.Rect(0, 0, width, height))
	resized := imagefile.Resize(picture, image.Pt(width, height), crop)
	for y := range crop.Dy() {
		at := square.PixOffset(crop.Min.X-left, crop.Min.Y-top+y)
		copy(square.Pix[at:], resized.Pix[y*resized.Stride:][:4*crop.Dx()])
	}
	return square
}

// Pixels returns the colors of a picture, flat [height, width, 3]: those of 8 bits as numbers from
// -1 to 1.
func Pixels(picture *image.RGBA) []float32 {
	size := picture.Rect.Size()
	pixels := make([]float32, 0, size.X*size.Y*3)
	for y := range size.Y {
		row := picture.Pix[y*picture.Stride:]
		for x := range size.X {
			for _, level := range row[4*x : 4*x+3] {
				pixels = append(pixels, float32(level)/127.5-1)
			}
		}
	}
	return pixels
}

// FromPixels returns the picture of colors, flat [height, width, 3] in [-1, 1]: they are clipped to
// this range and rounded to 8 bits. NaN is black.
func FromPixels(pixels []float32, height, width int) *image.RGBA {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range height * width {
		for c, v := range pixels[3*i : 3*i+3] {
			if v > -1 {
				picture.Pix[4*i+c] = uint8(min(v, 1)*127.5 + 128)
			}
		}
		picture.Pix[4*i+3] = 0xff
	}
	return picture
}
