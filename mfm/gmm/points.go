package gmm

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The functions below evaluate a [Points] mixture on a graph. The data is a node [n, ...], which
// may be a variable on the device, and points x are [batch, ...] with the shape of the data. Each
// function costs one or two matrix products of size n × batch × dim. Near t = 1 they are as exact
// as the float type allows: α is at least the spacing of the type at one (1.2e-7 in float32,
// 2.2e-16 in float64), where the weights are those of the nearest point, and squared distances have
// that relative precision. They panic if shapes or types do not fit.

// PointsDrift returns b_t(x) = β' D_t(x) + (α'/α)(x - β D_t(x)), with x's shape: the exact drift of
// a data set. On the paths of the flow the quotient (x - β D_t(x))/α = E[I_0 | I_t = x] is bounded;
// off them it grows as 1/α toward t = 1, as it must.
func PointsDrift(ip interpolant.Schedule, data, t, x *Node) *Node {
	return pointsAt(ip, data, t, x).drift(x)
}

// PointsClassDrift is [PointsDrift] of the data of one class for each row of x. labels are the
// classes of the data, int32 [n], and class those of the rows, int32 [batch]; a row of class
// classes has all data. A class without data has no drift.
func PointsClassDrift(ip interpolant.Schedule, data, labels *Node, classes int, t, x, class *Node) *Node {
	at := pointsAt(ip, data, t, x)
	at.keep = inClass(class, labels, classes)
	return at.drift(x)
}

// inClass says which points, with labels [n], are in the class of each row, bool [batch, n]. All of
// them are in that of rows of class none.
func inClass(class, labels *Node, none int) *Node {
	class = InsertAxes(class, -1)
	all := Equal(class, Scalar(class.Graph(), class.DType(), none))
	return LogicalOr(Equal(class, InsertAxes(labels, 0)), all)
}

// pointsState is a data set and a batch of points at their times.
type pointsState struct {
	data, x                    *Node // [n, dim], [batch, dim]
	alpha, beta, dAlpha, dBeta *Node // [batch, 1]; alpha is bounded from below
	keep                       *Node // points that rows have, bool [batch, n]; nil for all
}

func pointsAt(ip interpolant.Schedule, data, t, x *Node) pointsState {
	dtype := x.DType()
	if !dtype.IsFloat() || data.DType() != dtype || t.DType() != dtype {
		Panicf("data are %s, times %s, points %s: they must have the same float type",
			data.Shape(), t.Shape(), x.Shape())
	}
	if x.Rank() < 2 || data.Rank() != x.Rank() || t.Rank() != 1 || t.Shape().Dim(0) != x.Shape().Dim(0) {
		Panicf("data are %s, times %s, points %s: they must be [n, ...], [batch] and [batch, ...]",
			data.Shape(), t.Shape(), x.Shape())
	}
	for axis := 1; axis < x.Rank(); axis++ {
		if data.Shape().Dim(axis) != x.Shape().Dim(axis) {
			Panicf("data are %s, points %s: they must agree in all axes but the first", data.Shape(), x.Shape())
		}
	}
	alpha, beta, dAlpha, dBeta := ip.Graph(t)
	column := func(v *Node) *Node { return InsertAxes(v, -1) }
	return pointsState{
		data:   Reshape(data, data.Shape().Dim(0), -1),
		x:      Reshape(x, x.Shape().Dim(0), -1),
		alpha:  MaxScalar(column(alpha), epsilon(dtype)),
		beta:   column(beta),
		dAlpha: column(dAlpha),
		dBeta:  column(dBeta),
	}
}

// logits returns the log weights up to a constant per row, [batch, n]. The term |x|² of |x - β y|²
// is common to all points and dropped, so the rest is one matrix product.
func (p pointsState) logits() *Node {
	inner := DotGeneral(p.x, []int{1}, nil, p.data, []int{1}, nil)
	square := InsertAxes(ReduceSum(Square(p.data), 1), 0)
	logits := Mul(Div(p.beta, Square(p.alpha)), Sub(inner, Mul(MulScalar(p.beta, 0.5), square)))
	if p.keep == nil {
		return logits
	}
	return Where(p.keep, logits, Infinity(logits.Graph(), logits.DType(), -1))
}

func (p pointsState) denoiser() *Node { return Dot(softmax(p.logits()), p.data).Product() }

// drift returns the drift with the shape of x.
func (p pointsState) drift(x *Node) *Node {
	d := p.denoiser()
	noise := Div(Sub(p.x, Mul(p.beta, d)), p.alpha)
	return ReshapeWithShape(Add(Mul(p.dBeta, d), Mul(p.dAlpha, noise)), x.Shape())
}
