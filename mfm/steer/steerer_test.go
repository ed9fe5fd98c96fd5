package steer_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

func config(dynamics steer.Dynamics, steps int) steer.Config {
	c := steer.DefaultConfig()
	c.Dynamics, c.Steps = dynamics, steps
	return c
}

// steps are few on a backend that unrolls loops.
func steps(t testing.TB, n int) int {
	if !backend.Loops(backendtest.New(t)) {
		return min(n, 6)
	}
	return n
}

// With the exact value, ODE and SDE carry noise to the target, for every schedule, any noise of the SDE, and by Heun's steps.
func TestExactSteeringReachesTheTarget(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	law, r := gmm.Paper(), measured()
	target, _ := tilt(t, law, r)
	const n = 4096
	projections := metric.Projections2D(128)
	floor, se, err := metric.Floor(func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) },
		func(rng *rand.Rand) [][]float64 { return target.Sample(rng, n) }, rand.New(rand.NewPCG(1, 1)), 8)
	if err != nil {
		t.Fatal(err)
	}
	heun := config(steer.ODE, 100)
	heun.Solver = solver.Heun
	quiet := config(steer.SDE, 400)
	quiet.Noise = 0.3
	fading := config(steer.SDE, 400)
	fading.NoiseSchedule = func(t float64) float64 { return 2 * (1 - t) }
	for _, ip := range []interpolant.Schedule{interpolant.Linear{}, interpolant.Trigonometric{}, interpolant.VariancePreserving{}} {
		for name, c := range map[string]steer.Config{"ODE": config(steer.ODE, 400), "SDE": config(steer.SDE, 800), "Heun": heun, "less noise": quiet, "fading noise": fading} {
			s := newSteerer(t, steer.FromMixture(law, ip), r.Reward(), steer.Guided{Config: c, Estimator: exact(t, law, ip, r)})
			got := sample(t, s, 1, n)
			d, err := metric.SlicedW2(mfm.Rows(got.Samples, 2), target.Sample(rand.New(rand.NewPCG(5, 5)), n), projections)
			if err != nil {
				t.Fatal(err)
			}
			if limit := 1.6*floor + 3*se*math.Sqrt(8); d > limit {
				t.Errorf("%s, %v: sliced W2 %.4f, want at most %.4f, floor %.4f", name, ip, d, limit, floor)
			}
		}
	}
}

// What is evaluated is counted as it runs, and comes to the formulas of the paper.
func TestLedger(t *testing.T) {
	law, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	byODE := steer.FromTeacher(func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) }, ip, 1) // one evaluation a draw, as a map's
	const n, k, draws = 6, 5, 4
	heun := config(steer.ODE, k)
	heun.Solver = solver.Heun
	search := steer.Search{Config: config(steer.SDE, k), Particles: 3, N: draws, Selection: steer.Greedy, Transition: steer.Renoise}
	for name, c := range map[string]struct {
		method steer.Method
		want   int64 // NFE for a sample
	}{
		"unsteered":  {steer.Guided{Config: config(steer.ODE, k)}, k},
		"MFM-G":      {steer.Guided{Config: config(steer.ODE, k), Estimator: steer.MFMG{Draws: steer.Draws{N: draws}}}, k + 4*draws*k},
		"MFM-G, SDE": {steer.Guided{Config: config(steer.SDE, k), Estimator: steer.MFMG{Draws: steer.Draws{N: draws}}}, k + 4*draws*k},
		"MFM-GF":     {steer.Guided{Config: config(steer.SDE, k), Estimator: steer.MFMGF{Draws: steer.Draws{N: draws}, Baseline: steer.MeanBaseline}}, k + 2*draws*k},
		"DPS":        {steer.Guided{Config: config(steer.ODE, k), Estimator: steer.DPS{}}, 4 * k},
		"Heun":       {steer.Guided{Config: heun, Estimator: steer.DPS{}}, 4 * (2*k - 1)},
		"best of":    {steer.BestOf{Config: config(steer.ODE, k), N: draws}, draws*k + draws},
		"search":     {search, 2 * 3 * draws * k},
		"SMC, DPS":   {steer.SMC{Config: config(steer.SDE, k), Particles: n, Twist: steer.DPS{}, Resampling: steer.Systematic, Threshold: 0.5}, 4*k - 2},
	} {
		s := newSteerer(t, byODE, r, c.method)
		got := sample(t, s, 1, n)
		if got.Counts.NFE() != c.want*n {
			t.Errorf("%s: %+v, %d evaluations for %d samples, want %d each", name, got.Counts, got.Counts.NFE(), n, c.want)
		}
	}
}

// Posterior samples without a gradient in x would leave MFM-G unsteered: it says so instead.
func TestDetachedDraws(t *testing.T) {
	m := steer.Guided{Config: config(steer.ODE, 3), Estimator: steer.MFMG{Draws: steer.Draws{N: 2}}}
	s := newSteerer(t, steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward(), m)
	if _, err := s.Sample(context.Background(), 1, 4, nil); err == nil || !strings.Contains(err.Error(), "gradient") {
		t.Errorf("the error is %v", err)
	}
}

// What would be ignored is refused: antithetic draws of a closed form, a renormalization of weighted particles, a schedule of λ for a value of one λ.
func TestIgnoredSettings(t *testing.T) {
	law, ip := gmm.Paper(), interpolant.Linear{}
	rescaled, late := config(steer.SDE, 4), config(steer.ODE, 4)
	rescaled.Renormalization, late.LambdaPower = steer.RescaleLength, 1
	for want, m := range map[string]steer.Method{
		"antithetic":      steer.Guided{Config: config(steer.ODE, 4), Estimator: steer.MFMGF{Draws: steer.Draws{N: 2, Antithetic: true}, Baseline: steer.MeanBaseline}},
		"shared":          steer.Guided{Config: config(steer.ODE, 4), Estimator: steer.MFMGF{Draws: steer.Draws{N: 2, Shared: true}, Baseline: steer.MeanBaseline}},
		"renormalization": steer.SMC{Config: rescaled, Particles: 4, Twist: steer.DPS{}, Resampling: steer.Systematic},
		"lambda_power":    steer.Guided{Config: late, Estimator: exact(t, law, ip, measured())},
	} {
		s, err := steer.New(backendtest.New(t), model.NewStore(), steer.FromMixture(law, ip), measured().Reward(), []int{2}, m)
		if err == nil {
			_, err = s.Sample(t.Context(), 1, 4, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v", want, err)
		}
	}
}

// A schedule of the noise must be a finite number that is not negative, of a filter positive.
func TestNoiseScheduleRefused(t *testing.T) {
	for v, ok := range map[float64][2]bool{1: {true, true}, 0: {true, false}, -1: {}, math.Inf(1): {}} {
		c := config(steer.SDE, 10)
		c.NoiseSchedule = func(t float64) float64 {
			if t > 0.5 {
				return v
			}
			return 1
		}
		for i, m := range []steer.Method{steer.Guided{Config: c}, steer.SMC{Config: c, Particles: 4, Resampling: steer.Systematic}} {
			if err := m.Validate(); (err == nil) != ok[i] || err != nil && !strings.Contains(err.Error(), "noise schedule") {
				t.Errorf("%v with a noise of %g: error %v", m, v, err)
			}
		}
	}
}

// λ multiplies the reward: steered with λ = 2 samples are those of the target of 2 r.
func TestLambda(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	law, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	twice := r
	twice.Sigma /= math.Sqrt2
	const n = 2048
	c := config(steer.SDE, 200)
	c.Lambda = 2
	s := newSteerer(t, steer.FromMixture(law, ip), r.Reward(), steer.Guided{Config: c, Estimator: steer.MFMGF{Draws: steer.Draws{N: 64}, Baseline: steer.MeanBaseline}})
	got := mfm.Rows(sample(t, s, 1, n).Samples, 2)
	projections := metric.Projections2D(64)
	distance := func(r reward.LinearGaussian) float64 {
		target, _ := tilt(t, law, r)
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

// Same seed, same samples; microbatches change which random numbers a sample gets, not how many samples there are or how much is counted.
func TestSteererIsReproducible(t *testing.T) {
	law, ip, r := gmm.Paper(), interpolant.Linear{}, measured().Reward()
	method := steer.Guided{Config: config(steer.SDE, steps(t, 20)), Estimator: steer.MFMGF{Draws: steer.Draws{N: 4}, Baseline: steer.MeanBaseline}}
	s := newSteerer(t, steer.FromMixture(law, ip), r, method)
	a, b := sample(t, s, 3, 10), sample(t, s, 3, 10)
	if !slices.Equal(a.Samples, b.Samples) {
		t.Error("the same seed gives other samples")
	}
	if c := sample(t, s, 4, 10); slices.Equal(a.Samples, c.Samples) {
		t.Error("another seed gives the same samples")
	}
	s.Batch = 12                                                             // three samples of four draws
	for n, want := range map[int][]int{10: {2, 4, 6, 8, 10}, 7: {3, 6, 7}} { // in equal parts where that takes no more than twice the calls
		var seen []int
		c, err := s.Sample(t.Context(), 3, n, func(done int) { seen = append(seen, done) })
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Samples) != 2*n || !slices.Equal(seen, want) {
			t.Errorf("%d numbers, progress %v, want %v", len(c.Samples), seen, want)
		}
		if each := a.Counts.NFE() / 10; c.Counts.NFE() != each*int64(n) {
			t.Errorf("%d evaluations for %d samples, want %d each", c.Counts.NFE(), n, each)
		}
	}
}

// A reward that is no number at some samples is reported, and gives the others their weight.
func TestBadRewards(t *testing.T) {
	law, ip := gmm.Paper(), interpolant.Linear{}
	// NaN to the left; at 0, where rectified draws stand, its derivative is infinite too.
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
		{steer.MFMGF{Draws: steer.Draws{N: 8}, Baseline: steer.MeanBaseline}, steer.FromMixture(law, ip)},
		{steer.MFMG{Draws: steer.Draws{N: 8}}, flow},
		{steer.DPS{}, steer.FromMixture(law, ip)},
	} {
		got := sample(t, newSteerer(t, c.m, reward.Reward(first), steer.Guided{Config: config(steer.ODE, steps(t, 30)), Estimator: c.e}), 1, 200)
		for i, v := range got.Samples {
			if math.IsNaN(float64(v)) {
				t.Fatalf("%v: sample %d is NaN", c.e, i/2)
			}
		}
		if slices.Max(got.Series.Bad) <= 0 {
			t.Errorf("%v: no bad reward is reported", c.e)
		}
		if w := got.Series.Warnings(steer.DefaultThresholds(), 8); !slices.ContainsFunc(w, func(s string) bool { return len(s) > 0 && s[:7] == "rewards" }) {
			t.Errorf("%v: warnings %q do not tell of them", c.e, w)
		}
	}
}
