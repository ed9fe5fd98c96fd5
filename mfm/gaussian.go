package mfm

import (
	"fmt"
	"math"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/nn"
)

// Gaussian is the default parametrization. It leaves to the network only what a Gaussian data
// distribution with the same moments would not explain. For such data, with mean m and variance V
// per dimension and with d = α_t² + β_t² V, the posterior has
//
//	mean μ = m + β_t V/d (x - β_t m),   variance c = α_t² V/d.
//
// The conditional flow at s has mean β_s μ and variance ν_s = α_s² + β_s² c. Its flow map is β_u μ
// + √(ν_u/ν_s) r with r = x̄ - β_s μ, and
//
//	v_{s,u} = β̇ μ + r [α̇ (α_s+α_u) + c β̇ (β_s+β_u)]/(√(ν_s ν_u) + ν_s)
//	          + σ_s F(s, u, r/√ν_s; t, (x - β_t m)/√d)
//
// with the mean slopes α̇, β̇ over [s, u]. σ_s = (α_s β'_s - α'_s β_s) √(c/ν_s) is the standard
// deviation of the random part of the target for Gaussian data, so F has unit size. At F = 0 the
// map is exact for Gaussian data.
//
// F also receives the combined observation: the mean of Gaussian data given both x̄ and x, (μ + c
// β_s/ν_s r - m)/√V, and the time 1 - √(c*/V) with c* = α_s² c/ν_s, which measures how informative
// both are. On the diagonal F is a function of these two alone, the same for every context (GLASS,
// see [interpolant.ConditionalDrift]), and need not be learned for each context anew.
type Gaussian struct {
	// Mean is the mean of the data: empty for zero, one number for all elements, or one per element
	// of a sample.
	Mean []float64 `json:"mean,omitempty"`
	// Variance is the variance of the data: one positive number for all elements, or one per
	// element.
	Variance []float64 `json:"variance"`
	// Basis has orthonormal columns, [dim][dim], along which Variance is given; empty for the
	// coordinate axes. With a basis, states are [batch, dim].
	Basis [][]float64 `json:"basis,omitempty"`
	// NoFusion withholds the combined observation, [nn.Inputs].Fused and FusedT, from the network.
	// Both follow from its other inputs; without them it has to learn how.
	NoFusion bool `json:"no_fusion,omitempty"`
}

// posteriorFloor bounds the variance of the Gaussian posterior from below, at t = 1.
const posteriorFloor = 1e-8

// NewGaussian returns the parametrization for data of the given mean, [dim], and covariance,
// [dim][dim], with the eigenvectors of the covariance as basis. It returns an error if shapes do
// not fit or entries are not finite.
func NewGaussian(mean []float64, covariance [][]float64) (*Gaussian, error) {
	n := len(mean)
	if len(covariance) != n {
		return nil, fmt.Errorf("covariance has %d rows for a mean of dimension %d", len(covariance), n)
	}
	sym := mat.NewSymDense(n, nil)
	for i, row := range covariance {
		if len(row) != n {
			return nil, fmt.Errorf("row %d of the covariance has %d entries for dimension %d", i, len(row), n)
		}
		for j := range i + 1 {
			sym.SetSym(i, j, row[j])
		}
	}
	var eig mat.EigenSym
	if !eig.Factorize(sym, true) {
		return nil, fmt.Errorf("the %dx%d covariance has no eigenvectors: its entries must be finite", n, n)
	}
	var vectors mat.Dense
	eig.VectorsTo(&vectors)
	g := &Gaussian{Mean: append([]float64(nil), mean...), Variance: eig.Values(nil), Basis: make([][]float64, n)}
	for i, v := range g.Variance {
		g.Variance[i] = max(v, posteriorFloor)
		g.Basis[i] = append([]float64(nil), vectors.RawRowView(i)...)
	}
	return g, g.Validate()
}

// FitGaussian is [NewGaussian] with the moments of samples, [n][dim]. It returns an error unless n
// > dim.
func FitGaussian(samples [][]float64) (*Gaussian, error) {
	if len(samples) < 2 || len(samples) <= len(samples[0]) {
		return nil, fmt.Errorf("%d samples do not determine a covariance: give more than their dimension", len(samples))
	}
	n, dim := len(samples), len(samples[0])
	x := mat.NewDense(n, dim, nil)
	mean := make([]float64, dim)
	for i, row := range samples {
		if len(row) != dim {
			return nil, fmt.Errorf("sample %d has %d entries, the first has %d", i, len(row), dim)
		}
		x.SetRow(i, row)
	}
	for j := range mean {
		mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
	}
	var cov mat.SymDense
	stat.CovarianceMatrix(&cov, x, nil)
	rows := make([][]float64, dim)
	for i := range rows {
		rows[i] = mat.Row(nil, i, &cov)
	}
	return NewGaussian(mean, rows)
}

// Validate returns an error if the mean or variance is invalid, if they do not fit each other or
// the basis, or if the basis is not orthonormal to 1e-6.
func (g *Gaussian) Validate() error {
	if len(g.Variance) == 0 {
		return fmt.Errorf("gaussian parametrization has no variance: give one number, or one for each element")
	}
	for i, v := range g.Variance {
		if !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("gaussian parametrization: variance[%d] = %g is not positive and finite", i, v)
		}
	}
	for i, m := range g.Mean {
		if math.IsNaN(m) || math.IsInf(m, 0) {
			return fmt.Errorf("gaussian parametrization: mean[%d] = %g is not finite", i, m)
		}
	}
	for i, row := range g.Basis {
		if len(g.Basis) != len(g.Variance) || len(row) != len(g.Variance) {
			return fmt.Errorf("gaussian parametrization: basis row %d has %d entries: the basis must be %d by %[3]d",
				i, len(row), len(g.Variance))
		}
	}
	if n := len(g.Variance); len(g.Mean) > 1 && len(g.Mean) != n && (n > 1 || len(g.Basis) > 0) {
		return fmt.Errorf("gaussian parametrization: the mean has %d entries, the variance %d: give one number, or "+
			"as many as the variance has", len(g.Mean), n)
	}
	return g.validateBasis()
}

// validateBasis returns an error unless the columns of a basis of the right shape are orthonormal.
func (g *Gaussian) validateBasis() error {
	n := len(g.Basis)
	if n == 0 {
		return nil
	}
	basis := mat.NewDense(n, n, nil)
	for i, row := range g.Basis {
		basis.SetRow(i, row)
	}
	var products mat.Dense
	products.Mul(basis.T(), basis)
	for i := range n {
		for j := range i + 1 {
			want := 0.0
			if i == j {
				want = 1
			}
			if got := products.At(i, j); !(math.Abs(got-want) <= 1e-6) {
				return fmt.Errorf("gaussian parametrization: the product of columns %d and %d of the basis is %g, want %g: "+
					"its columns must be orthonormal", j, i, got, want)
			}
		}
	}
	return nil
}

// String returns "gaussian".
func (g *Gaussian) String() string { return string(GaussianName) }

// Velocity returns the average velocity, see [Gaussian].
func (g *Gaussian) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	flow := g.flow(ip, in)
	raw := flow.inputs(in)
	if !g.NoFusion {
		raw.Fused = Div(Sub(flow.dataMean(), flow.mean), Sqrt(flow.variance))
		raw.FusedT = g.combinedTime(ip, in.S, in.T)
	}
	return g.rotateBack(Add(flow.velocity(), Mul(flow.scale(), f(raw))))
}

// gaussianFlow is the conditional flow of Gaussian data at the inputs of a network, along the axes
// of the basis. The names are those of [Gaussian].
type gaussianFlow struct {
	mean, variance, mu, c, d, nuS, nuU *Node
	context, r                         *Node // x - β_t m and x̄ - β_s μ
	alphaS, betaS, dAlphaS, dBetaS     *Node
	alphaU, betaU                      *Node
	slopeAlpha, slopeBeta              *Node
}

func (g *Gaussian) flow(ip interpolant.Schedule, in nn.Inputs) (q gaussianFlow) {
	xbar, x := g.rotate(in.Xbar), g.rotate(in.X)
	q.mean, q.variance = g.moments(x)
	s, u, t := batch.Like(in.S, x), batch.Like(in.U, x), batch.Like(in.T, x)
	q.alphaS, q.betaS, q.dAlphaS, q.dBetaS = ip.Graph(s)
	q.alphaU, q.betaU, _, _ = ip.Graph(u)
	_, betaT, _, _ := ip.Graph(t)
	q.slopeAlpha, q.slopeBeta = interpolant.MeanSlopes(ip, s, u)

	q.d, q.c = g.posterior(ip, t, q.variance)
	q.nuS = Add(Square(q.alphaS), Mul(q.c, Square(q.betaS)))
	q.nuU = Add(Square(q.alphaU), Mul(q.c, Square(q.betaU)))
	q.context = Sub(x, Mul(betaT, q.mean))
	q.mu = Add(q.mean, Mul(Div(Mul(betaT, q.variance), q.d), q.context))
	q.r = Sub(xbar, Mul(q.betaS, q.mu))
	return q
}

// velocity returns the velocity for F = 0.
func (q gaussianFlow) velocity() *Node {
	growth := Add(Mul(q.slopeAlpha, Add(q.alphaS, q.alphaU)), Mul(q.c, Mul(q.slopeBeta, Add(q.betaS, q.betaU))))
	return Add(Mul(q.slopeBeta, q.mu), Mul(q.r, Div(growth, Add(Sqrt(Mul(q.nuS, q.nuU)), q.nuS))))
}

// dataMean returns the mean of the data given x̄ and x.
func (q gaussianFlow) dataMean() *Node { return Add(q.mu, Mul(q.r, Div(Mul(q.c, q.betaS), q.nuS))) }

// scale returns σ_s.
func (q gaussianFlow) scale() *Node {
	return Mul(interpolant.Wronskian(q.alphaS, q.betaS, q.dAlphaS, q.dBetaS), Sqrt(Div(q.c, q.nuS)))
}

// inputs returns the inputs of F, except the combined observation.
func (q gaussianFlow) inputs(in nn.Inputs) nn.Inputs {
	in.Xbar, in.X = Div(q.r, Sqrt(q.nuS)), Div(q.context, Sqrt(q.d))
	return in
}

// combinedTime returns 1 - √(c*/V̄) for the mean V̄ of V, where c* = α_s² c/ν_s is the variance of
// Gaussian data of variance V̄ given x̄ and x: 0 if they are uninformative, 1 if they determine the
// data. s and t are [batch].
func (g *Gaussian) combinedTime(ip interpolant.Schedule, s, t *Node) *Node {
	alpha, beta, _, _ := ip.Graph(s)
	v := Scalar(s.Graph(), s.DType(), stat.Mean(g.Variance, nil))
	_, c := g.posterior(ip, t, v)
	share := Div(Div(c, v), Add(Square(alpha), Mul(c, Square(beta))))
	return OneMinus(Mul(alpha, Sqrt(share)))
}

// Whiten divides err by σ_s along the axes of the basis. σ_s² is at least 0.02 here, because a
// larger weight on smaller targets would mostly amplify noise.
func (g *Gaussian) Whiten(ip interpolant.Schedule, s, t, err *Node) *Node {
	err = g.rotate(err)
	_, variance := g.moments(err)
	s, t = batch.Like(s, err), batch.Like(t, err)
	alphaS, betaS, dAlphaS, dBetaS := ip.Graph(s)
	_, c := g.posterior(ip, t, variance)
	share := Div(c, Add(Square(alphaS), Mul(c, Square(betaS))))
	square := Mul(Square(interpolant.Wronskian(alphaS, betaS, dAlphaS, dBetaS)), share)
	return Div(err, Sqrt(MaxScalar(square, 0.02)))
}

// posterior returns d = α_t² + β_t² V and the posterior variance c = α_t² V/d.
func (g *Gaussian) posterior(ip interpolant.Schedule, t, variance *Node) (d, c *Node) {
	alpha, beta, _, _ := ip.Graph(t)
	d = Add(Square(alpha), Mul(Square(beta), variance))
	return d, AddScalar(Div(Mul(Square(alpha), variance), d), posteriorFloor)
}

// moments returns the rotated mean and the variance as constants that broadcast over x.
func (g *Gaussian) moments(x *Node) (mean, variance *Node) {
	perElement := func(values []float64) *Node {
		dims := make([]int, x.Rank())
		for i := range dims {
			dims[i] = 1
		}
		if len(values) > 1 {
			copy(dims[1:], x.Shape().Dimensions[1:])
		}
		if n := x.Shape().Size() / x.Shape().Dim(0); len(values) > 1 && len(values) != n {
			Panicf("gaussian parametrization has moments for %d elements, but samples %s have %d",
				len(values), x.Shape(), n)
		}
		return Reshape(ConstAsDType(x.Graph(), x.DType(), values), dims...)
	}
	mean = ScalarZero(x.Graph(), x.DType())
	if len(g.Mean) > 0 {
		mean = perElement(g.Mean)
		if n := len(g.Basis); n > len(g.Mean) { // one number for all elements
			mean = BroadcastToDims(mean, 1, n)
		}
		mean = g.rotate(mean)
	}
	return mean, perElement(g.Variance)
}

func (g *Gaussian) rotate(x *Node) *Node {
	if len(g.Basis) == 0 {
		return x
	}
	return Einsum("bi,ij->bj", x, ConstAsDType(x.Graph(), x.DType(), g.Basis))
}

func (g *Gaussian) rotateBack(x *Node) *Node {
	if len(g.Basis) == 0 {
		return x
	}
	return Einsum("bj,ij->bi", x, ConstAsDType(x.Graph(), x.DType(), g.Basis))
}
