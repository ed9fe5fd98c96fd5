package reward

import (
	"cmp"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Box is the indicator of low_j <= x_j <= high_j for all j, smoothed so that it has a gradient,
//
//	r(x) = Σ_j log s((x_j - low_j)/w) + log s((high_j - x_j)/w),   s(z) = 1/(1 + e^{-z}):
//
// near 0 inside, decreasing with slope 1/w outside. -Inf and +Inf leave a side open. Bounds have
// one number for all elements, or one per element.
type Box struct {
	Low   []float64 `json:"low"`   // [dim] or [1], may be -Inf
	High  []float64 `json:"high"`  // of Low's length, each above Low, may be +Inf
	Width float64   `json:"width"` // w > 0, the width of the edge
}

// Validate returns an error that names the first invalid value.
func (b Box) Validate() error {
	if len(b.Low) == 0 || len(b.Low) != len(b.High) {
		return invalid("box", "%d lower and %d upper bounds: want one of each, or one of each per element",
			len(b.Low), len(b.High))
	}
	for i, low := range b.Low {
		if !(low < b.High[i]) {
			return invalid("box", "bound %d is [%g, %g]: must be increasing", i, low, b.High[i])
		}
	}
	closed := func(values []float64) []float64 { // 0 for an open side
		values = slices.Clone(values)
		for i, v := range values {
			if math.IsInf(v, 0) {
				values[i] = 0
			}
		}
		return values
	}
	if err := cmp.Or(holds("box", "low", closed(b.Low)), holds("box", "high", closed(b.High))); err != nil {
		return err
	}
	return positive("box", "width", b.Width)
}

// Reward returns r as a graph function. It panics with Validate's error.
func (b Box) Reward() Reward {
	if err := b.Validate(); err != nil {
		panic(err)
	}
	// Float32 cannot resolve the edge beyond these, and infinities would give gradients 0·Inf.
	bounded := func(values []float64) []float64 {
		out := make([]float64, len(values))
		for i, v := range values {
			out[i] = min(max(v, -1e30), 1e30)
		}
		return out
	}
	return Func(func(x *Node) *Node {
		x = flat(x)
		above := DivScalar(Sub(x, elements("box", x, bounded(b.Low))), b.Width)
		below := DivScalar(Sub(elements("box", x, bounded(b.High)), x), b.Width)
		return ReduceSum(Add(logSigmoid(above), logSigmoid(below)), 1)
	})
}

// HalfPlane is the indicator of a·x >= offset, smoothed as in [Box]. With w = Width,
//
//	r(x) = log s((a·x - offset)/w).
type HalfPlane struct {
	A      []float64 `json:"a"`
	Offset float64   `json:"offset"`
	Width  float64   `json:"width"`
}

// Validate returns an error that names the first invalid value.
func (h HalfPlane) Validate() error {
	if len(h.A) == 0 {
		return invalid("half_plane", "no normal a: give one number per element")
	}
	return cmp.Or(holds("half_plane", "a", h.A), hold("half_plane", "offset", h.Offset),
		positive("half_plane", "width", h.Width))
}

// Reward returns r as a graph function. It panics with Validate's error.
func (h HalfPlane) Reward() Reward {
	if err := h.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		x = vectors("half_plane", x, len(h.A))
		along := ReduceSum(Mul(x, elements("half_plane", x, h.A)), 1)
		return logSigmoid(DivScalar(SubScalar(along, h.Offset), h.Width))
	})
}

// logSigmoid returns log 1/(1 + e^{-z}) = min(z, 0) - log(1 + e^{-|z|}), stable for all z.
func logSigmoid(z *Node) *Node {
	return Sub(MinScalar(z, 0), Log1P(Exp(Neg(Abs(z)))))
}
