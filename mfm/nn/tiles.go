package nn

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// tiles cuts images into overlapping squares. A network applied to one after another needs the
// memory of one.
type tiles struct {
	side int // 0 means whole images
	// Neighbors share the side divided by overlap, which divides it.
	overlap int
}

// checkTile returns an error unless the pixels that neighboring tiles share are a multiple of unit.
func checkTile(network string, tile, unit int) error {
	if tile < 0 || tile%unit != 0 {
		return fmt.Errorf("%s: tile = %d: must be a multiple of %d pixels, or 0 for whole images", network, tile, unit)
	}
	return nil
}

// apply returns f of images x [batch, height, width, channels], by tiles if a side is longer than a
// tile. f multiplies sides by up/down. As diffusers does for AutoencoderKL, each tile is blended
// with the one above it, then with the one to its left.
func (t tiles) apply(scope *model.Scope, x *Node, up, down int, f func(*model.Scope, *Node) *Node) *Node {
	height, width := x.Shape().Dim(1), x.Shape().Dim(2)
	if t.side == 0 || max(height, width) <= t.side {
		return f(scope, x)
	}
	step := t.side - t.side/t.overlap
	blend, keep := t.side/t.overlap*up/down, step*up/down
	var rows, above []*Node
	var order ordered
	for top := 0; top < height; top += step {
		var row, kept []*Node
		for left := 0; left < width; left += step {
			tile := Slice(x, AxisRange(), AxisRange(top, min(top+t.side, height)), AxisRange(left, min(left+t.side, width)))
			tile = order.apply(tile, func(x *Node) *Node { return f(scope.ResetVisited(), x) })
			if above != nil {
				tile = blended(above[len(row)], tile, 1, blend)
			}
			if left > 0 {
				tile = blended(row[len(row)-1], tile, 2, blend)
			}
			row = append(row, tile)
			kept = append(kept, Slice(tile, AxisRange(), upTo(tile, 1, keep), upTo(tile, 2, keep)))
		}
		above = row
		rows = append(rows, Concatenate(kept, 2))
	}
	return Concatenate(rows, 1)
}

// ordered applies a network to one input after another, and differentiates in the reverse order.
// XLA would keep the activations of several at a time.
type ordered struct {
	calls int
	last  *Node // the last result
	// The adjoint of the input of a call, in the present sweep of reverse mode, and the call's
	// number.
	adjoint *Node
	of      int
}

func (o *ordered) apply(x *Node, f func(*Node) *Node) *Node {
	call := o.calls
	o.calls++
	if o.last != nil {
		x = SchedulingBarrier(x, o.last)
	}
	x = IdentityWithCustomGradient(x, func(_, v *Node) *Node {
		o.adjoint, o.of = v, call
		return v
	})
	o.last = IdentityWithCustomGradient(f(x), func(_, v *Node) *Node {
		if o.of == call+1 {
			v = SchedulingBarrier(v, o.adjoint)
		}
		return v
	})
	return o.last
}

// upTo is the range of at most n elements from the start of an axis.
func upTo(x *Node, axis, n int) SliceAxisSpec { return AxisRangeFromStart(min(n, x.Shape().Dim(axis))) }

// blended returns b whose first n elements along an axis, or as many as there are, go linearly from
// the last ones of a to its own.
func blended(a, b *Node, axis, n int) *Node {
	size := b.Shape().Dim(axis)
	n = min(n, size, a.Shape().Dim(axis))
	ramp, dims := make([]float64, n), []int{1, 1, 1, 1}
	for i := range ramp {
		ramp[i] = float64(i) / float64(n)
	}
	dims[axis] = n
	share := Reshape(ConstAsDType(b.Graph(), b.DType(), ramp), dims...)
	end, start := SliceAxis(a, axis, AxisRangeToEnd(a.Shape().Dim(axis)-n)), SliceAxis(b, axis, AxisRangeFromStart(n))
	mixed := Add(Mul(end, OneMinus(share)), Mul(start, share))
	if n == size {
		return mixed
	}
	return Concatenate([]*Node{mixed, SliceAxis(b, axis, AxisRangeToEnd(n))}, axis)
}
