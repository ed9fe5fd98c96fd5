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

// Gaussian is the default parametrization. It gives the network only what a Gaussian law of the data with the same
// moments does not already explain. Under that law the posterior has, per dimension and with d = α_t² + β_t² V,
//
//	mean μ = m + β_t V/d (x - β_t m)     variance c = α_t² V/d
//
// the conditional flow at s has variance ν_s = α_s² + β_s² c about β_s μ, its flow map is β_u μ + √(ν_u/ν_s) r with r =
// x̄ - β_s μ, and
//
//	v_{s,u} = β̇ μ + r [α̇ (α_s+α_u) + c β̇ (β_s+β_u)]/(√(ν_s ν_u) + ν_s) + σ_s F(s, u, r/√ν_s; t, (x - β_t m)/√d)
//
// where α̇, β̇ are mean slopes over [s, u], σ_s = (α_s β'_s - α'_s β_s) √(c/ν_s) is the standard deviation that the target's
// random part has under the Gaussian law, and F is of unit size. At F = 0 the map is exact for Gaussian data.
//
// Beside these F is shown the Gaussian law's mean of the data given both x̄ and x, (μ + c β_s/ν_s r - m)/√V, and a time 1 - √(c*/V) for
// how much is left, c* = α_s² c/ν_s. On the diagonal F is a function of these two alone, the same for every context (GLASS, see
// [interpolant.ConditionalDrift]), which it need not learn for each anew.
type Gaussian struct {
	// Mean of the data: empty for zero, one number for all elements, or one for each element of a sample.
	Mean []float64 `json:"mean,omitempty"`
	// Variance of the data: one number for all elements, or one for each. Positive.
	Variance []float64 `json:"variance"`
	// Basis has orthonormal columns along which Variance is given, [dim][dim]; empty for the coordinate axes. States are then [batch, dim].
	Basis [][]float64 `json:"basis,omitempty"`
	// NoFusion withholds from the network what x̄ and x say together, [nn.Inputs].Fused and FusedT. Both follow from its other
	// inputs; without them it has to find out.
	NoFusion bool `json:"no_fusion,omitempty"`
}

// posteriorFloor keeps the variance of the Gaussian posterior off zero at t = 1.
const posteriorFloor = 1e-8

// NewGaussian returns the parametrization for data of the given mean and covariance, along the covariance's eigenvectors.
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
		return nil, fmt.Errorf("eigenvectors of the %dx%d covariance not found: are all entries finite?", n, n)
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

// FitGaussian is [NewGaussian] with the moments of samples, [n][dim], n > dim.
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

// Validate returns an error if the numbers cannot be those of a data law.
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
			return fmt.Errorf("gaussian parametrization: basis row %d has %d entries, want %d by %[3]d", i, len(row), len(g.Variance))
		}
	}
	return nil
}

// String returns "gaussian".
func (g *Gaussian) String() string { return "gaussian" }

// Velocity returns the average velocity; see [Gaussian].
func (g *Gaussian) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	l := g.law(ip, in)
	raw := l.inputs(in)
	if !g.NoFusion {
		raw.Fused = Div(Sub(l.fused(), l.mean), Sqrt(l.variance))
		raw.FusedT = g.fusedTime(ip, in.S, in.T)
	}
	return g.rotateBack(Add(l.velocity(), Mul(l.scale(), f(raw))))
}

// gaussianLaw is what follows from a Gaussian law of the data for inputs of a network, along the axes of its basis; names are those of [Gaussian].
type gaussianLaw struct {
	mean, variance, mu, c, d, nuS, nuU *Node
	context, r                         *Node // x - β_t m and x̄ - β_s μ
	alphaS, betaS, dAlphaS, dBetaS     *Node
	alphaU, betaU                      *Node
	slopeAlpha, slopeBeta              *Node
}

func (g *Gaussian) law(ip interpolant.Schedule, in nn.Inputs) (l gaussianLaw) {
	xbar, x := g.rotate(in.Xbar), g.rotate(in.X)
	l.mean, l.variance = g.moments(x)
	s, u, t := batch.Like(in.S, x), batch.Like(in.U, x), batch.Like(in.T, x)
	l.alphaS, l.betaS, l.dAlphaS, l.dBetaS = ip.Graph(s)
	l.alphaU, l.betaU, _, _ = ip.Graph(u)
	_, betaT, _, _ := ip.Graph(t)
	l.slopeAlpha, l.slopeBeta = interpolant.MeanSlopes(ip, s, u)

	l.d, l.c = g.posterior(ip, t, l.variance)
	l.nuS = Add(Square(l.alphaS), Mul(l.c, Square(l.betaS)))
	l.nuU = Add(Square(l.alphaU), Mul(l.c, Square(l.betaU)))
	l.context = Sub(x, Mul(betaT, l.mean))
	l.mu = Add(l.mean, Mul(Div(Mul(betaT, l.variance), l.d), l.context))
	l.r = Sub(xbar, Mul(l.betaS, l.mu))
	return l
}

// velocity returns that of F = 0.
func (l gaussianLaw) velocity() *Node {
	growth := Add(Mul(l.slopeAlpha, Add(l.alphaS, l.alphaU)), Mul(l.c, Mul(l.slopeBeta, Add(l.betaS, l.betaU))))
	return Add(Mul(l.slopeBeta, l.mu), Mul(l.r, Div(growth, Add(Sqrt(Mul(l.nuS, l.nuU)), l.nuS))))
}

// fused returns the data's mean given x̄ and x.
func (l gaussianLaw) fused() *Node { return Add(l.mu, Mul(l.r, Div(Mul(l.c, l.betaS), l.nuS))) }

// scale returns σ_s.
func (l gaussianLaw) scale() *Node {
	return Mul(interpolant.Wronskian(l.alphaS, l.betaS, l.dAlphaS, l.dBetaS), Sqrt(Div(l.c, l.nuS)))
}

// inputs returns those of F but for what x̄ and x say together.
func (l gaussianLaw) inputs(in nn.Inputs) nn.Inputs {
	in.Xbar, in.X = Div(l.r, Sqrt(l.nuS)), Div(l.context, Sqrt(l.d))
	return in
}

// fusedTime returns 1 - √(c*/V̄), c* = α_s² c/ν_s being the variance of the data given x̄ and x under the Gaussian law of
// variance V̄, the mean of V: 0 where they say nothing, 1 where they say all. s and t are [batch].
func (g *Gaussian) fusedTime(ip interpolant.Schedule, s, t *Node) *Node {
	alpha, beta, _, _ := ip.Graph(s)
	v := Scalar(s.Graph(), s.DType(), stat.Mean(g.Variance, nil))
	_, c := g.posterior(ip, t, v)
	share := Div(Div(c, v), Add(Square(alpha), Mul(c, Square(beta))))
	return OneMinus(Mul(alpha, Sqrt(share)))
}

// Whiten divides err by σ_s along the axes of the basis, σ_s² held at 0.02 from below: smaller targets are not worth the noise
// that a larger weight brings.
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

// posterior returns d = α_t² + β_t² V and the posterior's variance c = α_t² V/d.
func (g *Gaussian) posterior(ip interpolant.Schedule, t, variance *Node) (d, c *Node) {
	alpha, beta, _, _ := ip.Graph(t)
	d = Add(Square(alpha), Mul(Square(beta), variance))
	return d, AddScalar(Div(Mul(Square(alpha), variance), d), posteriorFloor)
}

// moments returns mean (rotated) and variance as constants that broadcast over x.
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
			Panicf("gaussian parametrization has moments for %d elements, a sample of shape %s has %d", len(values), x.Shape(), n)
		}
		return Reshape(ConstAsDType(x.Graph(), x.DType(), values), dims...)
	}
	mean = ScalarZero(x.Graph(), x.DType())
	if len(g.Mean) > 0 {
		mean = g.rotate(perElement(g.Mean))
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
