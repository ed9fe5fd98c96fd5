package mfm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// conditionalLaw returns p(x_{t'} | x_t = x) for data from law, noises of correlation rho: given the component, x_t and x_{t'} are
// jointly Gaussian with covariances α²I + β²C, α'²I + β'²C and ραα'I + ββ'C.
func conditionalLaw(t testing.TB, law *gmm.Mixture, ip mfm.Interpolant, from, to, rho float64, x []float64) *gmm.Mixture {
	t.Helper()
	alpha, beta, _, _ := ip.At(from)
	alphaTo, betaTo, _, _ := ip.At(to)
	combined := func(c [][]float64, noise, data float64) *mat.Dense {
		out := mat.NewDense(len(c), len(c), nil)
		for i := range c {
			for j := range c {
				out.Set(i, j, data*c[i][j])
			}
			out.Set(i, i, out.At(i, i)+noise)
		}
		return out
	}
	weights := law.PosteriorWeights(ip, from, x)
	var means [][]float64
	var covariances [][][]float64
	for k := range law.Len() {
		mean, c := law.Component(k)
		here, cross := combined(c, alpha*alpha, beta*beta), combined(c, rho*alpha*alphaTo, beta*betaTo)
		var gain, reduction mat.Dense // cross here⁻¹, both symmetric and commuting
		if err := gain.Solve(here, cross); err != nil {
			t.Fatal(err)
		}
		reduction.Mul(&gain, cross)
		there := combined(c, alphaTo*alphaTo, betaTo*betaTo)
		there.Sub(there, &reduction)
		residual := mat.NewVecDense(len(x), nil)
		for i := range x {
			residual.SetVec(i, x[i]-beta*mean[i])
		}
		var moved mat.VecDense
		moved.MulVec(&gain, residual)
		m, v := make([]float64, len(x)), make([][]float64, len(x))
		for i := range m {
			m[i] = betaTo*mean[i] + moved.AtVec(i)
			for j := range m {
				v[i] = append(v[i], (there.At(i, j)+there.At(j, i))/2)
			}
		}
		means, covariances = append(means, m), append(covariances, v)
	}
	return newMixture(t, weights, means, covariances)
}

// The inner drift is that of an interpolant between noise and p(x_{t'} | x_t), whatever the correlation.
func TestTransitionDrift(t *testing.T) {
	law := mixture(t)
	for _, ip := range append(builtIn(), late{}, general{mfm.Linear{}}) {
		const n = 48
		c := situationsOf(law, ip, n)
		to, rho := make([]float64, n), make([]float64, n)
		for i := range to {
			c.t[i] *= 0.9
			to[i] = c.t[i] + 0.05 + (0.99-c.t[i]-0.05)*float64(i)/n
			rho[i] = []float64{0, mfm.DDPMCorrelation(ip, c.t[i], to[i]), 0.3}[i%3]
		}
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			tr := mfm.Transition{Interpolant: ip, To: in[5], Rho: in[6]}
			return []*Node{tr.ConditionalDrift(driftOf(law, ip), in[0], in[3], in[2], in[4], nil), mfm.DDPM(ip, in[2], in[5])}
		}, append(c.inputs(), column(to...), column(rho...))...)
		want := flatten(n, func(i int) []float64 {
			return conditionalLaw(t, law, ip, c.t[i], to[i], rho[i], c.x[i]).Drift(ip, c.s[i], c.xbar[i])
		})
		near(t, fmt.Sprintf("drift, %v", ip), got[0], want, 1e-8)
		want = flatten(n, func(i int) []float64 { return []float64{mfm.DDPMCorrelation(ip, c.t[i], to[i])} })
		near(t, fmt.Sprintf("correlation, %v", ip), got[1], want, 1e-12)
	}
}

// As t' -> 1 the transition becomes the posterior, and from t = 0 its start is forgotten.
func TestTransitionEnds(t *testing.T) {
	law := mixture(t)
	ip := mfm.Linear{}
	const n = 32
	c := situationsOf(law, ip, n)
	ones, zero, half := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		ones[i], half[i] = 1, 0.5
	}
	got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		s, xbar, time, x, one, zero, half := in[0], in[3], in[2], in[4], in[5], in[6], in[7]
		whole := mfm.Transition{Interpolant: ip, To: one, Rho: zero}
		fromNoise := mfm.Transition{Interpolant: ip, To: half, Rho: zero}
		return []*Node{
			whole.ConditionalDrift(driftOf(law, ip), s, xbar, time, x, nil),
			fromNoise.ConditionalDrift(driftOf(law, ip), s, xbar, zero, x, nil),
			fromNoise.ConditionalDrift(driftOf(law, ip), zero, xbar, zero, x, nil),
		}
	}, append(c.inputs(), column(ones...), column(zero...), column(half...))...)
	near(t, "to 1", got[0], flatten(n, func(i int) []float64 { return law.ConditionalDrift(ip, c.s[i], c.xbar[i], c.t[i], c.x[i]) }), 1e-8)
	marginal := conditionalLaw(t, law, ip, 0, 0.5, 0, []float64{0, 0})
	near(t, "from 0", got[1], flatten(n, func(i int) []float64 { return marginal.Drift(ip, c.s[i], c.xbar[i]) }), 1e-9)
	near(t, "from 0 at s = 0", got[2], flatten(n, func(i int) []float64 { return marginal.Drift(ip, 0, c.xbar[i]) }), 1e-9)
}

// With the correlation of DDPM x_t is x_{t'} scaled, and noise that is independent of it: Cov(x_t, x_{t'}) is β_t/β_{t'} Var(x_{t'}) for any data.
func TestDDPMIsMarkov(t *testing.T) {
	for _, ip := range append(builtIn(), late{}) {
		for _, times := range [][2]float64{{0, 0.5}, {0.2, 0.3}, {0.5, 0.99}, {0.9, 1}} {
			rho := mfm.DDPMCorrelation(ip, times[0], times[1])
			alpha, beta, _, _ := ip.At(times[0])
			alphaTo, betaTo, _, _ := ip.At(times[1])
			for _, variance := range []float64{0, 0.3, 4} {
				covariance := rho*alpha*alphaTo + beta*betaTo*variance
				want := beta / betaTo * (alphaTo*alphaTo + betaTo*betaTo*variance)
				if math.Abs(covariance-want) > 1e-14*(1+want) {
					t.Errorf("%v, %v: covariance %g, want %g", ip, times, covariance, want)
				}
			}
			if !(rho >= 0 && rho < 1) {
				t.Errorf("%v, %v: correlation %g", ip, times, rho)
			}
		}
	}
}
