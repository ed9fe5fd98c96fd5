package layer_test

import (
	"image"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// Resized levels are those of PIL, which rounds them after each of the two axes.
func TestResize(t *testing.T) {
	const h, w = 12, 16
	for _, size := range [][2]int{{24, 32}, {12, 16}, {9, 12}, {21, 28}} {
		picture := image.NewRGBA(image.Rect(0, 0, w, h))
		var levels []float64
		for i := range h * w {
			for c := range 3 {
				level := uint8(60 + (i*i*7+c*90+i*13)%120) // so that no sum leaves 0 to 255
				picture.Pix[4*i+c] = level
				levels = append(levels, float64(level))
			}
			picture.Pix[4*i+3] = 255
		}
		x := tensors.FromFlatDataAndDimensions(levels, 1, h, w, 3)
		out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, x []*Node) []*Node {
			return []*Node{layer.Resize(x[0], size[0], size[1])}
		}, x)
		got := nntest.Flat(t, out[0])
		want := imagefile.CenterCrop(picture, size[0], size[1])
		for i := range size[0] * size[1] {
			for c := range 3 {
				if d := got[3*i+c] - float64(want.Pix[4*i+c]); d > 1.2 || d < -1.2 {
					t.Fatalf("%v: pixel %d is %g, PIL's %d", size, i, got[3*i+c], want.Pix[4*i+c])
				}
			}
		}
	}
	nntest.Fails(t, func(_ *model.Scope, g *Graph) *Node {
		return layer.Resize(nntest.WaveNode(g, dtypes.Float32, 0, 1, 2, 2, 3), 0, 4)
	}, "layer.Resize", "0x4")
}

// Values are those of PyTorch's interpolate(mode="bilinear", align_corners=False) of 0, 1, 4, 9,
// 16: it reads two pixels also where it makes images smaller, and repeats the pixels at the edges.
func TestResizeBilinear(t *testing.T) {
	x := tensors.FromFlatDataAndDimensions([]float64{0, 1, 4, 9, 16}, 1, 1, 5, 1)
	for width, want := range map[int][]float64{
		2: {0.75, 10.75}, 3: {1. / 3, 4, 41. / 3}, 5: {0, 1, 4, 9, 16},
		8: {0, 0.4375, 1.1875, 3.0625, 5.5625, 8.6875, 12.9375, 16},
	} {
		out := nntest.Run(t, nntest.NewStore(t, 1), func(_ *model.Scope, x []*Node) []*Node {
			wide := layer.ResizeBilinear(x[0], 1, width)
			tall := layer.ResizeBilinear(TransposeAllAxes(x[0], 0, 2, 1, 3), width, 2) // 1 pixel is repeated
			return []*Node{wide, SliceAxis(tall, 2, AxisElem(1))}
		}, x)
		nntest.Near(t, "wide", nntest.Flat(t, out[0]), want, 1e-12)
		nntest.Near(t, "tall", nntest.Flat(t, out[1]), want, 1e-12)
	}
}
