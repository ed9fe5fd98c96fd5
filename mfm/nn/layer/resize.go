package layer

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Resize returns images [batch, height, width, channels] at another size, by PIL's bicubic filter:
// Keys' kernel with a = -1/2, stretched by the scale of a reduction, so that it averages. Unlike
// PIL it does not round to levels, and the result may leave the range of the images. It panics
// unless height and width are positive.
func Resize(images *Node, height, width int) *Node {
	return resize(images, height, width, func(row []float64, center, scale float64) {
		stretch, sum := max(scale, 1), 0.
		for j := range row {
			row[j] = cubic((float64(j) + 0.5 - center) / stretch)
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
		}
	})
}

// ResizeBilinear returns images [batch, height, width, channels] at another size by interpolation
// between the two nearest pixels of each axis, also for a reduction: PyTorch's interpolate with
// mode "bilinear", without aligned corners and without antialiasing. It panics as [Resize] does.
func ResizeBilinear(images *Node, height, width int) *Node {
	return resize(images, height, width, func(row []float64, center, _ float64) {
		at := min(max(center-0.5, 0), float64(len(row)-1))
		low := int(at)
		row[low] = 1 - (at - float64(low))
		if low+1 < len(row) {
			row[low+1] = at - float64(low)
		}
	})
}

// resize resizes images. weights sets the weights of the pixels of an axis for the pixel whose
// center is at center on this axis, in pixels from its begin; scale is the number of pixels for
// each of the result.
func resize(images *Node, height, width int, weights func(row []float64, center, scale float64)) *Node {
	if images.Rank() != 4 || height < 1 || width < 1 {
		Panicf("layer.Resize: want images [batch, height, width, channels] and a positive size, got %s and %dx%d",
			images.Shape(), height, width)
	}
	matrix := func(from, to int) *Node { // [to, from]
		flat, scale := make([]float64, to*from), float64(from)/float64(to)
		for i := range to {
			weights(flat[i*from:(i+1)*from], (float64(i)+0.5)*scale, scale)
		}
		return ConvertDType(ConstTensor(images.Graph(), tensors.FromFlatDataAndDimensions(flat, to, from)), images.DType())
	}
	d := images.Shape().Dimensions
	if d[1] != height {
		images = Einsum("ih,bhwc->biwc", matrix(d[1], height), images)
	}
	if d[2] != width {
		images = Einsum("jw,bhwc->bhjc", matrix(d[2], width), images)
	}
	return images
}

// cubic is Keys' kernel with a = -1/2 (1981), which is zero at a distance of 2 and more.
func cubic(x float64) float64 {
	switch x = math.Abs(x); {
	case x < 1:
		return (1.5*x-2.5)*x*x + 1
	case x < 2:
		return ((2.5-0.5*x)*x-4)*x + 2
	}
	return 0
}
