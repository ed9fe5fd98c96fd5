package gmm

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Kernels is a kernel density estimate on a graph: a mixture of Gaussians about data points y_i
// with one diagonal covariance V. Unlike that of [PointsDrift] its drift is bounded on bounded
// sets. Each method costs two or three matrix products of size n × batch × dim, and panics if
// shapes or types do not fit. Log weights are differences of numbers of size |y|²/(α² + β² V): in
// float32 V should not be below 1e-4 of the variance of the data near t = 1.
type Kernels struct {
	Data     *Node // points y, [n, ...]
	Variance *Node // V > 0, [1, ...], each axis with the length of a point's or 1
	// Labels are the classes of the points, int32 [n], or nil.
	Labels *Node
	// Classes is the number of classes, and the label of a row of x without a class.
	Classes int
}

// kernelsState is a density estimate and a batch of points at their times.
type kernelsState struct {
	x, data, variance          *Node // [batch, dim], [n, dim], [1, dim]
	alpha, beta, dAlpha, dBeta *Node // [batch, 1]
	marginal                   *Node // α² + β² V, [batch, dim]
	weights                    *Node // of the points given x, [batch, n]
}

// Drift returns b_t(x) = β' D_t(x) + α' E[I_0 | I_t = x], with the shape of x, [batch, ...], for
// times t, [batch]. class has the classes of the rows, int32 [batch], each of which is a mixture of
// the points of the class alone; nil means all points. A class without points has no drift.
func (k Kernels) Drift(ip interpolant.Schedule, t, x, class *Node) *Node {
	at := k.at(ip, t, x, class)
	mean := Dot(at.weights, at.data).Product()
	residual := Div(Sub(at.x, Mul(at.beta, mean)), at.marginal)
	denoised := Add(mean, Mul(Mul(at.beta, at.variance), residual))
	b := Add(Mul(at.dBeta, denoised), Mul(Mul(at.dAlpha, at.alpha), residual))
	return ReshapeWithShape(b, x.Shape())
}

// Sample returns a sample of the posterior p_{1|t}(.|x) for each row of x. Arguments are those of
// [Kernels.Drift].
func (k Kernels) Sample(rng *solver.RNG, ip interpolant.Schedule, t, x, class *Node) *Node {
	at := k.at(ip, t, x, class)
	// The first point at which the cumulative weight exceeds a uniform number of its total.
	sums := CumSum(at.weights, -1)
	n := sums.Shape().Dim(1)
	u := InsertAxes(rng.Uniform(t.Shape()), -1)
	below := ConvertDType(LessOrEqual(sums, Mul(u, SliceAxis(sums, -1, AxisElem(n-1)))), dtypes.Int32)
	index := MinScalar(ReduceSum(below, -1), float64(n-1))
	y := Gather(at.data, InsertAxes(index, -1))
	mean := Add(y, Mul(Div(Mul(at.beta, at.variance), at.marginal), Sub(at.x, Mul(at.beta, y))))
	deviation := Mul(at.alpha, Sqrt(Div(at.variance, at.marginal)))
	return ReshapeWithShape(Add(mean, Mul(deviation, rng.Normal(at.x.Shape()))), x.Shape())
}

func (k Kernels) at(ip interpolant.Schedule, t, x, class *Node) kernelsState {
	points := pointsAt(ip, k.Data, t, x)
	dtype := x.DType()
	point := k.Data.Shape().Clone()
	point.Dimensions[0] = 1
	s := kernelsState{
		x: points.x, data: points.data, alpha: points.alpha, beta: points.beta, dAlpha: points.dAlpha, dBeta: points.dBeta,
		variance: Reshape(BroadcastToShape(ConvertDType(k.Variance, dtype), point), 1, -1),
	}
	s.marginal = Add(Square(s.alpha), Mul(Square(s.beta), s.variance))
	// |x - β y|²/(α² + β² V) summed over the elements, without the term in x alone.
	inner := DotGeneral(Div(s.x, s.marginal), []int{1}, nil, s.data, []int{1}, nil)
	square := DotGeneral(Reciprocal(s.marginal), []int{1}, nil, Square(s.data), []int{1}, nil)
	logits := Mul(s.beta, Sub(inner, Mul(MulScalar(s.beta, 0.5), square)))
	if class != nil {
		if k.Labels == nil {
			Panicf("gmm.Kernels: rows with classes %s, but the points have no labels", class.Shape())
		}
		logits = Where(inClass(class, k.Labels, k.Classes), logits, Infinity(logits.Graph(), dtype, -1))
	}
	s.weights = softmax(logits)
	return s
}
