package steer_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

func config(dynamics steer.Dynamics, steps int) steer.Config {
	c := steer.DefaultConfig()
	c.Dynamics, c.Steps = dynamics, steps
	return c
}

// steps returns n, or at most 6 on a backend that unrolls loops.
func steps(t testing.TB, n int) int {
	if !backend.Loops(backendtest.New(t)) {
		return min(n, 6)
	}
	return n
}

// With the exact value, ODE and SDE carry noise to the target, for every interpolant, and for one
// also with other schedules of the SDE's noise and with Heun steps.
func TestExactSteeringReachesTheTarget(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, r := gmm.Paper(), measured()
	target, _ := tilt(t, mixture, r)
	const n = 4096
	projections := metric.Projections2D(128)
	distance := func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) }
	draw := func(rng *rand.Rand) [][]float64 { return target.Sample(rng, n) }
	floor, se, err := metric.Floor(distance, draw, rand.New(rand.NewPCG(1, 1)), 8)
	if err != nil {
		t.Fatal(err)
	}
	heun := config(steer.ODE, 100)
	heun.Solver = solver.Heun
	quiet := config(steer.SDE, 400)
	quiet.Noise = 0.3
	fading := config(steer.SDE, 400)
	fading.NoiseSchedule = func(t float64) float64 { return 2 * (1 - t) }
	configs := map[string]steer.Config{
		"ODE": config(steer.ODE, 400), "SDE": config(steer.SDE, 800), "Heun": heun,
		"less noise": quiet, "fading noise": fading,
	}
	for _, ip := range []interpolant.Schedule{
		interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{},
	} {
		for name, c := range configs {
			if (ip != interpolant.Linear{}) && name != "ODE" && name != "SDE" {
				continue
			}
			m := steer.Guided{Config: c, Estimator: exact(t, mixture, ip, r)}
			got := sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			d, err := distance(mfm.Rows(got.Samples, 2), draw(rand.New(rand.NewPCG(5, 5))))
			if err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%s, %v: sliced W2 %.4f, want at most %.4f, floor %.4f", name, ip, d, limit, floor)
			}
		}
	}
}

// The counter agrees with the formulas of the paper for the NFE of each method.
func TestCounter(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	drift := func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(ip, t, x) }
	m := steer.FromTeacher(drift, ip, []int{2}, 2)
	m.PosteriorNFE, m.FlowMapNFE = 1, 1 // one evaluation for each sample and flow map, as for a map
	const n, k, N = 6, 5, 4
	draws := steer.PosteriorSamples{N: N}
	heun := config(steer.ODE, k)
	heun.Solver = solver.Heun
	search := steer.Search{
		Config: config(steer.SDE, k), Particles: 3, N: N, Selection: steer.Greedy, Transition: steer.Renoise,
	}
	overall := search
	overall.Selection = steer.MaxOverall
	oneStep := steer.OneStepBestOf{Config: config(steer.ODE, 1), N: N}
	filter := steer.SMC{
		Config: config(steer.SDE, k), Particles: n, Twist: steer.DPS{}, Resampling: steer.Systematic, Threshold: 0.5,
	}
	g, gf := steer.MFMG{PosteriorSamples: draws}, steer.MFMGF{PosteriorSamples: draws, Baseline: steer.MeanBaseline}
	for name, c := range map[string]struct {
		method steer.Method
		want   int64 // NFE for each sample
	}{
		"unsteered":  {steer.Guided{Config: config(steer.ODE, k)}, k},
		"MFM-G":      {steer.Guided{Config: config(steer.ODE, k), Estimator: g}, k + 4*N*k},
		"MFM-G, SDE": {steer.Guided{Config: config(steer.SDE, k), Estimator: g}, k + 4*N*k},
		"MFM-GF":     {steer.Guided{Config: config(steer.SDE, k), Estimator: gf}, k + 2*N*k},
		"DPS":        {steer.Guided{Config: config(steer.ODE, k), Estimator: steer.DPS{}}, 4*k + 1},
		"Heun":       {steer.Guided{Config: heun, Estimator: steer.DPS{}}, 4*(2*k-1) + 1},
		"best of":    {steer.BestOf{Config: config(steer.ODE, k), N: N}, N*k + N},
		"one step":   {oneStep, 2 * N},
		"search":     {search, 2 * 3 * N * k},
		"overall":    {overall, 2 * 3 * N * k},
		"FMRG-E":     {steer.FlowMapGuidance{Config: config(steer.ODE, k), Form: steer.EuclideanForm}, 3 * k},
		"FMRG-J":     {steer.FlowMapGuidance{Config: config(steer.ODE, k), Form: steer.JacobianForm}, 5 * k},
		"diamond": {steer.Guided{Config: config(steer.SDE, k), Estimator: steer.WeightedDiamond{N: N, SNR: 4}},
			k*(2+5*N) + 1},
		"SMC, DPS": {filter, 4*k - 2},
	} {
		s := newSteerer(t, m, r, c.method)
		got := sample(t, s, 1, n)
		if got.Counts.NFE() != c.want*n {
			t.Errorf("%s: %+v, %d evaluations for %d samples, want %d each",
				name, got.Counts, got.Counts.NFE(), n, c.want)
		}
	}
}

// MFM-G refuses posterior samples without a gradient in x, with which it would not steer.
func TestDetachedPosterior(t *testing.T) {
	g := steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 2}}
	m := steer.Guided{Config: config(steer.ODE, 3), Estimator: g}
	s := newSteerer(t, steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward(), m)
	if _, err := s.Sample(context.Background(), 1, 4, nil); err == nil || !strings.Contains(err.Error(), "gradient") {
		t.Errorf("the error is %v", err)
	}
}

// Options that would have no effect are refused: antithetic or shared noise with a closed form,
// renormalization of weighted particles, and a schedule of λ for the value of one λ.
func TestIgnoredSettings(t *testing.T) {
	mixture, ip := gmm.Paper(), interpolant.Linear{}
	rescaled, late := config(steer.SDE, 4), config(steer.ODE, 4)
	rescaled.Renormalization, late.LambdaPower = steer.RescaleLength, 1
	guided := func(draws steer.PosteriorSamples) steer.Method {
		gf := steer.MFMGF{PosteriorSamples: draws, Baseline: steer.MeanBaseline}
		return steer.Guided{Config: config(steer.ODE, 4), Estimator: gf}
	}
	for want, m := range map[string]steer.Method{
		"antithetic":      guided(steer.PosteriorSamples{N: 2, Antithetic: true}),
		"shared":          guided(steer.PosteriorSamples{N: 2, Shared: true}),
		"renormalization": steer.SMC{Config: rescaled, Particles: 4, Twist: steer.DPS{}, Resampling: steer.Systematic},
		"lambda_power":    steer.Guided{Config: late, Estimator: exact(t, mixture, ip, measured())},
	} {
		r := measured().Reward()
		s, err := steer.New(backendtest.New(t), steer.FromMixture(mixture, ip), r, m)
		if err == nil {
			_, err = s.Sample(t.Context(), 1, 4, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v", want, err)
		}
	}
}

// Values of a noise schedule must be finite and not negative, for a particle filter positive.
func TestNoiseScheduleRefused(t *testing.T) {
	for v, ok := range map[float64][2]bool{1: {true, true}, 0: {true, false}, -1: {}, math.Inf(1): {}} {
		c := config(steer.SDE, 10)
		c.NoiseSchedule = func(t float64) float64 {
			if t > 0.5 {
				return v
			}
			return 1
		}
		filter := steer.SMC{Config: c, Particles: 4, Resampling: steer.Systematic}
		for i, m := range []steer.Method{steer.Guided{Config: c}, filter} {
			err := m.Validate()
			if (err == nil) != ok[i] || err != nil && !strings.Contains(err.Error(), "noise schedule") {
				t.Errorf("%v with noise %g: error %v", m, v, err)
			}
		}
	}
}

// λ multiplies the reward: with λ = 2 samples follow the target of 2 r.
func TestLambda(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	twice := r
	twice.Sigma /= math.Sqrt2
	const n = 2048
	c := config(steer.SDE, 200)
	c.Lambda = 2
	samples := steer.PosteriorSamples{N: 64}
	m := steer.Guided{Config: c, Estimator: steer.MFMGF{PosteriorSamples: samples, Baseline: steer.MeanBaseline}}
	s := newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m)
	got := mfm.Rows(sample(t, s, 1, n).Samples, 2)
	projections := metric.Projections2D(64)
	distance := func(r reward.LinearGaussian) float64 {
		target, _ := tilt(t, mixture, r)
		d, err := metric.SlicedW2(got, target.Sample(rand.New(rand.NewPCG(5, 5)), n), projections)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d, other := distance(twice), distance(r); !(d < 0.25 && other > 1.5*d) {
		t.Errorf("sliced W2 %.3f to the target of 2 r, %.3f to that of r", d, other)
	}
}

// The same seed gives the same samples. Microbatches change the random numbers of a sample, but
// neither the number of samples nor the counts.
func TestSteererIsReproducible(t *testing.T) {
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	gf := steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 4}, Baseline: steer.MeanBaseline}
	method := steer.Guided{Config: config(steer.SDE, steps(t, 20)), Estimator: gf}
	s := newSteerer(t, steer.FromMixture(mixture, ip), r, method)
	a, b := sample(t, s, 3, 10), sample(t, s, 3, 10)
	if !slices.Equal(a.Samples, b.Samples) {
		t.Error("the same seed gives other samples")
	}
	if c := sample(t, s, 4, 10); slices.Equal(a.Samples, c.Samples) {
		t.Error("another seed gives the same samples")
	}
	s.Batch = 12 // three samples with four posterior samples each
	// Microbatches are equal if this takes at most twice the calls.
	for n, want := range map[int][]int{10: {2, 4, 6, 8, 10}, 7: {3, 6, 7}} {
		var seen []int
		c, err := s.Sample(t.Context(), 3, n, func(done int) { seen = append(seen, done) })
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Samples) != 2*n || !slices.Equal(seen, want) {
			t.Errorf("%d numbers with progress %v, want %d with %v", len(c.Samples), seen, 2*n, want)
		}
		if each := a.Counts.NFE() / 10; c.Counts.NFE() != each*int64(n) {
			t.Errorf("%d evaluations for %d samples, want %d each", c.Counts.NFE(), n, each)
		}
	}
}

// Samples whose reward is NaN are reported and have no weight.
func TestBadRewards(t *testing.T) {
	mixture, ip := gmm.Paper(), interpolant.Linear{}
	// NaN for x₁ < 0, with an infinite derivative at 0.
	holes := func(x *Node) *Node {
		first := Slice(x, AxisRange(), AxisElem(0))
		return Add(Log(first), Log(MaxScalar(first, 0)))
	}
	first := func(x *Node) *Node { return Reshape(holes(x), -1) }
	_, flow := gaussian(t, ip)
	for _, c := range []struct {
		e steer.Estimator
		m steer.Model
	}{
		{steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 8}, Baseline: steer.MeanBaseline},
			steer.FromMixture(mixture, ip)},
		{steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 8}}, flow},
		{steer.DPS{}, steer.FromMixture(mixture, ip)},
	} {
		m := steer.Guided{Config: config(steer.ODE, steps(t, 30)), Estimator: c.e}
		got := sample(t, newSteerer(t, c.m, reward.Func(first), m), 1, 200)
		for i, v := range got.Samples {
			if math.IsNaN(float64(v)) {
				t.Fatalf("%v: sample %d is NaN", c.e, i/2)
			}
		}
		if slices.Max(got.Series.Bad) <= 0 {
			t.Errorf("%v: no bad reward is reported", c.e)
		}
		w := got.Series.Warnings(steer.DefaultThresholds(), 8)
		if !slices.ContainsFunc(w, func(s string) bool { return strings.HasPrefix(s, "rewards") }) {
			t.Errorf("%v: warnings %q do not report them", c.e, w)
		}
	}
}

// A store without the map's weights is an error, also of a later call, and not a random network. A
// reward may add its own weights.
func TestMissingWeights(t *testing.T) {
	b := backendtest.New(t)
	store := model.NewStore()
	m, err := steer.FromMap(mfm.Model{
		Map: &mfm.Map{
			Interpolant: interpolant.Linear{}, Backbone: nn.MLP(nn.DefaultMLP()), Parametrization: mfm.Plain{},
		},
		Weights: store.Scope(train.WeightsScope), Shape: []int{2},
	}, mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	config := steer.DefaultConfig()
	config.Steps = 4
	method := steer.Guided{Config: config, Estimator: steer.MFMGF{
		PosteriorSamples: steer.PosteriorSamples{N: 2}, Baseline: steer.MeanBaseline,
	}}
	compiled, err := steer.New(b, m, measured().Reward(), method)
	if err != nil {
		t.Fatal(err)
	}
	blackBox, err := steer.NewBlackBox(b, m, measuredInGo, method)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*steer.Steerer{"compiled": compiled, "black box": blackBox} {
		defer s.Finalize()
		for range 2 {
			_, err := s.Sample(t.Context(), 1, 4, nil)
			if err == nil || !strings.Contains(err.Error(), "the first is "+train.WeightsScope) {
				t.Errorf("%s: error %v, want one that names a missing weight", name, err)
			}
			if n := store.NumVariables(); n > 0 {
				t.Fatalf("%s: the store has %d variables", name, n)
			}
		}
	}
	gained, err := reward.LogProbability(func(scope *model.Scope, x *Node) *Node {
		return Mul(x, scope.VariableWithValue("gain", float32(2)).NodeValue(x.Graph()))
	}, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	sample(t, newSteerer(t, steer.FromMixture(mfmtest.Gaussian(t), interpolant.Linear{}), gained, method), 1, 4)
}

// A run that is encoded and decoded after each microbatch ends as one that is not interrupted, with
// weights and filters, too. A run of other samples is refused.
func TestContinue(t *testing.T) {
	m := steer.FromMixture(gmm.Paper(), interpolant.Linear{})
	filter := steer.SMC{
		Config: config(steer.SDE, 5), Particles: 8, Twist: steer.DPS{}, Resampling: steer.Systematic, Threshold: 0.5,
	}
	for name, method := range map[string]steer.Method{
		"DPS": steer.Guided{Config: config(steer.ODE, 5), Estimator: steer.DPS{}}, "SMC": filter,
	} {
		s := newSteerer(t, m, measured().Reward(), method)
		s.Batch = 8
		const n = 24
		want := sample(t, s, 3, n)
		if slices.Equal(want.Samples[:16], want.Samples[16:32]) {
			t.Errorf("%s: two microbatches have the same samples", name)
		}
		p, err := steer.Begin(3)
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		var got *steer.Result
		for calls := 1; got == nil && calls < 10; calls++ {
			got, err = s.Continue(t.Context(), p, n, func() error {
				if calls < 3 {
					return stop
				}
				return nil
			})
			if calls < 3 && (!errors.Is(err, stop) || p.Done() != 8*calls) || calls == 3 && err != nil {
				t.Fatalf("%s: %d samples after %d calls, %v", name, p.Done(), calls, err)
			}
			var file bytes.Buffer
			if err := gob.NewEncoder(&file).Encode(p); err != nil {
				t.Fatal(err)
			}
			p = new(steer.Partial)
			if err := gob.NewDecoder(&file).Decode(p); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the continued run differs:\n%+v\nwant\n%+v", name, got, want)
		}
		if again, err := s.Continue(t.Context(), p, n, nil); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s: a complete run gives %v, %v", name, again, err)
		}
		for other, spoil := range map[string]func(p *steer.Partial){
			"more samples": func(p *steer.Partial) { p.Result.Rewards = append(p.Result.Rewards, 0) },
			"other batch":  func(p *steer.Partial) { p.Size = 12 },
			"no generator": func(p *steer.Partial) { p.RNG = nil },
			"other steps":  func(p *steer.Partial) { p.Series = p.Series[1:] },
			"negative":     func(p *steer.Partial) { p.Calls = -1 },
		} {
			broken := *p
			spoil(&broken)
			if _, err := s.Continue(t.Context(), &broken, n, nil); err == nil || !strings.Contains(err.Error(), "begin again") {
				t.Errorf("%s, %s: error %v", name, other, err)
			}
		}
	}
}
