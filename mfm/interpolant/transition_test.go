package interpolant_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The inner drift is that of an interpolant between noise and p(x_{t'} | x_t), for every
// correlation.
func TestTransitionDrift(t *testing.T) {
	mixture := mfmtest.Mixture(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}, mfmtest.General{Schedule: interpolant.Linear{}}) {
		const n = 48
		c := mfmtest.NewCases(mixture, ip, n)
		to, rho := make([]float64, n), make([]float64, n)
		for i := range to {
			c.T[i] *= 0.9
			to[i] = c.T[i] + 0.05 + (0.99-c.T[i]-0.05)*float64(i)/n
			rho[i] = []float64{0, interpolant.DDPMCorrelation(ip, c.T[i], to[i]), 0.3}[i%3]
		}
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			tr := interpolant.Transition{Interpolant: ip, To: in[5], Rho: in[6]}
			return []*Node{tr.ConditionalDrift(mfmtest.DriftOf(mixture, ip), in[0], in[3], in[2], in[4], nil)}
		}, append(c.Inputs(), mfmtest.Column(to...), mfmtest.Column(rho...))...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			return mfmtest.TransitionMixture(t, mixture, ip, c.T[i], to[i], rho[i], c.X[i]).Drift(ip, c.S[i], c.Xbar[i])
		})
		mfmtest.Near(t, fmt.Sprintf("drift, %v", ip), got[0], want, 1e-10)
	}
}

// As t' -> 1 the transition becomes the posterior. From t = 0 it does not depend on the start.
func TestTransitionEnds(t *testing.T) {
	mixture := mfmtest.Mixture(t)
	ip := interpolant.Linear{}
	const n = 32
	c := mfmtest.NewCases(mixture, ip, n)
	ones, zero, half := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		ones[i], half[i] = 1, 0.5
	}
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		s, xbar, time, x, one, zero, half := in[0], in[3], in[2], in[4], in[5], in[6], in[7]
		whole := interpolant.Transition{Interpolant: ip, To: one, Rho: zero}
		fromNoise := interpolant.Transition{Interpolant: ip, To: half, Rho: zero}
		return []*Node{
			whole.ConditionalDrift(mfmtest.DriftOf(mixture, ip), s, xbar, time, x, nil),
			fromNoise.ConditionalDrift(mfmtest.DriftOf(mixture, ip), s, xbar, zero, x, nil),
			fromNoise.ConditionalDrift(mfmtest.DriftOf(mixture, ip), zero, xbar, zero, x, nil),
		}
	}, append(c.Inputs(), mfmtest.Column(ones...), mfmtest.Column(zero...), mfmtest.Column(half...))...)
	mfmtest.Near(t, "to 1", got[0], mfmtest.Flatten(n, func(i int) []float64 {
		return mixture.ConditionalDrift(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
	}), 1e-10)
	marginal := mfmtest.TransitionMixture(t, mixture, ip, 0, 0.5, 0, []float64{0, 0})
	mfmtest.Near(t, "from 0", got[1], mfmtest.Flatten(n, func(i int) []float64 {
		return marginal.Drift(ip, c.S[i], c.Xbar[i])
	}), 1e-9)
	mfmtest.Near(t, "from 0 at s = 0", got[2], mfmtest.Flatten(n, func(i int) []float64 {
		return marginal.Drift(ip, 0, c.Xbar[i])
	}), 1e-9)
}

// In float32 the drift is finite for all s in [0, 1] and t < t' <= 1, and accurate to the rounding
// of its inputs. One unit in the last place of x or x̄ changes the drift by that over √ν_s, the
// standard deviation of x̄ given x. One of t* changes it by more if the schedule is steep, as the
// variance-preserving one is at 1.
func TestTransitionDriftAtTheEnds(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	pairs := [][2]float64{
		{0, 1e-7}, {0, 0.5}, {0, 0.9999}, {1e-7, 0.5}, {0.5, 0.9999}, {0.9, 0.99}, {0.99, 0.999},
		{0.999, 0.9999}, {0.9999, 1 - 1e-7}, {0.999, 1}, {1 - 1e-6, 1 - 1e-7}, {1 - 1e-7, 1},
	}
	single := func(v float64) float64 { return float64(float32(v)) }
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{},
		mfmtest.General{Schedule: interpolant.VariancePreserving{}}) {
		rng := mfmtest.NewRNG(3)
		var s, from, to, rho []float64
		var xs, xbars [][]float64
		var want []*gmm.Mixture
		for _, p := range pairs {
			for _, kind := range []string{"fresh", "half", "DDPM"} {
				for _, inner := range []float64{0, 1e-7, 0.5, 0.999, 1 - 1e-7, 1} {
					inner, p := single(inner), [2]float64{single(p[0]), single(p[1])}
					ddpm := single(interpolant.DDPMCorrelation(ip, p[0], p[1]))
					r := map[string]float64{"fresh": 0, "half": 0.5, "DDPM": ddpm}[kind]
					alpha, beta, _, _ := ip.At(p[0])
					z := mixture.Sample(rng, 1)[0]
					x := []float64{single(alpha*rng.NormFloat64() + beta*z[0]),
						single(alpha*rng.NormFloat64() + beta*z[1])}
					there := mfmtest.TransitionMixture(t, mixture, ip, p[0], p[1], r, x)
					y := there.Sample(rng, 1)[0]
					a, c, _, _ := ip.At(inner)
					xbar := []float64{single(a*rng.NormFloat64() + c*y[0]), single(a*rng.NormFloat64() + c*y[1])}
					s, from, to, rho = append(s, inner), append(from, p[0]), append(to, p[1]), append(rho, r)
					xs, xbars, want = append(xs, x), append(xbars, xbar), append(want, there)
				}
			}
		}
		got := mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			tr := interpolant.Transition{Interpolant: ip, To: in[2], Rho: in[3]}
			return []*Node{tr.ConditionalDrift(mfmtest.DriftOf(mixture, ip), in[0], in[5], in[1], in[4], nil)}
		}, mfmtest.Column(s...), mfmtest.Column(from...), mfmtest.Column(to...), mfmtest.Column(rho...),
			mfmtest.Points(xs), mfmtest.Points(xbars))[0]
		for i, m := range want {
			row, drift := got[2*i:2*i+2], m.Drift(ip, s[i], xbars[i])
			a, c, dA, _ := ip.At(s[i])
			_, cov := m.Component(0)
			for j := range row {
				nu := a*a + c*c*cov[j][j]
				allowed := 5e-7 * (1 + math.Abs(drift[j]) + 1/math.Sqrt(nu)) * (1 + dA*dA)
				if !(math.Abs(row[j]-drift[j]) <= allowed) {
					t.Errorf("%v from %.8g to %.8g, ρ = %.3g, s = %.8g: %.9g, want %.9g ± %.2g",
						ip, from[i], to[i], rho[i], s[i], row[j], drift[j], allowed)
				}
			}
		}
	}
}

// With the correlation of DDPM x_t is x_{t'} scaled plus independent noise: Cov(x_t, x_{t'}) =
// β_t/β_{t'} Var(x_{t'}) for any data.
func TestDDPMIsMarkov(t *testing.T) {
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		for _, times := range [][2]float64{{0, 0.5}, {0.2, 0.3}, {0.5, 0.99}, {0.9, 1}} {
			rho := interpolant.DDPMCorrelation(ip, times[0], times[1])
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
