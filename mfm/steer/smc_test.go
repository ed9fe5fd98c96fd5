package steer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// The estimate of E[e^r] is unbiased for any twist and resampling, and weighted particles have the
// mean of the target, up to the error of the SDE's steps.
func TestSMC(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	mixture, flow := gaussian(t, ip)
	target, logZ := tilt(t, mixture, r)
	const particles, filters = 32, 200
	for _, c := range []steer.SMC{
		{Resampling: steer.Systematic, Threshold: 0.5, Twist: steer.DPS{}},
		{Resampling: steer.Stratified, Threshold: 1, Twist: steer.DPS{}},
		{Resampling: steer.Multinomial, Threshold: 0.5, Twist: steer.DPS{}},
		{Resampling: steer.Systematic, Threshold: 0, Twist: nil},
		{Resampling: steer.Systematic, Threshold: 0.5,
			Twist: steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 64, LeaveOneOut: true}}},
		{Resampling: steer.Systematic, Threshold: 0.5, Twist: exact(t, mixture, ip, r)},
	} {
		c.Config, c.Particles = config(steer.SDE, 150), particles
		got := sample(t, newSteerer(t, flow, r.Reward(), c), 1, particles*filters)
		if len(got.LogZ) != filters || len(got.LogWeights) != particles*filters {
			t.Fatalf("%v: %d estimates of log Z and %d weights for %d filters of %d particles",
				c, len(got.LogZ), len(got.LogWeights), filters, particles)
		}
		// Ẑ of each filter, and Ẑ times its weighted mean, have the expectations Z and Z E*[x].
		var z [][]float64
		for k, l := range got.LogZ {
			row, total := []float64{math.Exp(l - logZ), 0, 0}, 0.0
			for i := k * particles; i < (k+1)*particles; i++ {
				total += math.Exp(got.LogWeights[i])
			}
			for i := k * particles; i < (k+1)*particles; i++ {
				w := row[0] * math.Exp(got.LogWeights[i]) / total
				row[1] += w * float64(got.Samples[2*i])
				row[2] += w * float64(got.Samples[2*i+1])
			}
			z = append(z, row)
		}
		for i, want := range append([]float64{1}, target.Mean()...) {
			if mean, se := meanSE(z, i); math.Abs(mean-want) > 4*se+0.02 {
				t.Errorf("%v, %s, threshold %g: expectation %d is %.4f ± %.4f, want %.4f",
					c, c.Resampling, c.Threshold, i, mean, se, want)
			}
		}
	}
}

// With a reward that gives no weight to one side of a line, particles all of whose posterior
// samples lie there have small weights without rounding errors, and Ẑ is unbiased.
func TestSMCWithoutWeight(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip := interpolant.Linear{}
	mixture, flow := gaussian(t, ip)
	a, offset := []float64{1, -1}, 2.0
	inside := reward.Func(func(x *Node) *Node { // 0 or -Inf
		at := Sub(Slice(x, AxisRange(), AxisElem(0)), Slice(x, AxisRange(), AxisElem(1)))
		return Log(ConvertDType(GreaterThan(Reshape(at, -1), Scalar(x.Graph(), x.DType(), offset)), x.DType()))
	})
	mean, variance := 0.0, 0.0
	for i, m := range mixture.Mean() {
		mean += a[i] * m
		for j := range a {
			variance += a[i] * a[j] * mixture.Covariance()[i][j]
		}
	}
	want := math.Erfc((offset-mean)/math.Sqrt(2*variance)) / 2
	const particles, filters = 32, 100
	// Resampling at each step would need more posterior samples: it keeps particles whose estimates
	// are too large by chance, and the weights get heavy tails.
	for _, threshold := range []float64{0, 0.5} {
		c := steer.SMC{
			Config: config(steer.SDE, 100), Particles: particles, Resampling: steer.Systematic, Threshold: threshold,
			Twist: steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 64}, Baseline: steer.MeanBaseline},
		}
		got := sample(t, newSteerer(t, flow, inside, c), 1, particles*filters)
		var z [][]float64
		for _, l := range got.LogZ {
			z = append(z, []float64{math.Exp(l) / want})
		}
		if mean, se := meanSE(z, 0); math.Abs(mean-1) > 4*se+0.02 || se > 0.3 {
			t.Errorf("threshold %g: the mean of Ẑ/Z is %.3f ± %.3f, Z = %.3f", threshold, mean, se, want)
		}
	}
}

// Without a twist particles are weighted only at the end, and the series shows how few carry the
// weight; with the exact twist nearly all do.
func TestEffectiveParticles(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	r.Sigma = 0.05
	mixture, flow := gaussian(t, ip)
	for _, c := range []struct {
		twist steer.Estimator
		few   bool
	}{{nil, true}, {exact(t, mixture, ip, r), false}} {
		m := steer.SMC{Config: config(steer.SDE, 400), Particles: 512, Twist: c.twist, Resampling: steer.Systematic}
		got := sample(t, newSteerer(t, flow, r.Reward(), m), 1, 512)
		sum, squares := 0.0, 0.0
		for _, w := range got.LogWeights {
			sum, squares = sum+math.Exp(w), squares+math.Exp(2*w)
		}
		shares := got.Series.Particles
		if last, want := shares[len(shares)-1], min(sum*sum/squares/512, 1); math.Abs(last-want) > 0.02*want && c.few {
			t.Errorf("%v: the effective share of particles in the last step is %g, want %g", m, last, want)
		}
		warnings := got.Series.Warnings(steer.DefaultThresholds(), 1)
		warned := slices.ContainsFunc(warnings, func(w string) bool {
			return strings.Contains(w, "particles carry the weight")
		})
		if warned != c.few {
			t.Errorf("%v: a warning of few particles is %t, want %t; the last shares are %v",
				m, warned, c.few, shares[len(shares)-5:])
		}
	}
}

// With the exact value as the twist all weights are equal, up to the error of the steps.
func TestSMCWithTheExactTwist(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	mixture, flow := gaussian(t, ip)
	_, logZ := tilt(t, mixture, r)
	c := steer.SMC{
		Config: config(steer.SDE, 1000), Particles: 256, Twist: exact(t, mixture, ip, r), Resampling: steer.Systematic,
	}
	got := sample(t, newSteerer(t, flow, r.Reward(), c), 1, 256)
	sum, squares := 0.0, 0.0
	for _, w := range got.LogWeights {
		sum, squares = sum+math.Exp(w), squares+math.Exp(2*w)
	}
	if size := sum * sum / squares; size < 240 {
		t.Errorf("the effective sample size is %g of 256, want at least 240", size)
	}
	if math.Abs(got.LogZ[0]-logZ) > 0.05 {
		t.Errorf("log Z is %g, want %g", got.LogZ[0], logZ)
	}
}

// Best-of-N has the rewards of the best of N samples of the distribution; λ < 0 selects the worst.
func TestBestOf(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	const n, best = 2000, 5
	m := steer.BestOf{Config: config(steer.ODE, 100), N: best}
	s := newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m)
	s.Batch = 4000
	worst := m
	worst.Lambda = -1
	bad := newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), worst)
	bad.Batch = 4000
	for sign, got := range map[float64]*steer.Result{1: sample(t, s, 2, n), -1: sample(t, bad, 2, n)} {
		var want, rewards [][]float64
		rng := rand.New(rand.NewPCG(1, 1))
		for range n {
			top := math.Inf(-1)
			for _, x := range mixture.Sample(rng, best) {
				top = max(top, sign*r.At(x))
			}
			want = append(want, []float64{top})
		}
		for _, v := range got.Rewards {
			rewards = append(rewards, []float64{sign * v})
		}
		a, seA := meanSE(rewards, 0)
		b, seB := meanSE(want, 0)
		if math.Abs(a-b) > 4*math.Hypot(seA, seB)+0.02*math.Abs(b) {
			t.Errorf("λ = %g: mean reward %.4f ± %.4f, want %.4f ± %.4f", sign, a, seA, b, seB)
		}
	}
}

// A search with one posterior sample selects nothing and draws from the data distribution, for
// either transition; with more samples the reward rises.
func TestSearch(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	const n = 4000
	projections := metric.Projections2D(64)
	rng := rand.New(rand.NewPCG(1, 1))
	distance := func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) }
	floor, se, err := metric.Floor(distance, func(rng *rand.Rand) [][]float64 { return mixture.Sample(rng, n) }, rng, 8)
	if err != nil {
		t.Fatal(err)
	}
	mean := func(v []float64) (m float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		return m
	}
	for _, transition := range []steer.Transition{steer.Renoise, steer.DDPM} {
		for _, selection := range []steer.Selection{steer.Greedy, steer.SoftmaxSelection} {
			m := steer.Search{
				Config: config(steer.SDE, 20), Particles: 1, N: 1, Selection: selection, Transition: transition,
			}
			plain := sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			d, err := metric.SlicedW2(mfm.Rows(plain.Samples, 2), mixture.Sample(rng, n), projections)
			if err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%v with one sample: sliced W2 to the data distribution is %.4f, want at most %.4f",
					m, d, limit)
			}
			m.Particles, m.N, m.Lambda = 2, 2, 0 // all samples have the same reward
			plain = sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			if d, err = metric.SlicedW2(mfm.Rows(plain.Samples, 2), mixture.Sample(rng, n), projections); err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%v with λ = 0: sliced W2 to the data distribution is %.4f, want at most %.4f", m, d, limit)
			}
			m.N, m.Lambda = 4, 1
			found := sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			if a, b := mean(found.Rewards), mean(plain.Rewards); !(a > b/2) {
				t.Errorf("%v: the mean reward is %.3f, with λ = 0 %.3f", m, a, b)
			}
		}
	}
}
