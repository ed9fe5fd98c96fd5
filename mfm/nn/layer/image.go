package layer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// CheckSides panics unless x has images that can be cut into patches and halved at each level.
func CheckSides(network string, x *Node, patch, levels int) {
	if x.Rank() != 4 {
		Panicf("nn.%s: want images [batch, height, width, channels], got %s", network, x.Shape())
	}
	must(SidesError(network, x.Shape().Dim(1), x.Shape().Dim(2), patch, levels))
}

// SidesError returns an error unless images of a size can be cut into patches and halved at each
// level.
func SidesError(network string, height, width, patch, levels int) error {
	// No image has larger sides than these bounds.
	if unit := min(patch, 1<<30) << min(levels-1, 30); height%unit != 0 || width%unit != 0 {
		return fmt.Errorf("nn.%s: images of %dx%d pixels with patches of %dx%d and %d levels: "+
			"sides must be multiples of %d: crop or resize the images, or use a smaller patch or fewer levels",
			network, height, width, patch, patch, levels, unit)
	}
	return nil
}

// Residual returns h + x, where h results from x by group norm, SiLU and a 3x3 convolution, twice.
// A non-nil condition, [batch, width], modulates the second norm. The second convolution is zero at
// the start. If the number of channels changes, x passes through a linear layer.
func Residual(scope *model.Scope, x, condition *Node, channels, groups int) *Node {
	var scale, shift *Node
	if condition != nil {
		modulation := Dense(scope.In("modulation"), condition, 2*channels, 1)
		scale = SliceAxis(modulation, 1, AxisRangeFromStart(channels))
		shift = SliceAxis(modulation, 1, AxisRangeToEnd(channels))
	}
	h := Conv(scope.In("conv_0"), SiLU(GroupNorm(x, groups, nil, nil)), channels, 3, 1, 1)
	h = Conv(scope.In("conv_1"), SiLU(GroupNorm(h, groups, scale, shift)), channels, 3, 1, 0)
	if x.Shape().Dimensions[3] != channels {
		x = Dense(scope.In("skip"), x, channels, 1)
	}
	return Add(x, h)
}

// ImageAttention adds to images the attention between their pixels, which is zero at the start.
func ImageAttention(scope *model.Scope, x *Node, heads, groups int) *Node {
	d := x.Shape().Dimensions
	tokens := Reshape(GroupNorm(x, groups, nil, nil), d[0], d[1]*d[2], d[3])
	return Add(x, Reshape(Attention(scope, tokens, heads, 0), d...))
}

// DepthFromSpace folds patches into pixels: [batch, h, w, c] -> [batch, h/side, w/side, side²·c].
func DepthFromSpace(x *Node, side int) *Node {
	d := x.Shape().Dimensions
	patches := Reshape(x, d[0], d[1]/side, side, d[2]/side, side, d[3])
	return Reshape(TransposeAllAxes(patches, 0, 1, 3, 2, 4, 5), d[0], d[1]/side, d[2]/side, side*side*d[3])
}

// SpaceFromDepth inverts [DepthFromSpace].
func SpaceFromDepth(x *Node, side int) *Node {
	d := x.Shape().Dimensions
	patches := Reshape(x, d[0], d[1], d[2], side, side, d[3]/(side*side))
	return Reshape(TransposeAllAxes(patches, 0, 1, 3, 2, 4, 5), d[0], d[1]*side, d[2]*side, d[3]/(side*side))
}

// Upsampled doubles height and width by repeating each pixel.
func Upsampled(x *Node) *Node {
	d := x.Shape().Dimensions
	pixels := Reshape(x, d[0], d[1], 1, d[2], 1, d[3])
	return Reshape(BroadcastToDims(pixels, d[0], d[1], 2, d[2], 2, d[3]), d[0], 2*d[1], 2*d[2], d[3])
}
