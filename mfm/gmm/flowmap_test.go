package gmm_test

import (
	"math"
	"strings"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

var spans = [][2]float64{{0, 1}, {0, 0.4}, {0.2, 0.7}, {0.5, 1}, {0.3, 0.3 + 1e-9}, {0.9, 0.1}}

// flows calls f for posteriors of a Gaussian at several (t, x), points x̄ of their flow at s, and
// several (s, u).
func flows(
	t *testing.T,
	f func(t *testing.T, sched interpolant.Schedule, post *gmm.Mixture, s, u float64, xbar []float64),
) {
	m := gaussian(t)
	rng := newRNG(29)
	for name, sched := range schedules {
		t.Run(name, func(t *testing.T) {
			for _, time := range []float64{0, 0.5, 0.95} {
				post := m.Posterior(sched, time, marginalSample(m, sched, time, rng))
				for _, su := range spans {
					f(t, sched, post, su[0], su[1], marginalSample(post, sched, su[0], rng))
				}
			}
		})
	}
}

func flowMap(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, s, u float64, x []float64) []float64 {
	t.Helper()
	y, err := m.FlowMap(sched, s, u, x)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// X_{s,s} is the identity, X_{w,u}(X_{s,w}) = X_{s,u} and X_{u,s} undoes X_{s,u}.
func TestFlowMapSemigroup(t *testing.T) {
	flows(t, func(t *testing.T, sched interpolant.Schedule, post *gmm.Mixture, s, u float64, x []float64) {
		near(t, "X_{s,s}", flowMap(t, post, sched, s, s, x), x, 1e-14)
		end := flowMap(t, post, sched, s, u, x)
		middle := 0.7*s + 0.3*u
		near(t, "two steps", flowMap(t, post, sched, middle, u, flowMap(t, post, sched, s, middle, x)), end, 1e-12)
		near(t, "back", flowMap(t, post, sched, u, s, end), x, 1e-10)
	})
}

// ∂_u X_{s,u} = b_u(X_{s,u}).
func TestFlowMapFollowsDrift(t *testing.T) {
	flows(t, func(t *testing.T, sched interpolant.Schedule, post *gmm.Mixture, s, u float64, x []float64) {
		u = min(max(u, 0.01), 0.99) // room for a central difference
		want := make([]float64, len(x))
		for j := range want {
			want[j] = derivative(func(u float64) float64 { return flowMap(t, post, sched, s, u, x)[j] }, u)
		}
		near(t, "∂_u X", post.Drift(sched, u, flowMap(t, post, sched, s, u, x)), want, 1e-6)
	})
}

// v_{s,u} = (X_{s,u} - x)/(u - s), and the drift at u = s, where the quotient loses all digits.
func TestAverageVelocity(t *testing.T) {
	flows(t, func(t *testing.T, sched interpolant.Schedule, post *gmm.Mixture, s, u float64, x []float64) {
		v, err := post.AverageVelocity(sched, s, u, x)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(u-s) > 0.1 {
			want := floats.SubTo(make([]float64, len(x)), flowMap(t, post, sched, s, u, x), x)
			floats.Scale(1/(u-s), want)
			near(t, "v_{s,u}", v, want, 1e-12)
		} else {
			near(t, "v_{s,u} for u near s", v, post.Drift(sched, (s+u)/2, x), 1e-7)
		}
		v, err = post.AverageVelocity(sched, s, s, x)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "v_{s,s}", v, post.Drift(sched, s, x), 1e-12)
	})
}

// One step X_{0,1}(ε; t, x) from noise is an exact posterior sample: its moments agree within 4
// standard errors.
func TestOneStepPosteriorSample(t *testing.T) {
	m := gaussian(t)
	rng := newRNG(31)
	const n, time = 20000, 0.4
	x := []float64{0.3, 0.9}
	samples := make([][]float64, n)
	for i := range samples {
		y, err := m.ConditionalFlowMap(trigonometric{}, 0, 1, noise(rng, 2), time, x)
		if err != nil {
			t.Fatal(err)
		}
		samples[i] = y
	}
	checkMoments(t, "posterior", samples, m.Posterior(trigonometric{}, time, x), 0)
}

func TestFlowMapNeedsOneComponent(t *testing.T) {
	x := []float64{0, 0}
	_, err := gmm.Paper().ConditionalFlowMap(linear{}, 0, 1, x, 0.5, x)
	_, err2 := gmm.Paper().ConditionalAverageVelocity(linear{}, 0, 1, x, 0.5, x)
	for _, err := range []error{err, err2} {
		if err == nil || !strings.Contains(err.Error(), "3 components") {
			t.Errorf("error %v, want one that names the 3 components", err)
		}
	}
}
