package mfm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// conditionalLaw returns p(x_{t'} | x_t = x) for data from law, noises of correlation rho. Given x and the data z, x_{t'} is Gaussian with mean
// β' z + ρ (α'/α) (x - β z) and variance α'² (1-ρ²); so it is an affine image of p(z | x) with noise added, which loses no digits near t = 1.
func conditionalLaw(t testing.TB, law *gmm.Mixture, ip mfm.Interpolant, from, to, rho float64, x []float64) *gmm.Mixture {
	t.Helper()
	alpha, beta, _, _ := ip.At(from)
	alphaTo, betaTo, _, _ := ip.At(to)
	ofX := rho * alphaTo / alpha
	ofData := betaTo - ofX*beta
	posterior := law.Posterior(ip, from, x)
	var means [][]float64
	var covariances [][][]float64
	for k := range posterior.Len() {
		mean, c := posterior.Component(k)
		m, v := make([]float64, len(x)), make([][]float64, len(x))
		for i := range m {
			m[i] = ofData*mean[i] + ofX*x[i]
			for j := range m {
				v[i] = append(v[i], ofData*ofData*(c[i][j]+c[j][i])/2)
			}
			v[i][i] += alphaTo * alphaTo * (1 - rho) * (1 + rho)
		}
		means, covariances = append(means, m), append(covariances, v)
	}
	return newMixture(t, law.PosteriorWeights(ip, from, x), means, covariances)
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
		near(t, fmt.Sprintf("drift, %v", ip), got[0], want, 1e-10)
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
	near(t, "to 1", got[0], flatten(n, func(i int) []float64 { return law.ConditionalDrift(ip, c.s[i], c.xbar[i], c.t[i], c.x[i]) }), 1e-10)
	marginal := conditionalLaw(t, law, ip, 0, 0.5, 0, []float64{0, 0})
	near(t, "from 0", got[1], flatten(n, func(i int) []float64 { return marginal.Drift(ip, c.s[i], c.xbar[i]) }), 1e-9)
	near(t, "from 0 at s = 0", got[2], flatten(n, func(i int) []float64 { return marginal.Drift(ip, 0, c.xbar[i]) }), 1e-9)
}

// In float32 the drift is finite for all s in [0, 1] and t < t' <= 1, and right to the rounding of its inputs: one unit in the last place of x or x̄
// moves the drift by that over √ν_s, the deviation of x̄ given x, and one of t* by more where the schedule is steep, as the variance-preserving one is at 1.
func TestTransitionDriftAtTheEnds(t *testing.T) {
	law := tilted(t)
	pairs := [][2]float64{{0, 1e-7}, {0, 0.5}, {0, 0.9999}, {1e-7, 0.5}, {0.5, 0.9999}, {0.9, 0.99}, {0.99, 0.999}, {0.999, 0.9999}, {0.9999, 1 - 1e-7}, {0.999, 1}, {1 - 1e-6, 1 - 1e-7}, {1 - 1e-7, 1}}
	single := func(v float64) float64 { return float64(float32(v)) }
	for _, ip := range append(builtIn(), late{}, general{mfm.VariancePreserving{}}) {
		rng := newRNG(3)
		var s, from, to, rho []float64
		var xs, xbars [][]float64
		var want []*gmm.Mixture
		for _, p := range pairs {
			for _, kind := range []string{"fresh", "half", "DDPM"} {
				for _, inner := range []float64{0, 1e-7, 0.5, 0.999, 1 - 1e-7, 1} {
					inner, p := single(inner), [2]float64{single(p[0]), single(p[1])}
					r := map[string]float64{"fresh": 0, "half": 0.5, "DDPM": single(mfm.DDPMCorrelation(ip, p[0], p[1]))}[kind]
					alpha, beta, _, _ := ip.At(p[0])
					z := law.Sample(rng, 1)[0]
					x := []float64{single(alpha*rng.NormFloat64() + beta*z[0]), single(alpha*rng.NormFloat64() + beta*z[1])}
					there := conditionalLaw(t, law, ip, p[0], p[1], r, x)
					y := there.Sample(rng, 1)[0]
					a, c, _, _ := ip.At(inner)
					xbar := []float64{single(a*rng.NormFloat64() + c*y[0]), single(a*rng.NormFloat64() + c*y[1])}
					s, from, to, rho = append(s, inner), append(from, p[0]), append(to, p[1]), append(rho, r)
					xs, xbars, want = append(xs, x), append(xbars, xbar), append(want, there)
				}
			}
		}
		got := evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			tr := mfm.Transition{Interpolant: ip, To: in[2], Rho: in[3]}
			return []*Node{tr.ConditionalDrift(driftOf(law, ip), in[0], in[5], in[1], in[4], nil)}
		}, column(s...), column(from...), column(to...), column(rho...), points(xs), points(xbars))[0]
		for i, m := range want {
			row, drift := got[2*i:2*i+2], m.Drift(ip, s[i], xbars[i])
			a, c, dA, _ := ip.At(s[i])
			_, cov := m.Component(0)
			for j := range row {
				nu := a*a + c*c*cov[j][j]
				allowed := 5e-7 * (1 + math.Abs(drift[j]) + 1/math.Sqrt(nu)) * (1 + dA*dA)
				if !(math.Abs(row[j]-drift[j]) <= allowed) {
					t.Errorf("%v from %.8g to %.8g, ρ = %.3g, s = %.8g: %.9g, want %.9g ± %.2g", ip, from[i], to[i], rho[i], s[i], row[j], drift[j], allowed)
				}
			}
		}
	}
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
