package gmm

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/devices"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// GraphMixture is a [Mixture] on a graph: one mixture for all rows of a batch, or one per row, as
// posteriors are. Its methods are those of Mixture for a batch: times are [batch], points [batch,
// dim], all of the float type of the GraphMixture, float32 or float64. Methods panic if shapes or
// types do not fit.
//
// Time and memory are those of the residuals x - β_t m_k, [batch, components, dim]. Their rounding
// sets the precision: 1e-7 in float32, relative to the smallest standard deviation of I_t. For a
// data set use [PointsDrift].
type GraphMixture struct {
	// Each component is stored in its eigenbasis, in which its covariance is diagonal at every t.
	logWeights *Node // [rows, components], with rows = 1 for one mixture
	means      *Node // [rows, components, dim]
	variances  *Node // [rows, components, dim]
	basis      *Node // [components, dim, dim], eigenvectors as columns; nil for the coordinate axes
}

// Like puts the mixture on the graph of x with its type, float32 or float64.
func (m *Mixture) Like(x *Node) *GraphMixture { return m.OnGraph(x.Graph(), x.DType()) }

// OnGraph puts the mixture on a graph as constants of the given type. It panics if the type is not
// float32 or float64.
func (m *Mixture) OnGraph(g *Graph, dtype dtypes.DType) *GraphMixture {
	if dtype != dtypes.Float32 && dtype != dtypes.Float64 {
		Panicf("a mixture on a graph must have type float32 or float64, not %s", dtype)
	}
	n, d := m.Len(), m.dim
	means, variances := make([]float64, 0, n*d), make([]float64, 0, n*d)
	rotated := false
	for k, c := range m.covs {
		mean := append([]float64(nil), m.means[k]...)
		c.toBasis(mean)
		means = append(means, mean...)
		variances = append(variances, c.variances...)
		rotated = rotated || c.basis != nil
	}
	constant := func(flat []float64, dims ...int) *Node {
		return Reshape(ConstAsDType(g, dtype, flat), dims...)
	}
	out := &GraphMixture{
		logWeights: constant(m.logWeights, 1, n),
		means:      constant(means, 1, n, d),
		variances:  constant(variances, 1, n, d),
	}
	if rotated {
		out.basis = constant(m.bases(), n, d, d)
	}
	return out
}

// bases returns the eigenvectors of all components, [components, dim, dim] row by row.
func (m *Mixture) bases() []float64 {
	d := m.dim
	out := make([]float64, m.Len()*d*d)
	for k, c := range m.covs {
		for i := range d {
			for j := range d {
				switch {
				case c.basis != nil:
					out[(k*d+i)*d+j] = c.basis.At(i, j)
				case i == j:
					out[(k*d+i)*d+j] = 1
				}
			}
		}
	}
	return out
}

// Restricted returns one mixture for each row of keep, bool [batch, components], of the components
// for which it is true: at least one in each row. Its log densities include the logarithm of the
// probability of those components.
func (m *GraphMixture) Restricted(keep *Node) *GraphMixture {
	out := *m
	out.logWeights = Where(keep, BroadcastToDims(m.logWeights, keep.Shape().Dimensions...),
		Infinity(keep.Graph(), m.logWeights.DType(), -1))
	return &out
}

// LogDensity returns the log density log p_1(x) of the mixture itself, [batch].
func (m *GraphMixture) LogDensity(x *Node) *Node {
	m.checkPoint(x)
	one := Ones(x.Graph(), shapes.Make(x.DType(), 1, 1, 1))
	_, _, logJoint := m.joint(ZerosLike(one), one, x)
	return logSumExp(logJoint)
}

// LogMarginal returns the log density log p_t(x) of I_t, [batch].
func (m *GraphMixture) LogMarginal(ip interpolant.Schedule, t, x *Node) *Node {
	alpha, beta, _, _ := m.schedule(ip, t, x)
	_, _, logJoint := m.joint(alpha, beta, x)
	return logSumExp(logJoint)
}

// Score returns ∇ log p_t(x), [batch, dim]. See [Mixture.Score].
func (m *GraphMixture) Score(ip interpolant.Schedule, t, x *Node) *Node {
	alpha, beta, _, _ := m.schedule(ip, t, x)
	zero := ZerosLike(beta)
	return m.expectation(alpha, beta, x, zero, gain{Neg(OnesLike(beta)), zero})
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x], [batch, dim]. See [Mixture.Denoiser].
func (m *GraphMixture) Denoiser(ip interpolant.Schedule, t, x *Node) *Node {
	alpha, beta, _, _ := m.schedule(ip, t, x)
	return m.expectation(alpha, beta, x, OnesLike(beta), gain{ZerosLike(beta), beta})
}

// Drift returns b_t(x) = E[dI_t/dt | I_t = x], [batch, dim]. See [Mixture.Drift].
func (m *GraphMixture) Drift(ip interpolant.Schedule, t, x *Node) *Node {
	alpha, beta, dAlpha, dBeta := m.schedule(ip, t, x)
	return m.expectation(alpha, beta, x, dBeta, gain{Mul(alpha, dAlpha), Mul(beta, dBeta)})
}

// Posterior returns p_{1|t}(.|x), one mixture per row of t [batch] and x [batch, dim]. See
// [Mixture.Posterior]. The conditional drift b̄_s(x̄; t, x) is m.Posterior(ip, t, x).Drift(ip, s,
// xbar), and likewise for the conditional denoiser and flow map.
func (m *GraphMixture) Posterior(ip interpolant.Schedule, t, x *Node) *GraphMixture {
	alpha, beta, _, _ := m.schedule(ip, t, x)
	y, marginal, logJoint := m.joint(alpha, beta, x)
	gain := Div(m.variances, marginal)
	return &GraphMixture{
		logWeights: Sub(logJoint, InsertAxes(logSumExp(logJoint), -1)),
		means:      Add(m.means, Mul(Mul(beta, gain), y)),
		variances:  Mul(Square(alpha), gain),
		basis:      m.basis,
	}
}

// Weights returns the probabilities of the components, [batch, components], which add up to one.
// batch is 1 for one mixture.
func (m *GraphMixture) Weights() *Node { return softmax(m.logWeights) }

// Mean returns E[X], [batch, dim]. batch is 1 for one mixture.
func (m *GraphMixture) Mean() *Node { return m.combine(m.Weights(), m.means) }

// Sample returns one sample per row, [batch, dim], and the next state of the random number
// generator. batch is arbitrary for one mixture, and otherwise must be the number of rows.
func (m *GraphMixture) Sample(rngState *Node, batch int) (newState, x *Node) {
	rows, n, d := m.rows(), m.components(), m.dim()
	if batch < 1 || rows != 1 && batch != rows {
		Panicf("cannot draw %d samples from a mixture of %d rows: draw one per row", batch, rows)
	}
	dtype := m.means.DType()
	// Gumbel trick: the largest of log w_k - log(-log U_k) has index k with probability w_k.
	newState, uniform := RandomUniform(rngState, shapes.Make(dtype, batch, n))
	uniform = MaxScalar(uniform, smallestUniform)
	picked := ArgMax(Sub(m.logWeights, Log(Neg(Log(uniform)))), 1)
	newState, noise := RandomNormal(newState, shapes.Make(dtype, batch, d))
	noise = ClipScalar(noise, -largestNormal, largestNormal)
	y := Add(m.means, Mul(Sqrt(m.variances), InsertAxes(noise, 1)))
	return newState, devices.Rows(m.combine(OneHot(picked, n, dtype), y))
}

const (
	// smallestUniform keeps log U finite. It is half the spacing of uniform float32 numbers.
	smallestUniform = 0x1p-33
	// largestNormal exceeds every value of RandomNormal for U > 0 (6.7 in float32, 9.5 in float64).
	// For U = 0, which occurs once in 2^32, XLA returns infinity, because it flushes to zero the
	// denormal number that should replace zero.
	largestNormal = 10
)

// rows returns the number of mixtures: means and variances of a restricted one may have one row.
func (m *GraphMixture) rows() int       { return m.logWeights.Shape().Dim(0) }
func (m *GraphMixture) components() int { return m.means.Shape().Dim(1) }
func (m *GraphMixture) dim() int        { return m.means.Shape().Dim(2) }

// gain is (a + b λ)/(α² + β² λ), by which a direction of variance λ multiplies its residual. a and
// b are [batch, 1, 1].
type gain struct{ a, b *Node }

// of returns the gain of variances. Its operands have the same rank.
func (g gain) of(variance, marginal *Node) *Node { return Div(Add(g.a, Mul(g.b, variance)), marginal) }

// expectation returns Σ_k r_k (shift m_k + U_k diag(gain) U_kᵀ (x - β m_k)), [batch, dim], as that
// of Mixture does. alpha, beta and shift are [batch, 1, 1].
func (m *GraphMixture) expectation(alpha, beta, x, shift *Node, g gain) *Node {
	if m.dim() <= maxUnrolled && m.components() >= minUnrolled {
		return m.unrolled(alpha, beta, x, shift, g)
	}
	y, marginal, logJoint := m.joint(alpha, beta, x)
	y = Add(Mul(g.of(m.variances, marginal), y), Mul(shift, m.means))
	return m.combine(softmax(logJoint), y)
}

// expectation has one array for each direction from minUnrolled components on, in at most
// maxUnrolled dimensions.
const minUnrolled, maxUnrolled = 32, 8

// unrolled is expectation with an array [batch, components] for each direction. A CPU computes it
// in vectors of components, instead of sums over the few directions of each. See
// BenchmarkDenoiserGraph for its time, and maxUnrolled = 0 for that of the other way.
func (m *GraphMixture) unrolled(alpha, beta, x, shift *Node, g gain) *Node {
	column := func(v *Node) *Node { return Squeeze(v, 2) } // [batch, 1]
	alpha, beta, shift, g = column(alpha), column(beta), column(shift), gain{column(g.a), column(g.b)}
	y := make([]*Node, m.dim())
	var quadratic *Node
	for j := range y {
		variance, mean := direction(m.variances, j), direction(m.means, j)
		marginal := marginal(alpha, beta, variance)
		position := Slice(x, AxisRange(), AxisRange(j, j+1))
		if m.basis != nil {
			position = Einsum("bi,ki->bk", x, direction(m.basis, j))
		}
		residual := Sub(position, Mul(beta, mean))
		term := Add(Div(Square(residual), marginal), Log(marginal))
		if j > 0 {
			term = Add(quadratic, term)
		}
		quadratic = term
		y[j] = Add(Mul(g.of(variance, marginal), residual), Mul(shift, mean))
	}
	weights := softmax(Sub(m.logWeights, MulScalar(quadratic, 0.5)))
	if m.basis == nil {
		for j := range y {
			y[j] = ReduceAndKeep(Mul(weights, y[j]), ReduceSum, 1)
		}
		return Concatenate(y, 1)
	}
	var out *Node
	for j := range y {
		term := Einsum("bk,ki->bi", Mul(weights, y[j]), direction(m.basis, j))
		if j > 0 {
			term = Add(out, term)
		}
		out = term
	}
	return out
}

// direction returns v[..., j] of v [rows, columns, dim].
func direction(v *Node, j int) *Node {
	return Squeeze(Slice(v, AxisRange(), AxisRange(), AxisRange(j, j+1)), 2)
}

// joint returns the residuals U_kᵀ (x - β m_k) and the variances α² + β² λ of I_t in the
// eigenbases, both [batch, components, dim], and log w_k + log N(x; β m_k, α² I + β² C_k), [batch,
// components]. alpha and beta are [batch, 1, 1].
func (m *GraphMixture) joint(alpha, beta, x *Node) (residual, marginal, logJoint *Node) {
	residual = Sub(m.rotate(x), Mul(beta, m.means))
	marginal = m.marginal(alpha, beta)
	quadratic := ReduceSum(Add(Div(Square(residual), marginal), Log(marginal)), 2)
	constant := float64(m.dim()) * math.Log(2*math.Pi)
	return residual, marginal, Sub(m.logWeights, MulScalar(AddScalar(quadratic, constant), 0.5))
}

func (m *GraphMixture) marginal(alpha, beta *Node) *Node { return marginal(alpha, beta, m.variances) }

// marginal returns α² + β² λ. Its operands have the same rank.
func marginal(alpha, beta, variance *Node) *Node {
	return MaxScalar(Add(Square(alpha), Mul(Square(beta), variance)), varianceFloor(alpha.DType()))
}

// rotate returns x [batch, dim] in the eigenbases, [batch, components, dim], with components = 1
// for the coordinate axes.
func (m *GraphMixture) rotate(x *Node) *Node {
	if m.basis == nil {
		return InsertAxes(x, 1)
	}
	return Einsum("bi,kij->bkj", x, m.basis)
}

// combine returns Σ_k weights_k U_k y_k, [batch, dim], for weights [batch, components] and y
// [batch, components, dim] in the eigenbases.
func (m *GraphMixture) combine(weights, y *Node) *Node {
	weighted := Mul(InsertAxes(weights, -1), y)
	if m.basis == nil {
		return ReduceSum(weighted, 1)
	}
	return Einsum("bkj,kij->bi", weighted, m.basis)
}

// schedule checks t [batch] against x and returns the schedule at t, all [batch, 1, 1].
func (m *GraphMixture) schedule(ip interpolant.Schedule, t, x *Node) (alpha, beta, dAlpha, dBeta *Node) {
	m.checkPoint(x)
	m.checkTime("t", t, x)
	alpha, beta, dAlpha, dBeta = ip.Graph(t)
	return m.column(alpha), m.column(beta), m.column(dAlpha), m.column(dBeta)
}

func (m *GraphMixture) checkPoint(x *Node) {
	if x.Rank() != 2 || x.Shape().Dim(1) != m.dim() || x.DType() != m.means.DType() {
		Panicf("points are %s for a mixture of type %s: they must be [batch, %d] of this type",
			x.Shape(), m.means.DType(), m.dim())
	}
	if rows := m.rows(); rows != 1 && rows != x.Shape().Dim(0) {
		Panicf("points are %s for a mixture of %d rows: their number must be the same", x.Shape(), rows)
	}
}

func (m *GraphMixture) checkTime(name string, t, x *Node) {
	if t.Rank() != 1 || t.Shape().Dim(0) != x.Shape().Dim(0) || t.DType() != x.DType() {
		Panicf("times %s are %s for points %s: they must be [batch] of the same type", name, t.Shape(), x.Shape())
	}
}

// column reshapes [batch] to [batch, 1, 1].
func (m *GraphMixture) column(t *Node) *Node { return InsertAxes(t, -1, -1) }

// softmax is the softmax along the last axis, by elementary operations: the fused one has no
// forward-mode derivative.
func softmax(logits *Node) *Node {
	e := Exp(Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1))))
	return Div(e, ReduceAndKeep(e, ReduceSum, -1))
}

// logSumExp reduces the last axis to log Σ e^{logits}.
func logSumExp(logits *Node) *Node {
	top := StopGradient(ReduceAndKeep(logits, ReduceMax, -1))
	return Add(Log(ReduceSum(Exp(Sub(logits, top)), -1)), Squeeze(top, -1))
}
