package mfm_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// states returns flat samples of dim elements as states of a sampler.
func states(flat []float32, dim int) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(flat, len(flat)/dim, dim)
}

func configured(method mfm.Sampling, solver solver.Scheme, steps int, power float64) mfm.SamplerConfig {
	c := mfm.DefaultSamplerConfig()
	c.Method, c.Solver, c.Steps, c.Power = method, solver, steps, power
	return c
}

func mapSampler(t testing.TB, ip interpolant.Schedule, config mfm.SamplerConfig) *mfm.Sampler {
	t.Helper()
	m := mfmtest.ExactMap(t, mfmtest.Gaussian(t), ip)
	s, err := mfm.NewSampler(backendtest.New(t),
		mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2}}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	return s
}

func teacherSampler(
	t testing.TB, ip interpolant.Schedule, mixture *gmm.Mixture, config mfm.SamplerConfig,
) *mfm.Sampler {
	t.Helper()
	drift := mfmtest.DriftOf(mixture, ip)
	s, err := mfm.NewTeacherSampler(backendtest.New(t), model.NewStore(), ip, drift, []int{2}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	return s
}

// Every method samples the posterior of Gaussian data, and the data distribution; the map does so
// in one step. bias is the error of the method's steps.
func TestSamplersOnGaussian(t *testing.T) {
	mixture, ctx := mfmtest.Gaussian(t), context.Background()
	const n = 6000
	x := []float32{0.9, -1.1}
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		samplers := map[string]*mfm.Sampler{
			"one step": mapSampler(t, ip, mfm.DefaultSamplerConfig()),
		}
		if ip == (interpolant.Linear{}) {
			samplers["map"] = mapSampler(t, ip, configured(mfm.MapSampling, "", 5, 1))
			samplers["refine"] = mapSampler(t, ip, configured(mfm.RefineSampling, "", 4, 1))
			samplers["euler"] = mapSampler(t, ip, configured(mfm.ODESampling, solver.Euler, 100, 1))
			samplers["heun"] = mapSampler(t, ip, configured(mfm.ODESampling, solver.Heun, 24, 1))
			samplers["GLASS"] = teacherSampler(t, ip, mixture, configured(mfm.ODESampling, solver.Heun, 24, 1))
			samplers["sde"] = mapSampler(t, ip, configured(mfm.SDESampling, "", 100, 1))
			samplers["GLASS sde"] = teacherSampler(t, ip, mixture, configured(mfm.SDESampling, "", 100, 1))
		}
		bias := map[string]float64{"euler": 0.02, "heun": 0.01, "GLASS": 0.01, "sde": 0.02, "GLASS sde": 0.02}
		for name, s := range samplers {
			for _, at := range []float64{0.05, 0.5} {
				posterior := mixture.Posterior(ip, at, []float64{float64(x[0]), float64(x[1])})
				got, err := mfm.Flat(s.Posterior(ctx, 1, at, states(x, 2), n, nil))
				if err != nil {
					t.Fatal(err)
				}
				name, bias := fmt.Sprintf("%v, %s, t = %g", ip, name, at), bias[name]
				mfmtest.HasMoments(t, name, mfm.Rows(got, 2), posterior.Mean(), posterior.Covariance(), bias)
			}
			got, err := mfm.Flat(s.Unconditional(ctx, 2, n, nil))
			if err != nil {
				t.Fatal(err)
			}
			name, bias := fmt.Sprintf("%v, %s, unconditional", ip, name), bias[name]
			mfmtest.HasMoments(t, name, mfm.Rows(got, 2), mixture.Mean(), mixture.Covariance(), bias)
		}
	}
}

// The ODE and the SDE of a teacher give the modes of a mixture in their proportions, for the
// posterior and without a context.
func TestSamplersOnMixture(t *testing.T) {
	mixture, ctx := gmm.Paper(), context.Background()
	const n = 4000
	ip := interpolant.Linear{}
	for name, s := range map[string]*mfm.Sampler{
		"ode": teacherSampler(t, ip, mixture, configured(mfm.ODESampling, solver.Heun, 40, 1)),
		"sde": teacherSampler(t, ip, mixture, configured(mfm.SDESampling, "", 150, 1)),
	} {
		x := []float64{0.3, 0.4}
		for at, target := range map[float64]*gmm.Mixture{0: mixture, 0.3: mixture.Posterior(ip, 0.3, x)} {
			got, err := mfm.Flat(s.Posterior(ctx, 1, at, states([]float32{0.3, 0.4}, 2), n, nil))
			if err != nil {
				t.Fatal(err)
			}
			counts := make([]float64, 3)
			for _, r := range mfm.Rows(got, 2) {
				counts[min(max(int(math.Round((r[0]+r[1])/6)), -1), 1)+1]++
			}
			for k, w := range target.Weights() {
				// The boundary between modes 3√2 apart, of standard deviation 0.7, misplaces less
				// than 0.002; steps add 0.02.
				if se := math.Sqrt(w * (1 - w) / n); math.Abs(counts[k]/n-w) > 4*se+0.02 {
					t.Errorf("%s at t = %g: mode %d has a share of %.3f ± %.3f, want %.3f",
						name, at, k, counts[k]/n, se, w)
				}
			}
			mfmtest.HasMoments(t, fmt.Sprintf("%s at t = %g", name, at), mfm.Rows(got, 2), target.Mean(),
				target.Covariance(), 0.03)
		}
	}
}

// Transitions have the moments of p(x_{t'} | x_t), with fresh noise and as in DDPM.
func TestSamplerTransition(t *testing.T) {
	mixture, ctx := mfmtest.Gaussian(t), context.Background()
	const n = 6000
	ip := interpolant.Linear{}
	x := []float32{0.9, -1.1}
	for name, s := range map[string]*mfm.Sampler{
		"map":     mapSampler(t, ip, configured(mfm.ODESampling, solver.Heun, 24, 1)),
		"teacher": teacherSampler(t, ip, mixture, configured(mfm.SDESampling, "", 80, 1)),
	} {
		for _, c := range [][3]float64{
			{0.3, 0.6, 0}, {0.3, 0.6, interpolant.DDPMCorrelation(ip, 0.3, 0.6)},
			{0.5, 0.52, interpolant.DDPMCorrelation(ip, 0.5, 0.52)}, {0, 0.5, 0}, {0.3, 0.999, 0}, {0.5, 1, 0.2},
		} {
			got, err := mfm.Flat(s.Transition(ctx, 3, c[0], c[1], c[2], states(x, 2), n, nil))
			if err != nil {
				t.Fatal(err)
			}
			want := mfmtest.TransitionMixture(t, mixture, ip, c[0], c[1], c[2], []float64{float64(x[0]), float64(x[1])})
			mfmtest.HasMoments(t, fmt.Sprintf("%s, %v", name, c), mfm.Rows(got, 2), want.Mean(), want.Covariance(),
				0.03)
		}
	}
}

// A transition to 1 is the posterior, for any method.
func TestSamplerTransitionToData(t *testing.T) {
	ctx, x := context.Background(), []float32{0.9, -1.1}
	s := mapSampler(t, interpolant.Linear{}, mfm.DefaultSamplerConfig())
	got, err := mfm.Flat(s.Transition(ctx, 3, 0.4, 1, 0.2, states(x, 2), 3, nil))
	if err != nil {
		t.Fatal(err)
	}
	want, err := mfm.Flat(s.Posterior(ctx, 3, 0.4, states(x, 2), 3, nil))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// Both times are 1 in float32: the posterior there is the context.
	s = teacherSampler(t, interpolant.Linear{}, mfmtest.Gaussian(t), configured(mfm.ODESampling, solver.Heun, 4, 1))
	if got, err = mfm.Flat(s.Transition(ctx, 3, 1-2e-9, 1-1e-9, 0, states(x, 2), 1, nil)); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if !(math.Abs(float64(v-x[i])) <= 1e-3) {
			t.Errorf("near t = 1: %v, want %v", got, x)
		}
	}
}

// Drifts, denoisers and velocities of the exact map and of a teacher are the closed forms.
func TestSamplerEvaluates(t *testing.T) {
	ctx, mixture, ip := context.Background(), mfmtest.Gaussian(t), interpolant.Trigonometric{}
	x, xbar := []float32{0.9, -1.1, 0.2, 0.4}, []float32{-0.3, 0.8, 1, 0}
	config := configured(mfm.ODESampling, solver.Heun, 4, 1)
	at := func(values []float32, i int) []float64 {
		return []float64{float64(values[2*i]), float64(values[2*i+1])}
	}
	check := func(name string, got []float32, err error, want func(i int) []float64) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows := mfmtest.Flatten(2, func(i int) []float64 { return at(got, i) })
		mfmtest.Near(t, name, rows, mfmtest.Flatten(2, want), 1e-5)
	}
	for name, s := range map[string]*mfm.Sampler{"map": mapSampler(t, ip, config),
		"teacher": teacherSampler(t, ip, mixture, config)} {
		got, err := mfm.Flat(s.Drift(ctx, 0.4, states(x, 2), nil))
		check(name+" drift", got, err, func(i int) []float64 { return mixture.Drift(ip, 0.4, at(x, i)) })
		got, err = mfm.Flat(s.Denoiser(ctx, 0.4, states(x, 2), nil))
		check(name+" denoiser", got, err, func(i int) []float64 { return mixture.Denoiser(ip, 0.4, at(x, i)) })
		got, err = mfm.Flat(s.Velocity(ctx, 0.3, 0.3, states(xbar, 2), 0.4, states(x, 2), nil))
		check(name+" diagonal", got, err, func(i int) []float64 {
			return mixture.ConditionalDrift(ip, 0.3, at(xbar, i), 0.4, at(x, i))
		})
		got, err = mfm.Flat(s.Velocity(ctx, 0.3, 0.9, states(xbar, 2), 0.4, states(x, 2), nil))
		if name == "teacher" {
			if err == nil {
				t.Error("no error for the average velocity of a teacher")
			}
			continue
		}
		check(name+" velocity", got, err, func(i int) []float64 {
			v, err := mixture.ConditionalAverageVelocity(ip, 0.3, 0.9, at(xbar, i), 0.4, at(x, i))
			if err != nil {
				t.Fatal(err)
			}
			return v
		})
	}
}

// The map of N(1, 0.25), exact without a network, samples the posterior of x_t = 0 at t = 1/2:
// N(0.8, 0.2).
func ExampleSampler() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &mfm.Map{
		Interpolant:     interpolant.Linear{},
		Backbone:        func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) },
		Parametrization: &mfm.Gaussian{Mean: []float64{1}, Variance: []float64{0.25}},
	}
	s, err := mfm.NewSampler(b, mfm.Model{Map: m, Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{1}},
		mfm.DefaultSamplerConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	samples, err := mfm.Flat(s.Posterior(context.Background(), 1, 0.5, states([]float32{0}, 1), 10000, nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	var mean, square float64
	for _, x := range samples {
		mean += float64(x) / 10000
		square += float64(x) * float64(x) / 10000
	}
	fmt.Printf("NFE %d, mean %.1f, variance %.1f\n", s.NFE(), mean, square-mean*mean)
	// Output: NFE 1, mean 0.8, variance 0.2
}

// The map and its ODE carry given noise to where the flow map of the posterior does in closed form.
func TestFromNoise(t *testing.T) {
	mixture, ip, ctx := mfmtest.Gaussian(t), interpolant.Linear{}, context.Background()
	m := mfm.Model{
		Map: mfmtest.ExactMap(t, mixture, ip), Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2},
	}
	noise, x := []float32{0.4, -1.3, 2, 0.1, -0.7, 0.9}, []float32{0.9, -1.1, -2, 0.3, 0, 1.5}
	for method, tolerance := range map[mfm.Sampling]float64{mfm.MapSampling: 1e-4, mfm.ODESampling: 2e-3} {
		config := mfm.DefaultSamplerConfig()
		config.Method = method
		if method == mfm.ODESampling {
			config.Grid.Steps = 64
		}
		s, err := mfm.NewSampler(backendtest.New(t), m, config)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		const at = 0.4
		got, err := mfm.Flat(s.FromNoise(ctx, states(noise, 2), at, states(x, 2), nil))
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range mfm.Rows(got, 2) {
			context := []float64{float64(x[2*i]), float64(x[2*i+1])}
			want, err := mixture.Posterior(ip, at, context).FlowMap(ip, 0, 1, []float64{float64(noise[2*i]), float64(noise[2*i+1])})
			if err != nil {
				t.Fatal(err)
			}
			for k := range want {
				if math.Abs(row[k]-want[k]) > tolerance {
					t.Errorf("%s: sample %d is %v, want %v", method, i, row, want)
				}
			}
		}
		if _, err := s.FromNoise(ctx, states(noise[:4], 2), at, states(x, 2), nil); err == nil {
			t.Errorf("%s: no error for two noises and three contexts", method)
		}
	}
	config := mfm.DefaultSamplerConfig()
	config.Method, config.Grid.Steps = mfm.SDESampling, 8
	s, err := mfm.NewSampler(backendtest.New(t), m, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.FromNoise(ctx, states(noise, 2), 0.4, states(x, 2), nil); err == nil {
		t.Error("no error for the SDE")
	}
}
