package gmm

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// LogDensity returns the log density log p_1(x) of the mixture itself at x [dim]. It gives a
// component without variance in some direction a standard deviation of 1e-17 there.
func (m *Mixture) LogDensity(x []float64) float64 {
	m.check("x", x)
	return floats.LogSumExp(m.logJoint(0, 1, x))
}

// LogMarginal returns the log density log p_t(x) of I_t at x [dim].
func (m *Mixture) LogMarginal(ip interpolant.Schedule, t float64, x []float64) float64 {
	m.check("x", x)
	alpha, beta, _, _ := ip.At(t)
	return floats.LogSumExp(m.logJoint(alpha, beta, x))
}

// Score returns ∇ log p_t(x) = -Σ_k r_k (α² I + β² C_k)⁻¹ (x - β m_k), [dim]. For a component
// without variance it has no limit at t = 1.
func (m *Mixture) Score(ip interpolant.Schedule, t float64, x []float64) []float64 {
	alpha, beta, _, _ := ip.At(t)
	return m.expectation(alpha, beta, x, 0, func(_, marginal float64) float64 { return -1 / marginal })
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x], [dim]: the sum of r_k times the posterior mean m_k +
// β C_k (α² I + β² C_k)⁻¹ (x - β m_k) of component k.
func (m *Mixture) Denoiser(ip interpolant.Schedule, t float64, x []float64) []float64 {
	alpha, beta, _, _ := ip.At(t)
	return m.expectation(alpha, beta, x, 1, func(variance, marginal float64) float64 {
		return beta * variance / marginal
	})
}

// Drift returns b_t(x) = E[dI_t/dt | I_t = x], [dim]: the sum of r_k times the drift of component
// k,
//
//	β' m_k + (α α' I + β β' C_k)(α² I + β² C_k)⁻¹ (x - β m_k).
//
// Unlike (α'/α) x + (β' - α' β/α) D_t(x) this form divides by nothing that vanishes, so it is exact
// at t = 0 and t = 1. Only a component without variance has no limit at t = 1; Drift returns β' m_k
// there, the value at x = m_k.
func (m *Mixture) Drift(ip interpolant.Schedule, t float64, x []float64) []float64 {
	alpha, beta, dAlpha, dBeta := ip.At(t)
	return m.expectation(alpha, beta, x, dBeta, func(variance, marginal float64) float64 {
		return (alpha*dAlpha + beta*dBeta*variance) / marginal
	})
}

// expectation returns Σ_k r_k (shift m_k + U_k diag(gain) U_kᵀ (x - β m_k)). gain maps the variance
// of a component along an eigenvector, and that of I_t, to the factor along it.
func (m *Mixture) expectation(
	alpha, beta float64, x []float64, shift float64, gain func(variance, marginal float64) float64,
) []float64 {
	m.check("x", x)
	out := make([]float64, m.dim)
	y := make([]float64, m.dim)
	for k, r := range m.responsibilities(alpha, beta, x) {
		if r == 0 {
			continue
		}
		m.residual(y, k, beta, x)
		for j, v := range m.covs[k].variances {
			y[j] *= gain(v, marginalVariance(alpha, beta, v))
		}
		floats.AddScaled(out, r*shift, m.means[k])
		m.covs[k].addFromBasis(out, r, y)
	}
	return out
}

// responsibilities returns r_k = P(component k | I_t = x), [components].
func (m *Mixture) responsibilities(alpha, beta float64, x []float64) []float64 {
	return normalize(m.logJoint(alpha, beta, x))
}

// logJoint returns log w_k + log N(x; β m_k, α² I + β² C_k), [components].
func (m *Mixture) logJoint(alpha, beta float64, x []float64) []float64 {
	out := make([]float64, m.Len())
	y := make([]float64, m.dim)
	precisions := make([]float64, m.dim)
	var last *covariance // the one of precisions and constant: equal covariances are shared
	var constant float64
	for k, c := range m.covs {
		if c != last {
			last, constant = c, -float64(m.dim)/2*math.Log(2*math.Pi)
			for j, v := range c.variances {
				marginal := marginalVariance(alpha, beta, v)
				precisions[j] = 1 / marginal
				constant -= math.Log(marginal) / 2
			}
		}
		m.residual(y, k, beta, x)
		square := 0.0
		for j, v := range y {
			square += v * v * precisions[j]
		}
		out[k] = m.logWeights[k] + constant - square/2
	}
	return out
}

// residual sets y to U_kᵀ (x - β m_k).
func (m *Mixture) residual(y []float64, k int, beta float64, x []float64) {
	floats.AddScaledTo(y, x, -beta, m.means[k])
	m.covs[k].toBasis(y)
}

// normalize shifts log weights in place so that their exponentials sum to one, and returns the
// exponentials.
func normalize(logWeights []float64) []float64 {
	floats.AddConst(-floats.LogSumExp(logWeights), logWeights)
	weights := make([]float64, len(logWeights))
	for k, l := range logWeights {
		weights[k] = math.Exp(l)
	}
	return weights
}

// The variance α² + β² λ of I_t along an eigenvector is zero at t = 1 if λ = 0. It is bounded from
// below by the square of a tenth of 1 - t at the last t before one of the float type. Schedules
// fall to zero no faster than that, so no other value changes, and at t = 1 a mixture of points has
// its limit, the nearest point.
const (
	floor64 = 0x1p-106 / 100
	floor32 = 0x1p-48 / 100
)

func marginalVariance(alpha, beta, variance float64) float64 {
	return math.Max(alpha*alpha+beta*beta*variance, floor64)
}

// varianceFloor returns the lower bound for a float type.
func varianceFloor(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return floor64
	}
	return floor32
}

// epsilon returns the spacing at one of a float type.
func epsilon(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return 0x1p-52
	}
	return 0x1p-23
}
