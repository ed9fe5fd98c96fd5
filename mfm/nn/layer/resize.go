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
	if images.Rank() != 4 || height < 1 || width < 1 {
		Panicf("layer.Resize: want images [batch, height, width, channels] and a positive size, got %s and %dx%d",
			images.Shape(), height, width)
	}
	d := images.Shape().Dimensions
	if d[1] != height {
		images = Einsum("ih,bhwc->biwc", resizing(images, d[1], height), images)
	}
	if d[2] != width {
		images = Einsum("jw,bhwc->bhjc", resizing(images, d[2], width), images)
	}
	return images
}

// resizing returns the matrix [to, from] that resizes an axis of from pixels, in x's type.
func resizing(x *Node, from, to int) *Node {
	scale := float64(from) / float64(to)
	stretch := max(scale, 1)
	matrix := make([]float64, to*from)
	for i := range to {
		row, sum := matrix[i*from:(i+1)*from], 0.
		for j := range row {
			row[j] = cubic((float64(j) + 0.5 - (float64(i)+0.5)*scale) / stretch)
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
		}
	}
	return ConvertDType(ConstTensor(x.Graph(), tensors.FromFlatDataAndDimensions(matrix, to, from)), x.DType())
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
