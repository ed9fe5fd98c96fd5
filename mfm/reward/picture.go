package reward

import (
	"cmp"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Level is a preference for values of a quantity m of a picture: the logarithm of a Gaussian about
// a target without its constant, or a linear function,
//
//	r = -(m - Target)²/(2 Width²),   or   r = Weight m   if Weight is not 0.
//
// Target and Width must be 0 in the linear form, and Width must be positive in the other.
type Level struct {
	Target float64 `json:"target"`
	Width  float64 `json:"width"`
	Weight float64 `json:"weight"`
}

// validate returns an error of a reward of the given kind.
func (l Level) validate(kind string) error {
	if l.Weight == 0 {
		return cmp.Or(hold(kind, "target", l.Target), positive(kind, "width", l.Width))
	}
	if l.Target != 0 || l.Width != 0 {
		return invalid(kind, "weight = %g beside target = %g and width = %g: give a weight alone, or target and width",
			l.Weight, l.Target, l.Width)
	}
	return hold(kind, "weight", l.Weight)
}

// of builds r of the values m, [n].
func (l Level) of(m *Node) *Node {
	if l.Weight != 0 {
		return MulScalar(m, l.Weight)
	}
	return MulScalar(Square(DivScalar(AddScalar(m, -l.Target), l.Width)), -0.5)
}

// Brightness prefers pictures by their mean luma, from 0 for black to 1 for white: with the mean
// levels R, G, B of the channels in [0, 1], of pictures [n, height, width, 3] in [-1, 1],
//
//	m(x) = 0.299 R + 0.587 G + 0.114 B   (ITU-R BT.601, as in JPEG and for PIL's mode "L").
//
// For gray pictures, [n, height, width, 1], it is the mean level.
type Brightness struct{ Level }

// Validate returns an error that names the first invalid value.
func (b Brightness) Validate() error { return b.validate("brightness") }

// Reward returns r as a graph function. It panics with Validate's error.
func (b Brightness) Reward() Reward {
	if err := b.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		weights := []float64{0.299, 0.587, 0.114}
		if x.Rank() == 4 && x.Shape().Dim(3) == 1 {
			weights = []float64{1}
		}
		luma := weightedChannels("brightness", x, weights)
		return b.of(MulScalar(OnePlus(luma), 0.5))
	})
}

// Color prefers pictures by how much of a hue they have: with the mean levels c_k in [0, 1] of red,
// green and blue, k = 0, 1, 2, of pictures [n, height, width, 3] in [-1, 1],
//
//	m(x) = Σ_k c_k cos(Hue - 120° k),
//
// between -1 and 1, and 0 for gray. For the hue of a channel, 0° for red, 120° for green and 240°
// for blue, it is the level of this channel minus the mean of the others.
type Color struct {
	Hue float64 `json:"hue"` // in degrees
	Level
}

// Validate returns an error that names the first invalid value.
func (c Color) Validate() error {
	if !(c.Hue >= 0 && c.Hue < 360) {
		return invalid("color", "hue = %g: must lie in [0, 360) degrees: 0 is red, 120 green, 240 blue", c.Hue)
	}
	return c.validate("color")
}

// Reward returns r as a graph function. It panics with Validate's error.
func (c Color) Reward() Reward {
	if err := c.Validate(); err != nil {
		panic(err)
	}
	weights := make([]float64, 3)
	for k := range weights {
		weights[k] = math.Cos((c.Hue - 120*float64(k)) * math.Pi / 180)
	}
	return Func(func(x *Node) *Node { return c.of(MulScalar(weightedChannels("color", x, weights), 0.5)) })
}

// Symmetry prefers pictures that equal their left-right mirror image x':
//
//	r(x) = -mean (x - x')²/(v + 10⁻⁴),
//
// where v is the variance of the pixels about the mean of their channel, and the means are over all
// pixels and channels of pictures [n, height, width, channels] in [-1, 1]. It is 0 for a symmetric
// picture, about -2 for one whose halves are unrelated, and -4 for one that its mirror image
// negates.
type Symmetry struct{}

// Validate returns nil.
func (Symmetry) Validate() error { return nil }

// leastVariance bounds the variance of pixels from below, so that the gradient of [Symmetry] is
// finite: a standard deviation of 1.3 of 256 levels.
const leastVariance = 1e-4

// Reward returns r as a graph function.
func (Symmetry) Reward() Reward {
	return Func(func(x *Node) *Node {
		if x.Rank() != 4 {
			Panicf("reward symmetry: samples must be pictures [n, height, width, channels], got %s", x.Shape())
		}
		mirror := make([][]float64, x.Shape().Dim(2)) // graphs have no gradient of Reverse
		for i := range mirror {
			mirror[i] = make([]float64, len(mirror))
			mirror[i][len(mirror)-1-i] = 1
		}
		mirrored := Einsum("nhwc,vw->nhvc", x, ConstAsDType(x.Graph(), x.DType(), mirror))
		deviation := Sub(x, ReduceAndKeep(x, ReduceMean, 1, 2))
		variance := ReduceMean(Square(deviation), 1, 2, 3)
		return Neg(Div(ReduceMean(Square(Sub(x, mirrored)), 1, 2, 3), AddScalar(variance, leastVariance)))
	})
}

// weightedChannels builds the weighted sum of the channels' means, [n], of pictures [n, height,
// width, 3].
func weightedChannels(kind string, x *Node, weights []float64) *Node {
	if x.Rank() != 4 || x.Shape().Dim(3) != len(weights) {
		Panicf("reward %s: samples must be pictures [n, height, width, 3], got %s", kind, x.Shape())
	}
	w := ConstAsDType(x.Graph(), x.DType(), [][]float64{weights})
	return ReduceSum(Mul(ReduceMean(x, 1, 2), w), 1)
}
