package steer_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// The exact value is log Z of the tilted posterior, and its gradient is the derivative of the
// value.
func TestExactValue(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	e := exact(t, mixture, ip, r)
	for _, at := range []float64{0.1, 0.5, 0.9} {
		x := states(mixture, ip, at, 8)
		values, gradients := estimates(t, e, steer.FromMixture(mixture, ip), r.Reward(), at, x, 1)
		value := func(x []float64) float64 {
			_, v, err := mixture.Posterior(ip, at, x).Tilt(r.A, r.Y, r.Sigma)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		for i, p := range x {
			if want := value(p); math.Abs(values[0][i]-want) > 1e-8*(1+math.Abs(want)) {
				t.Errorf("t = %g, x = %v: value %g, want %g", at, p, values[0][i], want)
			}
			for j := range p {
				const h = 1e-5
				up, down := append([]float64(nil), p...), append([]float64(nil), p...)
				up[j] += h
				down[j] -= h
				want, got := (value(up)-value(down))/(2*h), gradients[0][2*i+j]
				if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
					t.Errorf("t = %g, x = %v: gradient %g, want %g", at, p, got, want)
				}
			}
		}
	}
}

// DPS returns the reward of the posterior mean, λ r(D_t(x)), and its gradient in x.
func TestDPS(t *testing.T) {
	mixture, r := gmm.Paper(), measured()
	for _, ip := range []interpolant.Schedule{interpolant.Linear{}, interpolant.VariancePreserving{}} {
		for _, at := range []float64{0.1, 0.5, 0.9} {
			x := states(mixture, ip, at, 8)
			values, gradients := estimates(t, steer.DPS{}, steer.FromMixture(mixture, ip), r.Reward(), at, x, 1)
			value := func(x []float64) float64 { return r.At(mixture.Posterior(ip, at, x).Mean()) }
			for i, p := range x {
				if want := value(p); math.Abs(values[0][i]-want) > 1e-8*(1+math.Abs(want)) {
					t.Errorf("%v, t = %g, x = %v: value %g, want %g", ip, at, p, values[0][i], want)
				}
				for j := range p {
					const h = 1e-5
					up, down := append([]float64(nil), p...), append([]float64(nil), p...)
					up[j] += h
					down[j] -= h
					want, got := (value(up)-value(down))/(2*h), gradients[0][2*i+j]
					if math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
						t.Errorf("%v, t = %g, x = %v: gradient %g, want %g", ip, at, p, got, want)
					}
				}
			}
		}
	}
}

// gaussian returns a Gaussian and its exact model, whose posterior samples are differentiable
// functions of noise, as MFM-G needs.
func gaussian(t testing.TB, ip interpolant.Schedule) (*gmm.Mixture, steer.Model) {
	t.Helper()
	mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	return mixture, steer.FromGaussian(mixture, ip)
}

// With many samples every estimator agrees with the exact value and gradient: the mean of many
// estimates is within its standard error, apart from the bias of order 1/N, which is half the
// variance.
func TestEstimatorsAgreeWithTheOracle(t *testing.T) {
	ip, r := interpolant.Linear{}, measured()
	mixture := gmm.Paper()
	exactPosterior := steer.FromMixture(mixture, ip)
	single, flow := gaussian(t, ip)
	const n, repeats = 512, 60
	for _, c := range []struct {
		e          steer.Estimator
		m          steer.Model
		mixture    *gmm.Mixture
		jackknifed bool
	}{
		{steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n}}, flow, single, false},
		{steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n, Antithetic: true}}, flow, single, false},
		{steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n, LeaveOneOut: true}}, flow, single, true},
		{steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n, Shared: true}}, flow, single, false},
		{steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: n}, Baseline: steer.MeanBaseline}, exactPosterior,
			mixture, false},
		{steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: n}, Baseline: steer.DenoiserBaseline}, exactPosterior,
			mixture, false},
		{steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: n, LeaveOneOut: true},
			Baseline: steer.DenoiserBaseline}, exactPosterior,
			mixture, true},
		{steer.WeightedDiamond{N: n, SNR: 4}, flow, single, true},
		{steer.WeightedDiamond{N: n, SNR: 20}, flow, single, true},
	} {
		for _, at := range []float64{0.3, 0.8} {
			x := states(c.mixture, ip, at, 4)
			want, wantGradient := estimates(t, exact(t, c.mixture, ip, r), c.m, r.Reward(), at, x, 1)
			values, gradients := estimates(t, c.e, c.m, r.Reward(), at, x, repeats)
			check := func(what string, runs [][]float64, want []float64) {
				for i, w := range want {
					mean, se := meanSE(runs, i)
					variance := se * se * repeats
					if allowed := 4*se + 2*variance + 1e-6*(1+math.Abs(w)); math.Abs(mean-w) > allowed {
						t.Errorf("%T %+v at t = %g: %s %d is %.4f ± %.4f, want %.4f",
							c.e, c.e, at, what, i, mean, se, w)
					}
				}
			}
			check("value", values, want[0])
			if !c.jackknifed { // e^V̂ is a plain mean of e^{λ r}, unbiased for any N
				for i, w := range want[0] {
					ratios := make([][]float64, len(values))
					for k, run := range values {
						ratios[k] = []float64{math.Exp(run[i] - w)}
					}
					if mean, se := meanSE(ratios, 0); math.Abs(mean-1) > 3.5*se+1e-6 {
						t.Errorf("%T %+v at t = %g: e^V of state %d is %.4f ± %.4f times the exact one",
							c.e, c.e, at, i, mean, se)
					}
				}
			}
			check("gradient", gradients, wantGradient[0])
		}
	}
}

// The value estimated from N samples is too low by Var[e^r]/(2 N E[e^r]²) to leading order; the
// jackknife removes this bias.
func TestBiasOfTheValue(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	r.Sigma = 0.3
	m, at := steer.FromMixture(mixture, ip), 0.4
	x := states(mixture, ip, at, 2)
	want, _ := estimates(t, exact(t, mixture, ip, r), m, r.Reward(), at, x, 1)
	const repeats = 3000
	bias := func(n int, jackknife bool, i int) (mean, se float64) {
		samples := steer.PosteriorSamples{N: n, LeaveOneOut: jackknife}
		gf := steer.MFMGF{PosteriorSamples: samples, Baseline: steer.MeanBaseline}
		values, _ := estimates(t, gf, m, r.Reward(), at, x, repeats)
		mean, se = meanSE(values, i)
		return mean - want[0][i], se
	}
	for i := range x {
		few, fewSE := bias(16, false, i)
		many, manySE := bias(64, false, i)
		if few > -4*fewSE {
			t.Errorf("state %d: with 16 samples the bias is %g ± %g, want it negative", i, few, fewSE)
		}
		if math.Abs(few-4*many) > 4*(fewSE+4*manySE)+0.3*math.Abs(few) {
			t.Errorf("state %d: the bias is %g with 16 samples and %g with 64, want a quarter", i, few, many)
		}
		if jack, se := bias(16, true, i); math.Abs(jack) > 4*se+0.35*math.Abs(few) {
			t.Errorf("state %d: the bias is %g ± %g with the jackknife, %g without", i, jack, se, few)
		}
	}
}

// freshDPS is DPS that evaluates the drift again in each step.
type freshDPS struct{ steer.DPS }

func (freshDPS) String() string { return "fresh-dps" }

func (m freshDPS) Estimate(
	p steer.Problem, rng *solver.RNG, counter *steer.Counter, t, x, drift *Node, gradient bool,
) steer.Estimate {
	p.DriftInX = false
	return m.DPS.Estimate(p, rng, counter, t, x, drift, gradient)
}

// The denoiser from the drift of the step gives the samples of one that is evaluated again, up to
// rounding, and saves an evaluation in each step but the first.
func TestDPSReusesTheDrift(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	m, k := steer.FromMixture(mixture, ip), steps(t, 20)
	heun := config(steer.ODE, k)
	heun.Solver = solver.Heun
	for name, c := range map[string]steer.Config{
		"ODE": config(steer.ODE, k), "SDE": config(steer.SDE, k), "Heun": heun,
	} {
		const n = 100
		got := sample(t, newSteerer(t, m, r, steer.Guided{Config: c, Estimator: steer.DPS{}}), 1, n)
		want := sample(t, newSteerer(t, m, r, steer.Guided{Config: c, Estimator: freshDPS{}}), 1, n)
		for i, v := range want.Samples {
			if math.Abs(float64(got.Samples[i]-v)) > 1e-4*(1+math.Abs(float64(v))) {
				t.Errorf("%s: element %d is %g, with a drift that is evaluated again %g", name, i, got.Samples[i], v)
			}
		}
		saved := k - 1
		if name == "Heun" {
			saved = 2 * (k - 1)
		}
		if got.Counts.Network != want.Counts.Network-int64(n*saved) ||
			got.Counts.NetworkBackward != want.Counts.NetworkBackward {
			t.Errorf("%s: %+v, with a drift that is evaluated again %+v, want %d less for each sample",
				name, got.Counts, want.Counts, saved)
		}
	}
}
