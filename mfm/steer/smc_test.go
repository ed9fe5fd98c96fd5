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
	"github.com/gomfm/gomfm/mfm/steer"
)

// The estimate of E[e^r] has no bias, whatever twist and resampling; and weighted particles have the target's mean. What is left is the error of the SDE's steps.
func TestSMC(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	law, flow := gaussian(t, ip)
	target, logZ := tilt(t, law, r)
	const particles, sets = 32, 200
	for _, c := range []steer.SMC{
		{Resampling: steer.Systematic, Threshold: 0.5, Twist: steer.DPS{}},
		{Resampling: steer.Stratified, Threshold: 1, Twist: steer.DPS{}},
		{Resampling: steer.Multinomial, Threshold: 0.5, Twist: steer.DPS{}},
		{Resampling: steer.Systematic, Threshold: 0, Twist: nil},
		{Resampling: steer.Systematic, Threshold: 0.5, Twist: steer.MFMG{Draws: steer.Draws{N: 64, LeaveOneOut: true}}},
		{Resampling: steer.Systematic, Threshold: 0.5, Twist: exact(t, law, ip, r)},
	} {
		c.Config, c.Particles = config(steer.SDE, 150), particles
		got := sample(t, newSteerer(t, flow, r.Reward(), c), 1, particles*sets)
		if len(got.LogZ) != sets || len(got.LogWeights) != particles*sets {
			t.Fatalf("%v: %d constants and %d weights for %d sets of %d", c, len(got.LogZ), len(got.LogWeights), sets, particles)
		}
		// Each set's Ẑ, and Ẑ times its weighted mean, whose expectations are Z and Z E*[x].
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
				t.Errorf("%v, %s, threshold %g: figure %d is %.4f ± %.4f, want %.4f", c, c.Resampling, c.Threshold, i, mean, se, want)
			}
		}
	}
}

// A reward that has no weight on one side of a line: particles all of whose draws are there count little, not by what rounding makes of them, and Ẑ has no bias.
func TestSMCWithoutWeight(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip := interpolant.Linear{}
	law, flow := gaussian(t, ip)
	a, offset := []float64{1, -1}, 2.0
	inside := func(x *Node) *Node { // 0 or -Inf
		at := Sub(Slice(x, AxisRange(), AxisElem(0)), Slice(x, AxisRange(), AxisElem(1)))
		return Log(ConvertDType(GreaterThan(Reshape(at, -1), Scalar(x.Graph(), x.DType(), offset)), x.DType()))
	}
	mean, variance := 0.0, 0.0
	for i, m := range law.Mean() {
		mean += a[i] * m
		for j := range a {
			variance += a[i] * a[j] * law.Covariance()[i][j]
		}
	}
	want := math.Erfc((offset-mean)/math.Sqrt(2*variance)) / 2
	const particles, sets = 32, 100
	for _, threshold := range []float64{0, 0.5} { // resampling at each step would need more draws: what is kept is kept for lucky draws, and the weights get heavy tails
		c := steer.SMC{Config: config(steer.SDE, 100), Particles: particles, Twist: steer.MFMGF{Draws: steer.Draws{N: 64}, Baseline: steer.MeanBaseline}, Resampling: steer.Systematic, Threshold: threshold}
		got := sample(t, newSteerer(t, flow, inside, c), 1, particles*sets)
		var z [][]float64
		for _, l := range got.LogZ {
			z = append(z, []float64{math.Exp(l) / want})
		}
		if mean, se := meanSE(z, 0); math.Abs(mean-1) > 4*se+0.02 || se > 0.3 {
			t.Errorf("threshold %g: the mean of Ẑ/Z is %.3f ± %.3f, Z = %.3f", threshold, mean, se, want)
		}
	}
}

// Without a twist particles are weighted at the end alone, and the series say how few count then; with the exact one nearly all do.
func TestParticlesThatCount(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	r.Sigma = 0.05
	law, flow := gaussian(t, ip)
	for _, c := range []struct {
		twist steer.Estimator
		few   bool
	}{{nil, true}, {exact(t, law, ip, r), false}} {
		m := steer.SMC{Config: config(steer.SDE, 400), Particles: 512, Twist: c.twist, Resampling: steer.Systematic}
		got := sample(t, newSteerer(t, flow, r.Reward(), m), 1, 512)
		sum, squares := 0.0, 0.0
		for _, w := range got.LogWeights {
			sum, squares = sum+math.Exp(w), squares+math.Exp(2*w)
		}
		shares := got.Series.Particles
		if last, want := shares[len(shares)-1], min(sum*sum/squares/512, 1); math.Abs(last-want) > 0.02*want && c.few {
			t.Errorf("%v: in the last step %g of the particles count, want %g", m, last, want)
		}
		warned := slices.ContainsFunc(got.Series.Warnings(steer.DefaultThresholds(), 1), func(w string) bool { return strings.Contains(w, "particles carry the weight") })
		if warned != c.few {
			t.Errorf("%v: warned of few particles: %v; shares %v", m, warned, shares[len(shares)-5:])
		}
	}
}

// With the exact value as its twist the weights are all alike, but for the error of the steps.
func TestSMCWithTheExactTwist(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	law, flow := gaussian(t, ip)
	_, logZ := tilt(t, law, r)
	c := steer.SMC{Config: config(steer.SDE, 1000), Particles: 256, Twist: exact(t, law, ip, r), Resampling: steer.Systematic}
	got := sample(t, newSteerer(t, flow, r.Reward(), c), 1, 256)
	sum, squares := 0.0, 0.0
	for _, w := range got.LogWeights {
		sum, squares = sum+math.Exp(w), squares+math.Exp(2*w)
	}
	if size := sum * sum / squares; size < 240 {
		t.Errorf("%g of 256 particles count", size)
	}
	if math.Abs(got.LogZ[0]-logZ) > 0.05 {
		t.Errorf("log Z is %g, want %g", got.LogZ[0], logZ)
	}
}

// Best-of-N has the rewards of the best of N draws from the law.
func TestBestOf(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	law, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	const n, best = 2000, 5
	s := newSteerer(t, steer.FromMixture(law, ip), r.Reward(), steer.BestOf{Config: config(steer.ODE, 100), N: best})
	s.Batch = 4000
	worst := steer.BestOf{Config: config(steer.ODE, 100), N: best}
	worst.Lambda = -1
	bad := newSteerer(t, steer.FromMixture(law, ip), r.Reward(), worst)
	bad.Batch = 4000
	for sign, got := range map[float64]*steer.Result{1: sample(t, s, 2, n), -1: sample(t, bad, 2, n)} {
		var want, rewards [][]float64
		rng := rand.New(rand.NewPCG(1, 1))
		for range n {
			top := math.Inf(-1)
			for _, x := range law.Sample(rng, best) {
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

// With one draw a search chooses nothing and has the data's law, by either transition; with more the reward rises.
func TestSearch(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	law, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	const n = 4000
	projections := metric.Projections2D(64)
	rng := rand.New(rand.NewPCG(1, 1))
	floor, se, err := metric.Floor(func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) },
		func(rng *rand.Rand) [][]float64 { return law.Sample(rng, n) }, rng, 8)
	if err != nil {
		t.Fatal(err)
	}
	mean := func(v []float64) (m float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		return m
	}
	for _, transition := range []steer.Transition{steer.Renoise, steer.Keep} {
		for _, selection := range []steer.Selection{steer.Greedy, steer.Pooled} {
			m := steer.Search{Config: config(steer.SDE, 20), Particles: 1, N: 1, Selection: selection, Transition: transition}
			plain := sample(t, newSteerer(t, steer.FromMixture(law, ip), r.Reward(), m), 1, n)
			d, err := metric.SlicedW2(mfm.Rows(plain.Samples, 2), law.Sample(rng, n), projections)
			if err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%v with one draw: sliced W2 %.4f to the data's law, want at most %.4f", m, d, limit)
			}
			m.Particles, m.N, m.Lambda = 2, 2, 0 // several, of which none is better
			plain = sample(t, newSteerer(t, steer.FromMixture(law, ip), r.Reward(), m), 1, n)
			if d, err = metric.SlicedW2(mfm.Rows(plain.Samples, 2), law.Sample(rng, n), projections); err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%v without a reward: sliced W2 %.4f to the data's law, want at most %.4f", m, d, limit)
			}
			m.N, m.Lambda = 4, 1
			found := sample(t, newSteerer(t, steer.FromMixture(law, ip), r.Reward(), m), 1, n)
			if a, b := mean(found.Rewards), mean(plain.Rewards); !(a > b/2) {
				t.Errorf("%v: mean reward %.3f, of one draw %.3f", m, a, b)
			}
		}
	}
}
