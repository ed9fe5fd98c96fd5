package text

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// fit is how an image becomes a square.
type fit int

const (
	// shortest resizes the shorter side to that of the square and crops the middle of the longer
	// one, as transformers does. If an odd number of pixels is cut off, the first side loses fewer.
	shortest fit = iota
	// shortestRounded is shortest as torchvision does it: half the number is rounded to even.
	shortestRounded
	// longest resizes the longer side to that of the square and pads the shorter one with black, as
	// HPSv2 does.
	longest
)

// apply returns images [n, height, width, 3] in [-1, 1] as squares [n, size, size, 3]. The range is
// that of the pixels of a picture: as by PIL, values beyond it are clipped, also after the resizing
// of each axis, the horizontal one first.
func (f fit) apply(images *Node, size int) *Node {
	d := images.Shape().Dimensions
	if len(d) != 4 || d[3] != 3 {
		Panicf("want images [n, height, width, 3], got %s", images.Shape())
	}
	height, width := f.scaled(d[1], d[2], size)
	x := ClipScalar(layer.Resize(ClipScalar(images, -1, 1), d[1], width), -1, 1)
	x = ClipScalar(layer.Resize(x, height, width), -1, 1)
	for axis, length := range map[int]int{1: height, 2: width} {
		switch {
		case length > size:
			from := (length - size) / 2
			if f == shortestRounded {
				from = int(math.RoundToEven(float64(length-size) / 2))
			}
			x = SliceAxis(x, axis, AxisRange(from, from+size))
		case length < size:
			before := (size - length) / 2
			x = padded(x, axis, before, size-length-before)
		}
	}
	return x
}

// scaled returns the height and width of an image after its resizing.
func (f fit) scaled(height, width, size int) (int, int) {
	if f == longest {
		scale := float64(size) / float64(max(height, width))
		side := func(n int) int { return max(1, int(math.RoundToEven(float64(n)*scale))) }
		return side(height), side(width)
	}
	short := min(height, width)
	return size * height / short, size * width / short
}

// padded adds black pixels along an axis.
func padded(x *Node, axis, before, after int) *Node {
	parts := []*Node{x}
	black := func(n int) *Node {
		shape := x.Shape().Clone()
		shape.Dimensions[axis] = n
		return AddScalar(Zeros(x.Graph(), shape), -1)
	}
	if before > 0 {
		parts = append([]*Node{black(before)}, parts...)
	}
	if after > 0 {
		parts = append(parts, black(after))
	}
	return Concatenate(parts, axis)
}
