package train

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// muonMomentum is the decay of Muon's momentum in the authors' code.
const muonMomentum = 0.95

// muon returns the next value of a matrix or kernel: a step along the orthogonalized Nesterov
// momentum, with the root mean square of Adam's steps (0.2 of the rate).
func (o Optimizer) muon(rate, param, grad, momentum *Node) *Node {
	ahead := Add(grad, MulScalar(Add(MulScalar(momentum, muonMomentum), grad), muonMomentum))
	d := param.Shape().Dimensions
	columns := d[len(d)-1]
	rows := param.Shape().Size() / columns
	step := Reshape(orthogonalized(Reshape(ahead, rows, columns)), d...)
	step = MulScalar(step, 0.2*math.Sqrt(float64(max(rows, columns))))
	return Sub(param, Mul(rate, Add(step, MulScalar(param, o.WeightDecay))))
}

// orthogonalized returns approximately U Vᵀ for the matrix x = U S Vᵀ, by five steps of the
// Newton-Schulz iteration with the quintic of K. Jordan et al. It brings all singular values near
// one (0.7 to 1.2), except those below a thousandth of x's norm.
func orthogonalized(x *Node) *Node {
	const a, b, c = 3.4445, -4.7750, 2.0315
	wide := x.Shape().Dim(0) < x.Shape().Dim(1)
	if wide {
		x = Transpose(x, 0, 1)
	}
	x = Div(x, AddScalar(Sqrt(ReduceAllSum(Square(x))), 1e-12))
	for range 5 {
		gram := Einsum("ij,ik->jk", x, x)
		mixed := Add(MulScalar(gram, b), MulScalar(Dot(gram, gram).Product(), c))
		x = Add(MulScalar(x, a), Dot(x, mixed).Product())
	}
	if wide {
		x = Transpose(x, 0, 1)
	}
	return x
}
