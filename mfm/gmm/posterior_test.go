package gmm_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// Bayes' rule: log p_{1|t}(y|x) = log p_1(y) + log N(x; β y, α² I) - log p_t(x) at every y.
func TestPosteriorIsBayes(t *testing.T) {
	cases(t, interior, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		alpha, beta, _, _ := sched.At(time)
		post := m.Posterior(sched, time, x)
		rng := newRNG(11)
		for _, y := range append(post.Sample(rng, 2), m.Sample(rng, 2)...) {
			likelihood := -float64(m.Dim()) / 2 * math.Log(2*math.Pi*alpha*alpha)
			for j := range x {
				likelihood -= (x[j] - beta*y[j]) * (x[j] - beta*y[j]) / (2 * alpha * alpha)
			}
			want := m.LogDensity(y) + likelihood - m.LogMarginal(sched, time, x)
			near(t, "log density of the posterior", []float64{post.LogDensity(y)}, []float64{want}, 1e-11)
		}
		near(t, "mean", post.Mean(), m.Denoiser(sched, time, x), 1e-12)
		near(t, "weights", post.Weights(), m.PosteriorWeights(sched, time, x), 1e-15)
	})
}

func TestPosteriorAtTheEnds(t *testing.T) {
	cases(t, []float64{0}, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, _ float64, x []float64) {
		prior := m.Posterior(sched, 0, x)
		near(t, "weights at t = 0", prior.Weights(), m.Weights(), 1e-14)
		for k := range prior.Len() {
			gotMean, gotCov := prior.Component(k)
			wantMean, wantCov := m.Component(k)
			near(t, "mean at t = 0", gotMean, wantMean, 1e-14)
			for i := range gotCov {
				near(t, "covariance at t = 0", gotCov[i], wantCov[i], 1e-14)
			}
		}
		point := m.Posterior(sched, 1, x)
		near(t, "mean at t = 1", point.Mean(), x, 1e-12)
		near(t, "root mean square deviation at t = 1", []float64{point.Std()}, []float64{0}, 1e-7)
	})
}

// The posterior of the posterior, given a second observation of the same I_1, is the posterior
// given both observations, whose precisions add. So at s it equals the posterior of the mixture at
// the effective time t* (the GLASS identity).
func TestConditionalDriftIsGLASS(t *testing.T) {
	cases(t, interior, func(t *testing.T, m *gmm.Mixture, _ interpolant.Schedule, time float64, x []float64) {
		rng := newRNG(13)
		for _, s := range []float64{0.02, 0.3, 0.7, 0.97} {
			xbar := marginalSample(m, linear{}, s, rng)
			snrT, snrS := time/(1-time), s/(1-s)
			lambda := snrT*snrT + snrS*snrS
			star := math.Sqrt(lambda) / (1 + math.Sqrt(lambda))
			combined := make([]float64, m.Dim())
			floats.AddScaled(combined, star*time/((1-time)*(1-time))/lambda, x)
			floats.AddScaled(combined, star*s/((1-s)*(1-s))/lambda, xbar)
			want := m.Denoiser(linear{}, star, combined)
			near(t, "denoiser", m.ConditionalDenoiser(linear{}, s, xbar, time, x), want, 1e-11)
			floats.Sub(want, xbar)
			floats.Scale(1/(1-s), want)
			near(t, "drift", m.ConditionalDrift(linear{}, s, xbar, time, x), want, 1e-11)
		}
	})
}

// Reference values of the conditional drift and of b_t for a random isotropic mixture, from another
// implementation.
func TestConditionalDriftGolden(t *testing.T) {
	tensors := readGolden(t, "glass_2d.safetensors")
	m := goldenMixture(t, tensors)
	x, xbar := pairs(tensors["x"]), pairs(tensors["x_bar"])
	drift, b := pairs(tensors["drift"]), pairs(tensors["b"])
	for i, time := range tensors["t"] {
		s := tensors["s"][i]
		near(t, "drift", m.ConditionalDrift(linear{}, s, xbar[i], time, x[i]), drift[i], 1e-10)
		near(t, "b", m.Drift(linear{}, time, x[i]), b[i], 1e-10)
	}
}

// Noise transported by the conditional drift has the moments of the posterior. Heun's method with
// 50 steps is exact to 1e-3; the standard error of 1,000 particles is 3% of the standard deviation.
func TestConditionalDriftReachesPosterior(t *testing.T) {
	m := regular(t)["full"]
	rng := newRNG(17)
	const n, steps, time = 1000, 50, 0.3
	x := []float64{0.2, 0.4}
	for name, sched := range schedules {
		post := m.Posterior(sched, time, x)
		ends := make([][]float64, n)
		for i := range ends {
			y := noise(rng, 2)
			for step := range steps {
				s, h := float64(step)/steps, 1./steps
				v := post.Drift(sched, s, y)
				w := post.Drift(sched, s+h, floats.AddScaledTo(make([]float64, 2), y, h, v))
				floats.AddScaled(y, h/2, v)
				floats.AddScaled(y, h/2, w)
			}
			ends[i] = y
		}
		checkMoments(t, name, ends, post, 1e-3)
	}
}

// A mixture of points is the limit of small covariances. Its weights are a softmax of squared
// distances.
func TestPointsAreTheLimitOfSmallCovariances(t *testing.T) {
	rng := newRNG(19)
	data := gmm.Paper().Sample(rng, 30)
	points, err := gmm.Points(data)
	if err != nil {
		t.Fatal(err)
	}
	ones, small := make([]float64, len(data)), make([][][]float64, len(data))
	for i := range data {
		ones[i], small[i] = 1, [][]float64{{1e-9, 0}, {0, 1e-9}}
	}
	blurred := must(t, ones, data, small)
	for name, sched := range schedules {
		for _, time := range []float64{0, 0.2, 0.6, 0.9} {
			alpha, beta, _, _ := sched.At(time)
			x := marginalSample(points, sched, time, rng)
			logits := make([]float64, len(data))
			for i, y := range data {
				d := math.Hypot(x[0]-beta*y[0], x[1]-beta*y[1])
				logits[i] = -d * d / (2 * alpha * alpha)
			}
			floats.AddConst(-floats.LogSumExp(logits), logits)
			mean := make([]float64, 2)
			for i, l := range logits {
				logits[i] = math.Exp(l)
				floats.AddScaled(mean, logits[i], data[i])
			}
			near(t, name+": weights", points.PosteriorWeights(sched, time, x), logits, 1e-12)
			near(t, name+": denoiser", points.Denoiser(sched, time, x), mean, 1e-12)
			near(t, name+": drift", points.Drift(sched, time, x), blurred.Drift(sched, time, x), 1e-5)
			near(t, name+": score", points.Score(sched, time, x), blurred.Score(sched, time, x), 1e-5)
			near(t, name+": posterior mean", points.Posterior(sched, time, x).Mean(), mean, 1e-12)
		}
		// At t = 1 only the nearest point remains.
		x := []float64{data[3][0] + 1e-3, data[3][1]}
		near(t, name+": denoiser at t = 1", points.Denoiser(sched, 1, x), data[3], 1e-12)
		near(t, name+": sample at t = 1", points.Posterior(sched, 1, x).Sample(rng, 1)[0], data[3], 0)
	}
}

// A covariance that is singular in one direction gives finite results at every t.
func TestDegenerateIsFinite(t *testing.T) {
	m := degenerate(t)
	rng := newRNG(23)
	for name, sched := range schedules {
		for _, time := range []float64{0, 0.5, 1 - 0x1p-53, 1} {
			x := m.Sample(rng, 1)[0]
			for what, v := range map[string][]float64{
				"drift":             m.Drift(sched, time, x),
				"denoiser":          m.Denoiser(sched, time, x),
				"score":             m.Score(sched, time, x),
				"density":           {m.LogMarginal(sched, time, x)},
				"conditional drift": m.ConditionalDrift(sched, time, x, time, x),
			} {
				for _, e := range v {
					if math.IsNaN(e) || math.IsInf(e, 0) {
						t.Errorf("%s: %s at t = %v, x = %v is %v", name, what, time, x, v)
					}
				}
			}
		}
	}
}
