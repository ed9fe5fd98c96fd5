package preprocess

import (
	"image"
	"math"
)

// cropPadding is CROP_PADDING of the original: of size+cropPadding pixels size are kept.
const cropPadding = 32

// EfficientNet returns a picture as TensorFlow's evaluation of EfficientNet-Lite prepares it, flat
// [size, size, 3]: preprocess_for_eval of tensorflow/tpu, models/official/efficientnet. It keeps
// the central square of size/(size+32) of the shorter side, and resizes it by resize_bicubic of
// TensorFlow 1: Keys' kernel with a = -3/4, in a table of 1,024 steps, without antialiasing, and
// with pixels whose upper left corners coincide. Levels v are returned as v/127.5-1, which the
// network of package nn converts to (v-127)/128. They are not rounded, and may exceed [-1, 1] at
// edges, as there. It panics unless the picture has pixels and size is positive.
func EfficientNet(picture *image.RGBA, size int) []float32 {
	bounds := picture.Rect.Size()
	share := float32(float64(size) / float64(size+cropPadding))
	side := max(int(share*float32(min(bounds.X, bounds.Y))), 1)
	top, left := (bounds.Y-side+1)/2, (bounds.X-side+1)/2
	taps := legacyBicubic(side, size)
	rows := make([]float64, size*side*3) // resized along columns
	for y, t := range taps {
		for i := range side * 3 {
			sum := 0.
			for k, from := range t.at {
				sum += t.weights[k] * float64(picture.Pix[(top+from)*picture.Stride+4*(left+i/3)+i%3])
			}
			rows[y*side*3+i] = sum
		}
	}
	pixels := make([]float32, 0, size*size*3)
	for y := range size {
		row := rows[y*side*3:]
		for _, t := range taps {
			for c := range 3 {
				sum := 0.
				for k, from := range t.at {
					sum += t.weights[k] * row[3*from+c]
				}
				pixels = append(pixels, float32(sum/127.5-1))
			}
		}
	}
	return pixels
}

// taps are the pixels of which a resized one is a mean, and their weights.
type taps struct {
	at      [4]int
	weights [4]float64
}

// legacyBicubic returns the taps of an axis of from pixels that TensorFlow's resize_bicubic resizes
// to the given number, without half_pixel_centers. Pixels beyond the axis repeat its ends.
func legacyBicubic(from, to int) []taps {
	const steps, a = 1024, -0.75
	near := func(x float64) float64 { return ((a+2)*x-(a+3))*x*x + 1 }
	far := func(x float64) float64 { return ((a*x-5*a)*x+8*a)*x - 4*a }
	all := make([]taps, to)
	scale := float32(from) / float32(to)
	for i := range all {
		in := float32(i) * scale
		low := int(in)
		x := math.RoundToEven(float64(in-float32(low))*steps) / steps
		all[i].weights = [4]float64{far(1 + x), near(x), near(1 - x), far(2 - x)}
		for k := range all[i].at {
			all[i].at[k] = min(max(low-1+k, 0), from-1)
		}
	}
	return all
}
