package gmm_test

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// caseFunc checks a mixture at a time and a point.
type caseFunc func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64)

// cases calls f for every regular mixture, every schedule and samples of I_t.
func cases(t *testing.T, times []float64, f caseFunc) {
	for mixture, m := range regular(t) {
		for schedule, sched := range schedules {
			t.Run(mixture+"/"+schedule, func(t *testing.T) {
				rng := newRNG(7)
				for _, time := range times {
					for range 4 {
						f(t, m, sched, time, marginalSample(m, sched, time, rng))
					}
				}
			})
		}
	}
}

var interior = []float64{0.1, 0.5, 0.9}

// logNormal returns the log density of N(mean, cov) by Cholesky factors, where the package uses
// eigenvectors.
func logNormal(t *testing.T, x, mean []float64, cov [][]float64) float64 {
	t.Helper()
	dim := len(x)
	sym := mat.NewSymDense(dim, nil)
	for i, row := range cov {
		for j, v := range row {
			sym.SetSym(i, j, v)
		}
	}
	var factors mat.Cholesky
	if !factors.Factorize(sym) {
		t.Fatalf("covariance %v is not positive definite", cov)
	}
	var white mat.VecDense
	d := mat.NewVecDense(dim, floats.SubTo(make([]float64, dim), x, mean))
	if err := factors.SolveVecTo(&white, d); err != nil {
		t.Fatal(err)
	}
	return -(mat.Dot(d, &white) + factors.LogDet() + float64(dim)*math.Log(2*math.Pi)) / 2
}

func TestLogDensityAgainstCholesky(t *testing.T) {
	rng := newRNG(1)
	for name, m := range regular(t) {
		for range 10 {
			x := m.Sample(rng, 1)[0]
			var terms []float64
			for k, w := range m.Weights() {
				mean, cov := m.Component(k)
				terms = append(terms, math.Log(w)+logNormal(t, x, mean, cov))
			}
			want := []float64{floats.LogSumExp(terms)}
			near(t, name, []float64{m.LogDensity(x)}, want, 1e-12)
			near(t, name+" at t = 1", []float64{m.LogMarginal(linear{}, 1, x)}, want, 1e-12)
		}
	}
}

// The drift transports p_t: ∂_t p_t + ∇·(p_t b_t) = 0.
func TestDriftSolvesContinuityEquation(t *testing.T) {
	cases(t, interior, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		p := func(time float64, x []float64) float64 { return math.Exp(m.LogMarginal(sched, time, x)) }
		change := derivative(func(time float64) float64 { return p(time, x) }, time)
		divergence, scale := 0.0, math.Abs(change)
		for j := range x {
			term := derivative(func(d float64) float64 {
				y := along(x, j, d)
				return p(time, y) * m.Drift(sched, time, y)[j]
			}, 0)
			divergence += term
			scale += math.Abs(term)
		}
		if residual := math.Abs(change + divergence); residual > 1e-6*scale {
			t.Errorf("t = %v, x = %v: ∂p = %v, ∇·(p b) = %v", time, x, change, divergence)
		}
	})
}

func TestScoreIsGradientOfLogDensity(t *testing.T) {
	cases(t, interior, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		want := make([]float64, m.Dim())
		for j := range want {
			want[j] = derivative(func(d float64) float64 { return m.LogMarginal(sched, time, along(x, j, d)) }, 0)
		}
		near(t, fmt.Sprintf("score at t = %v", time), m.Score(sched, time, x), want, 1e-7)
	})
}

// Tweedie's formula D = (x + α² ∇ log p)/β, and b = (α'/α) x + (β' - α' β/α) D.
func TestDenoiserScoreAndDriftAgree(t *testing.T) {
	cases(t, interior, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		alpha, beta, dAlpha, dBeta := sched.At(time)
		denoised := m.Denoiser(sched, time, x)
		tweedie := append([]float64(nil), x...)
		floats.AddScaled(tweedie, alpha*alpha, m.Score(sched, time, x))
		floats.Scale(1/beta, tweedie)
		near(t, "denoiser by Tweedie", denoised, tweedie, 1e-12)
		drift := make([]float64, m.Dim())
		floats.AddScaled(drift, dAlpha/alpha, x)
		floats.AddScaled(drift, dBeta-dAlpha*beta/alpha, denoised)
		near(t, "drift by the denoiser", m.Drift(sched, time, x), drift, 1e-12)
	})
}

// At t = 0 I_0 = x is independent of I_1, so b = α' x + β' E[I_1]. At t = 1 I_1 = x is independent
// of I_0, so b = β' x.
func TestLimitsAtTheEnds(t *testing.T) {
	ends := []float64{0, 1}
	cases(t, ends, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		alpha, beta, dAlpha, dBeta := sched.At(time)
		denoised, drift := make([]float64, m.Dim()), make([]float64, m.Dim())
		floats.AddScaled(denoised, alpha, m.Mean())
		floats.AddScaled(denoised, beta, x)
		floats.AddScaledTo(drift, drift, dBeta, denoised)
		floats.AddScaled(drift, dAlpha*alpha, x)
		near(t, "denoiser", m.Denoiser(sched, time, x), denoised, 1e-12)
		near(t, "drift", m.Drift(sched, time, x), drift, 1e-12)
	})
}

// E[I_1 | I_t = x] by importance sampling: samples of I_1 weighted by N(x; β I_1, α² I), within 3.5
// standard errors (for about 60 numbers).
func TestDenoiserMonteCarlo(t *testing.T) {
	samples := make(map[*gmm.Mixture][][]float64)
	times := []float64{0.2, 0.6}
	cases(t, times, func(t *testing.T, m *gmm.Mixture, sched interpolant.Schedule, time float64, x []float64) {
		if samples[m] == nil {
			samples[m] = m.Sample(newRNG(3), 40000)
		}
		alpha, beta, _, _ := sched.At(time)
		weights := make([]float64, len(samples[m]))
		for i, y := range samples[m] {
			for j := range y {
				weights[i] -= (x[j] - beta*y[j]) * (x[j] - beta*y[j]) / (2 * alpha * alpha)
			}
		}
		total := floats.LogSumExp(weights)
		got := m.Denoiser(sched, time, x)
		for j := range x {
			mean, square := 0.0, 0.0
			for i, y := range samples[m] {
				mean += math.Exp(weights[i]-total) * y[j]
			}
			for i, y := range samples[m] {
				square += math.Exp(2*(weights[i]-total)) * (y[j] - mean) * (y[j] - mean)
			}
			if se := math.Sqrt(square); math.Abs(got[j]-mean) > 3.5*se {
				t.Errorf("t = %v, coordinate %d: got %v, Monte Carlo %v ± %v", time, j, got[j], mean, se)
			}
		}
	})
}

func TestWrongDimensionPanics(t *testing.T) {
	m := gmm.Paper()
	for name, f := range map[string]func(x []float64){
		"LogDensity": func(x []float64) { m.LogDensity(x) },
		"Drift":      func(x []float64) { m.Drift(linear{}, 0.5, x) },
		"Posterior":  func(x []float64) { m.Posterior(linear{}, 0.5, x) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic for three coordinates and a mixture in two dimensions", name)
				}
			}()
			f([]float64{1, 2, 3})
		}()
	}
}
