package nn

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Fourier returns sin(f t) of every frequency f and then every cos(f t), [...] -> [..., 2·frequencies].
func Fourier(t *Node, frequencies []float64) *Node {
	f := ExpandLeftToRank(ConstAsDType(t.Graph(), t.DType(), frequencies), t.Rank()+1)
	phase := Mul(InsertAxes(t, -1), f)
	return Concatenate([]*Node{Sin(phase), Cos(phase)}, -1)
}

// Octaves returns sin and cos of base·t, 2·base·t, 4·base·t and so on, n pairs, [...] -> [..., 2n]. Only the first pair is
// evaluated, the others follow from sin 2φ = 2 sin φ cos φ and cos 2φ = 1 - 2 sin² φ: on XLA's CPU a sine costs as much as
// ten multiplications, and the rounding error only doubles with the frequency, as it does in the phase.
func Octaves(t *Node, base float64, n int) *Node {
	phase := InsertAxes(MulScalar(t, base), -1)
	sin, cos := Sin(phase), Cos(phase)
	features := []*Node{sin, cos}
	for range n - 1 {
		sin, cos = MulScalar(Mul(sin, cos), 2), OneMinus(MulScalar(Square(sin), 2))
		features = append(features, sin, cos)
	}
	return Concatenate(features, -1)
}

// timeFrequencies is the number of frequencies, from 1 to 100, in which TimeEmbedding sees a time in [0, 1].
const timeFrequencies = 32

// TimeEmbedding returns the sum of one linear layer for each of the times, [batch] -> [batch, width], over the sines and
// cosines of 32 frequencies from 1 to 100.
func TimeEmbedding(scope *model.Scope, width int, times ...*Node) *Node {
	n := len(times)
	features := Fourier(Stack(times, 1), geometric(100, timeFrequencies))
	// As one layer its gain is √n, for each time's own layer to keep the variance.
	return Dense(scope, Reshape(features, -1, n*2*timeFrequencies), width, math.Sqrt(float64(n)))
}

// geometric returns n frequencies from 1 to top, each the same factor above the one before.
func geometric(top float64, n int) []float64 {
	f := make([]float64, n)
	for i := range f {
		f[i] = math.Pow(top, float64(i)/float64(n-1))
	}
	return f
}

// ClassEmbedding returns a learned vector for each label, [batch] -> [batch, width]: a row of the variable "weights"
// [classes+1, width], standard normal at the start. The last row, label = classes, stands for "no class"; a nil label does
// too. Labels outside of [0, classes] give zeros.
//
// It is a product with the one-hot labels and not a gather, whose gradient, a scatter, adds in no fixed order on a GPU.
func ClassEmbedding(scope *model.Scope, class *Node, classes, width int, times *Node) *Node {
	if class == nil {
		class = FillScalar(times.Graph(), shapes.Make(dtypes.Int32, times.Shape().Dimensions...), float64(classes))
	}
	rows := classes + 1
	table := weights(scope, times, math.Sqrt(float64(rows)), rows, width)
	return Dot(OneHot(class, rows, times.DType()), table).Product()
}
