package imagefile

import (
	"fmt"
	"image"
	"math"
)

// kernel is a filter of PIL, zero at a distance of more than support.
type kernel struct {
	support float64
	at      func(x float64) float64
}

func box() kernel {
	return kernel{0.5, func(x float64) float64 {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}}
}

// bicubic is Keys' cubic kernel with a = -1/2.
func bicubic() kernel {
	return kernel{2, func(x float64) float64 {
		const a = -0.5
		switch x = math.Abs(x); {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return (((x-5)*x+8)*x - 4) * a
		}
		return 0
	}}
}

// CenterCrop returns the center of an opaque picture as height x width pixels: ADM's
// center_crop_arr, the preprocessing of ImageNet, extended to rectangles. The picture is halved by
// PIL's BOX filter while it has twice the size or more, then brought by PIL's BICUBIC filter to the
// smallest size that covers the rectangle, and cropped. The pixels are those of PIL.
func CenterCrop(img *image.RGBA, height, width int) *image.RGBA {
	size := img.Rect.Size()
	for size.Y >= 2*height && size.X >= 2*width {
		size = size.Div(2)
		img = resize(img, size, image.Rectangle{Max: size}, box())
	}
	scale := max(float64(height)/float64(size.Y), float64(width)/float64(size.X))
	size = image.Pt(int(math.RoundToEven(float64(size.X)*scale)), int(math.RoundToEven(float64(size.Y)*scale)))
	corner := image.Pt((size.X-width)/2, (size.Y-height)/2)
	return resize(img, size, image.Rectangle{corner, corner.Add(image.Pt(width, height))}, bicubic())
}

// Resize returns the part crop of an opaque picture that is resized to size pixels by PIL's BICUBIC
// filter, which averages if it reduces. The pixels are those of PIL. It panics unless picture and
// size have pixels, and crop has some and lies in size.
func Resize(img *image.RGBA, size image.Point, crop image.Rectangle) *image.RGBA {
	if img.Rect.Empty() || crop.Empty() || !crop.In(image.Rectangle{Max: size}) {
		panic(fmt.Sprintf("imagefile.Resize: picture of %v pixels to %v, cropped to %v: want pixels in the picture, and a "+
			"crop with pixels in the new size", img.Rect.Size(), size, crop))
	}
	return resize(img, size, crop, bicubic())
}

// precision is the number of binary places of PIL's weights.
const precision = 32 - 8 - 2

// taps are the weights of consecutive pixels, from first on, in a resized one.
type taps struct {
	first   int
	weights []int32 // of 1 << precision
}

// axis returns the taps of n pixels, from the pixel first on, of an axis of in pixels that is
// resized to out pixels. The kernel is stretched by the scale of a reduction, so that it averages.
func (k kernel) axis(in, out, first, n int) []taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := k.support * stretch
	all := make([]taps, n)
	for i := range all {
		center := (float64(first+i) + 0.5) * scale
		from := max(int(center-support+0.5), 0)
		to := min(int(center+support+0.5), in)
		weights, sum := make([]float64, to-from), 0.0
		for j := range weights {
			weights[j] = k.at((float64(j+from) - center + 0.5) * (1 / stretch))
			sum += weights[j]
		}
		all[i] = taps{from, make([]int32, len(weights))}
		for j, w := range weights {
			all[i].weights[j] = int32(math.Round(w / sum * (1 << precision)))
		}
	}
	return all
}

// resize returns the part crop of a picture that is resized to size pixels, as PIL's resize and
// crop do: along rows, then along columns, each rounded to eight bits. Only the pixels that crop
// needs are computed.
func resize(img *image.RGBA, size image.Point, crop image.Rectangle, k kernel) *image.RGBA {
	columns := k.axis(img.Rect.Dx(), size.X, crop.Min.X, crop.Dx())
	rows := k.axis(img.Rect.Dy(), size.Y, crop.Min.Y, crop.Dy())
	last := rows[len(rows)-1]
	top, bottom := rows[0].first, last.first+len(last.weights)
	between := image.NewRGBA(image.Rect(0, 0, crop.Dx(), bottom-top))
	for y := range bottom - top {
		from, to := img.Pix[(top+y)*img.Stride:], between.Pix[y*between.Stride:]
		for x, t := range columns {
			t.mix(to[4*x:4*x+4:4*x+4], from[4*t.first:], 4)
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, crop.Dx(), crop.Dy()))
	for y, t := range rows {
		from, to := between.Pix[(t.first-top)*between.Stride:], out.Pix[y*out.Stride:]
		for x := range crop.Dx() {
			t.mix(to[4*x:4*x+4:4*x+4], from[4*x:], between.Stride)
		}
	}
	return out
}

// mix sets an opaque pixel to the weighted mean of pixels that are stride bytes apart.
func (t taps) mix(to, from []uint8, stride int) {
	const half = 1 << (precision - 1)
	r, g, b := int32(half), int32(half), int32(half)
	for j, w := range t.weights {
		p := from[j*stride : j*stride+3 : j*stride+3]
		r += w * int32(p[0])
		g += w * int32(p[1])
		b += w * int32(p[2])
	}
	to[0], to[1], to[2], to[3] = level(r), level(g), level(b), 0xff
}

// level returns the gray level of a sum, clipped to 0..255.
func level(sum int32) uint8 { return uint8(min(max(sum>>precision, 0), 255)) }
