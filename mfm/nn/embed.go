package nn

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Fourier returns sin(f t) for every frequency f, then cos(f t), [...] -> [..., 2·frequencies].
func Fourier(t *Node, frequencies []float64) *Node {
	f := ExpandLeftToRank(ConstAsDType(t.Graph(), t.DType(), frequencies), t.Rank()+1)
	phase := Mul(InsertAxes(t, -1), f)
	return Concatenate([]*Node{Sin(phase), Cos(phase)}, -1)
}

// Octaves returns the sine and cosine of base·t, 2·base·t, 4·base·t and so on, n pairs, [...] ->
// [..., 2n]. It evaluates only the first pair; the others follow from sin 2φ = 2 sin φ cos φ and
// cos 2φ = 1 - 2 sin² φ. On XLA's CPU backend a sine costs as much as ten multiplications, and the
// rounding error only doubles with the frequency, as it does in the phase.
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

// timeFrequencies is the number of frequencies, from 1 to 100, in TimeEmbedding.
const timeFrequencies = 32

// TimeEmbedding embeds times, each [batch], as [batch, width]: the sum over the times of a linear
// layer on the sines and cosines of 32 frequencies from 1 to 100.
func TimeEmbedding(scope *model.Scope, width int, times ...*Node) *Node {
	n := len(times)
	features := Fourier(Stack(times, 1), geometric(100, timeFrequencies))
	// All times share one layer. A gain of √n gives each time's part a gain of 1.
	return Dense(scope, Reshape(features, -1, n*2*timeFrequencies), width, math.Sqrt(float64(n)))
}

// geometric returns n frequencies from 1 to top with a constant ratio.
func geometric(top float64, n int) []float64 {
	f := make([]float64, n)
	for i := range f {
		f[i] = math.Pow(top, float64(i)/float64(n-1))
	}
	return f
}

// ClassEmbedding returns a learned vector for each label, [batch] -> [batch, width]: a row of the
// variable "weights" [classes+1, width], standard normal at the start. The last row, for label =
// classes, means "no class"; so does a nil class. Labels outside [0, classes] give zeros.
//
// It multiplies by one-hot labels instead of gathering, because the gradient of a gather, a
// scatter, adds in no fixed order on a GPU.
func ClassEmbedding(scope *model.Scope, class *Node, classes, width int, times *Node) *Node {
	if class == nil {
		class = FillScalar(times.Graph(), shapes.Make(dtypes.Int32, times.Shape().Dimensions...), float64(classes))
	}
	rows := classes + 1
	table := weights(scope, times, math.Sqrt(float64(rows)), rows, width)
	return Dot(OneHot(class, rows, times.DType()), table).Product()
}
