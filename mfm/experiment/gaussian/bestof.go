package gaussian

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// The largest of n samples of N(0, 1) has the density n φ(z) Φ(z)^{n-1}. The functions below accept
// every real n from 1 to e^50, where it is below the bound of the quadrature.

// Bound and number of nodes of the trapezoidal rule, whose error is below 1e-12 for a smooth
// integrand that vanishes at both ends.
const (
	bound = 12.0
	nodes = 6001
)

// expect returns E[f(z)] of the largest z of n samples of N(0, 1). log is n log Φ(z), the logarithm
// of the distribution function at z.
func expect(n float64, f func(z, log float64) float64) float64 {
	const h = 2 * bound / (nodes - 1)
	sum := 0.0
	for i := range nodes {
		z := -bound + float64(i)*h
		log := logPhi(z)
		density := n * math.Exp(-z*z/2+(n-1)*log) / math.Sqrt(2*math.Pi)
		if density > 1e-280 { // below, e^log may be zero
			sum += h * density * f(z, n*log)
		}
	}
	return sum
}

// logPhi returns log Φ(z), with the relative precision of float64 in both tails.
func logPhi(z float64) float64 {
	if z > 0 {
		return math.Log1p(-math.Erfc(z/math.Sqrt2) / 2)
	}
	return math.Log(math.Erfc(-z/math.Sqrt2) / 2)
}

// ExpectedMaximum returns the mean of the largest of n samples of N(0, 1), n ≥ 1. Best-of-N of a
// [Problem] has this mean along the reward.
func ExpectedMaximum(n float64) float64 {
	return expect(n, func(z, _ float64) float64 { return z })
}

// BestOfKL returns the divergence of Best-of-N from the data, log n - (n-1)/n nats, n ≥ 1. It is
// exact for a reward whose values have no ties, in any dimension (Beirami et al., arXiv
// 2401.01879).
func BestOfKL(n float64) float64 { return math.Log(n) - (n-1)/n }

// BestOfW2 returns the Wasserstein distance of Best-of-N from N(mean, 1) along the reward, n ≥ 1:
// the root mean square of z - mean - Φ⁻¹(Φ(z)ⁿ) over the largest z.
func BestOfW2(n, mean float64) float64 {
	return math.Sqrt(expect(n, func(z, log float64) float64 {
		return math.Pow(z-mean-quantile(log), 2)
	}))
}

// quantile returns Φ⁻¹(e^log), from the smaller tail.
func quantile(log float64) float64 {
	if log > -math.Ln2 {
		return -distuv.UnitNormal.Quantile(-math.Expm1(log))
	}
	return distuv.UnitNormal.Quantile(math.Exp(log))
}

// CandidatesForKL returns the n at which Best-of-N is kl nats from the data, about e^{kl+1}. It is
// +Inf beyond 500 nats.
func CandidatesForKL(kl float64) float64 { return invert(BestOfKL, kl) }

// CandidatesForMean returns the n at which Best-of-N has the given mean along the reward, 1 for a
// mean of at most 0. It is +Inf for means of 8 and more.
func CandidatesForMean(mean float64) float64 {
	if mean >= 8 {
		return math.Inf(1)
	}
	return invert(ExpectedMaximum, mean)
}

// invert returns the n ≥ 1 at which an increasing function has a value, by bisection of log n.
func invert(f func(n float64) float64, value float64) float64 {
	low, high := 0.0, 1.0
	for f(math.Exp(high)) < value {
		if low, high = high, 2*high; high > 600 {
			return math.Inf(1)
		}
	}
	for range 60 {
		if middle := (low + high) / 2; f(math.Exp(middle)) < value {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp((low + high) / 2)
}

// Factor returns how many times the evaluations of a steered run Best-of-N needs: its n candidates
// cost a path of the given number of steps and a reward each, the steered run nfe evaluations.
func Factor(n float64, steps int, nfe float64) float64 { return n * float64(steps+1) / nfe }

// Ceiling returns the factor at an equal distribution, e^{kl+1}/(1 + 4 samples): a steered run by
// MFM-G costs 1 + 4 samples evaluations a step, Best-of-N needs about e^{kl+1} candidates.
func Ceiling(kl float64, samples int) float64 { return math.Exp(kl+1) / float64(1+4*samples) }
