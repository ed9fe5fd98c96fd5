package layer

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
func ClassEmbedding(scope *model.Scope, class *Node, classes, width int, times *Node) *Node {
	return Embedding(scope, ClassIndex(class, classes, times), classes+1, width, 1, times)
}

// ClassIndex returns the labels, or, if class is nil, the label "no class" for each time.
func ClassIndex(class *Node, classes int, times *Node) *Node {
	if class == nil {
		return FillScalar(times.Graph(), shapes.Make(dtypes.Int32, times.Shape().Dimensions...), float64(classes))
	}
	return class
}

// Embedding returns rows of the variable "weights" [rows, width] in the type of like, initially
// normal with standard deviation std.
//
// It multiplies by one-hot labels instead of gathering, because the gradient of a gather, a
// scatter, adds in no fixed order on a GPU.
func Embedding(scope *model.Scope, index *Node, rows, width int, std float64, like *Node) *Node {
	table := Weights(scope, like, std*math.Sqrt(float64(rows)), rows, width)
	return Dot(OneHot(index, rows, like.DType()), table).Product()
}

// Nearest returns the index of the value that is nearest to each of x, int32 [batch]. If x is nil
// it returns zeros for each time.
func Nearest(x *Node, values []float64, times *Node) *Node {
	if x == nil || len(values) == 1 {
		return FillScalar(times.Graph(), shapes.Make(dtypes.Int32, times.Shape().Dimensions...), 0)
	}
	distance := Abs(Sub(InsertAxes(x, -1), ExpandLeftToRank(ConstAsDType(x.Graph(), x.DType(), values), 2)))
	return ArgMin(distance, -1, dtypes.Int32)
}

// sinusoidFrequencies is the number of frequencies of sinusoids, those of DiT.
const sinusoidFrequencies = 128

// Sinusoids returns the cosines, then the sines, of t·10000^{-k/128}, k = 0 to 127: [batch] ->
// [batch, 256].
func Sinusoids(t *Node) *Node {
	frequencies := make([]float64, sinusoidFrequencies)
	for k := range frequencies {
		frequencies[k] = math.Pow(10_000, -float64(k)/sinusoidFrequencies)
	}
	sines := Fourier(t, frequencies)
	return Concatenate([]*Node{
		SliceAxis(sines, -1, AxisRangeToEnd(sinusoidFrequencies)),
		SliceAxis(sines, -1, AxisRangeFromStart(sinusoidFrequencies)),
	}, -1)
}

// SinusoidalPositions returns the positions of a grid of tokens as [height·width][channels]: sines
// and cosines of the column in the first half of the channels, of the row in the second, in the
// layout of DiT (arXiv 2212.09748). channels is a multiple of 4.
func SinusoidalPositions(height, width, channels int) [][]float64 {
	n := channels / 4
	positions := make([][]float64, 0, height*width)
	for row := range height {
		for column := range width {
			p := make([]float64, channels)
			for k := range n {
				ω := math.Pow(10_000, -float64(k)/float64(n))
				p[k], p[n+k] = math.Sincos(float64(column) * ω)
				p[2*n+k], p[3*n+k] = math.Sincos(float64(row) * ω)
			}
			positions = append(positions, p)
		}
	}
	return positions
}
