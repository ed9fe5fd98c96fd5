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
