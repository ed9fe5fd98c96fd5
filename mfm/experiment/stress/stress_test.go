package stress_test

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"gonum.org/v1/gonum/stat"
)

// Equal families give equal mixtures, with components as wide as their kind says.
func TestFamily(t *testing.T) {
	for _, kind := range stress.FamilyKinds() {
		for _, f := range []stress.Family{
			{Kind: kind, Modes: 1, Dim: 3, Seed: 1}, {Kind: kind, Modes: 16, Dim: 2, Seed: 2},
			{Kind: kind, Modes: 5, Dim: 8, Seed: 3},
		} {
			m, err := f.Mixture()
			if err != nil {
				t.Fatal(err)
			}
			again, err := f.Mixture()
			if err != nil {
				t.Fatal(err)
			}
			if m.Len() != f.Modes || m.Dim() != f.Dim || !reflect.DeepEqual(m.Mean(), again.Mean()) {
				t.Errorf("%v: %d components of dimension %d, or a different mixture the second time",
					f, m.Len(), m.Dim())
			}
			_, c := m.Component(0)
			var trace float64
			for i := range c {
				trace += c[i][i]
			}
			width := map[stress.FamilyKind][2]float64{
				stress.Separated: {1. / 8, 1. / 8}, stress.Overlapping: {1. / 2, 1. / 2},
				stress.Anisotropic: {1. / 30, 1. / 3},
			}[kind]
			deviation := math.Sqrt(trace/float64(f.Dim)) / apart(m)
			if deviation < width[0]*(1-1e-9) || deviation > width[1]*(1+1e-9) {
				t.Errorf("%v: components of standard deviation %.3g δ, want %.3g to %.3g",
					f, deviation, width[0], width[1])
			}
		}
	}
	for _, f := range []stress.Family{
		{}, {Kind: "round", Modes: 1, Dim: 1}, {Kind: stress.Separated, Dim: 1}, {Kind: stress.Separated, Modes: 1},
	} {
		if _, err := f.Mixture(); err == nil {
			t.Errorf("%+v: no error", f)
		}
	}
}

// apart returns the mean distance from a mean to the nearest other one, 4 for a single component.
func apart(m interface {
	Len() int
	Component(k int) ([]float64, [][]float64)
}) float64 {
	if m.Len() == 1 {
		return 4
	}
	sum := 0.0
	for i := range m.Len() {
		a, _ := m.Component(i)
		least := math.Inf(1)
		for j := range m.Len() {
			b, _ := m.Component(j)
			d := 0.0
			for k := range a {
				d += (a[k] - b[k]) * (a[k] - b[k])
			}
			if i != j {
				least = min(least, math.Sqrt(d))
			}
		}
		sum += least / float64(m.Len())
	}
	return sum
}

// The standard deviation across a manifold is its width, where Across measures the distance.
func TestManifold(t *testing.T) {
	for _, m := range []stress.Manifold{{Shape: "curve", Width: 0.003}, {Shape: "plane", Width: 0.02}} {
		data, err := m.Mixture()
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		var square float64
		for _, x := range data.Sample(rand.New(rand.NewPCG(1, 2)), n) {
			square += m.Across(x) * m.Across(x) / n
		}
		// The components along the circle are straight, so that their ends lie slightly off it.
		want := m.Width * m.Width
		bend := 0.0
		if m.Shape == "curve" {
			along := math.Pi * 3 / 96
			bend = 3 * math.Pow(along, 4) / (4 * 9) // E (s²/2R)²
		}
		if got := math.Sqrt(square); math.Abs(got-math.Sqrt(want+bend)) > 0.05*math.Sqrt(want+bend) {
			t.Errorf("%+v: %.4g across, want %.4g", m, got, math.Sqrt(want+bend))
		}
	}
	for _, m := range []stress.Manifold{{}, {Shape: "curve"}, {Shape: "knot", Width: 0.1}} {
		if _, err := m.Mixture(); err == nil {
			t.Errorf("%+v: no error", m)
		}
	}
}

// Float32 is as exact as it can be far from t = 1. Close to t = 1 and near a manifold the score no
// longer is.
func TestPrecision(t *testing.T) {
	b := backendtest.New(t)
	result := func(width, s float64) stress.PrecisionResult {
		t.Helper()
		c := stress.PrecisionSetting{Manifold: stress.Manifold{Shape: "plane", Width: width}, OneMinusT: s}
		r, err := c.Run(context.Background(), b, run.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	far, near := result(0.3, 0.5), result(1e-3, 1e-3)
	for name, e := range map[string]float64{
		"score": far.Score, "drift": far.Drift, "denoiser": far.Denoiser, "jvp": far.JVP, "steering": far.Steering,
	} {
		if !(e > 0 && e < 3e-6) {
			t.Errorf("%s at t = 0.5 has the error %.2g", name, e)
		}
	}
	if !(near.Score > 10*far.Score) {
		t.Errorf("the error of the score is %.2g at t = 0.999 with width 0.001, %.2g at t = 0.5 with width 0.3",
			near.Score, far.Score)
	}
	// A difference of two scores, and even more one of two means, is small against its terms, and
	// so inexact. A difference of deviations from a mean is not.
	if !(near.ByDenoiser > near.Steering && near.Steering > near.Score && near.BySamples < near.ByDenoiser/100 &&
		near.BySamples > 0) {
		t.Errorf("at t = 0.999 steering has the error %.2g by denoisers, %.2g by scores, %.2g by samples; the "+
			"score %.2g",
			near.ByDenoiser, near.Steering, near.BySamples, near.Score)
	}
}

// Every loss gets as many steps as its rate allows in the same time.
func TestLossBudget(t *testing.T) {
	budget := stress.LossBudget{
		Families: []stress.Family{{Kind: stress.Separated, Modes: 2, Dim: 2}}, Mixture: 10, Digits: 20, Seeds: 2,
	}
	rates := map[string]float64{}
	energy := mixture.Variant{Loss: mfm.Energy, Distillation: mfm.Self}
	for i, v := range append(mixture.Variants(), energy) {
		rates["separated-2x2 "+v.String()], rates["digits "+v.String()] = float64(i+1), float64(i+1)/4
	}
	settings, err := budget.Grid(rates, "images")
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * (8 + 7 + 1); len(settings) != want {
		t.Fatalf("%d settings, want %d", len(settings), want)
	}
	if c := settings[3]; c.Steps != 20 || c.Seed != 1 || c.Variant != mixture.Variants()[1] {
		t.Errorf("the fourth setting is %+v", c)
	}
	if c := settings[16]; c.Family != nil || c.Steps != 5 || c.Fingerprint != "images" {
		t.Errorf("the first setting of digits is %+v", c)
	}
	delete(rates, "digits meanflow-self")
	if _, err := budget.Grid(rates, ""); err == nil {
		t.Error("an absent rate is accepted")
	}
}

// A rate that is measured later is scaled to a known one, here a thousand times that of any
// machine.
func TestRatesScale(t *testing.T) {
	if testing.Short() {
		t.Skip("trains maps")
	}
	budget := stress.LossBudget{
		Families: []stress.Family{{Kind: stress.Separated, Modes: 2, Dim: 2}}, Mixture: 10, Seeds: 1,
	}
	const known = 1e9
	rates := map[string]float64{}
	for _, v := range mixture.Variants() {
		rates["separated-2x2 "+v.String()] = known
	}
	if err := new(stress.LossBench).Rates(context.Background(), backendtest.New(t), budget, rates); err != nil {
		t.Fatal(err)
	}
	if r := rates["separated-2x2 energy-self"]; !(r > known/100 && r < known*100) {
		t.Errorf("rate = %g beside known ones of %g", r, known)
	}
}

// The tests run from end to end, with a few steps.
func TestStressRuns(t *testing.T) {
	ctx, b := context.Background(), backendtest.New(t)
	eval := mixture.EvalConfig{Times: []float64{0.3}, Contexts: 2, Samples: 64, Projections: 8, Seed: 1}
	family := stress.Family{Kind: stress.Separated, Modes: 3, Dim: 2, Seed: 1}

	diverse := stress.DiversitySetting{Family: family, Width: 8, Depth: 1, Steps: 3, Eval: eval}
	diversity, err := diverse.Run(ctx, b, run.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// An exact sample almost always hits one mode. Few samples of an untrained map do, since they
	// lie between the modes.
	if h := diversity.Hits; len(diversity.Posterior) != 1 || len(h) != 5 || h[0].Exact < 0.9 ||
		h[0].Map > 0.5*h[0].Exact {
		t.Errorf("diversity: %+v, %+v", diversity.Posterior, h)
	}
	// The result at a time is the mean over its contexts.
	if c := diversity.Contexts; len(c) != 2 || c[0].T != 0.3 ||
		math.Abs(diversity.Posterior[0].Diversity.Float()-(c[0].Diversity.Float()+c[1].Diversity.Float())/2) > 1e-9 ||
		!(c[0].Excess.Float() > 0) ||
		!(c[0].Variation > 0 && c[0].Variation < 1 && c[0].Floor > 0 && c[0].Floor < 1) {
		t.Errorf("diversity by context: %+v", c)
	}

	near, err := stress.ManifoldSetting{
		Manifold: stress.Manifold{Shape: "curve", Width: 0.1}, Parametrization: "gaussian", NetWidth: 8, Depth: 1,
		Steps: 3, Eval: eval,
	}.Run(ctx, b, run.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(near.Across) != 1 || !(near.Across[0] > near.Exact[0]) {
		t.Errorf("manifold: %+v", near)
	}

	times, err := stress.TimesSetting{
		Manifold: stress.Manifold{Shape: "plane", Width: 0.1}, Power: 1, Steps: 64, Samples: 512,
	}.Run(ctx, b, run.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !(times.Across < 3*times.Exact && times.Across > times.Exact/3 && math.Abs(times.Exact-0.1) < 0.001 &&
		times.SW2 < 3*times.Floor) {
		t.Errorf("times: %+v", times)
	}

	bench := new(stress.LossBench)
	loss, err := bench.Run(ctx, b, stress.LossSetting{
		Family: &family, Variant: mixture.Variant{Loss: mfm.MeanFlow, Distillation: mfm.Self}, Width: 8, Depth: 1,
		Steps: 3, Eval: eval,
	}, run.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if loss.On != "separated-3x2" || loss.Diverged || !(loss.MeanExcess.Float() > 0) {
		t.Errorf("losses: %+v", loss)
	}
	digits := stress.LossSetting{Variant: mixture.Variants()[0], Steps: 1}
	if _, err := bench.Run(ctx, b, digits, run.Options{}); err == nil {
		t.Error("a setting of digits runs without digits")
	}
}

// The measured error of a perturbed base is that of the perturbation, and the true base has none.
func TestBaseRun(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and tunes maps")
	}
	run := func(p stress.Perturbation, size float64, d mfm.Distillation) stress.BaseResult {
		t.Helper()
		c := stress.BaseSetting{
			Perturbation: p, Size: size, Distillation: d, Width: 8, Depth: 1, Steps: 5, TuneSteps: 4,
			PosteriorSamples: 2, TuneMethod: "mfm-ft", TuneSamples: 2, ValueSamples: 16, Samples: 128, SamplerSteps: 25,
		}
		result, err := c.Run(context.Background(), backendtest.New(t), run.Options{})
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return result
	}
	if result := run(stress.Noised, 0, mfm.Teacher); result.Base > 1e-5 || !(result.Map > 0) ||
		!(result.Samples > result.Floor) || !(result.Value > 0) || !(result.Tuning > 0) {
		t.Errorf("without a perturbation: %+v", result)
	}
	// Self-distillation on samples of a shifted mixture learns the drift of that mixture, which is
	// wrong.
	if result := run(stress.Shifted, 0.4, mfm.Self); !(result.Base > 0.05 && result.Base < 1) ||
		result.Distillation != mfm.Self || result.Diverged != "" {
		t.Errorf("self-distilled: %+v", result)
	}
	// Noise of size ε gives an error of ε over the standard deviation of the drift.
	data, ip, rng := gmm.Paper(), interpolant.Linear{}, rand.New(rand.NewPCG(1, 2))
	var drifts [2][]float64
	for range 1 << 15 {
		at, x := rng.Float64(), data.Sample(rng, 1)[0]
		for i := range x {
			x[i] = (1-at)*rng.NormFloat64() + at*x[i]
		}
		for i, v := range data.Drift(ip, at, x) {
			drifts[i] = append(drifts[i], v)
		}
	}
	want := 0.2 / math.Sqrt((stat.Variance(drifts[0], nil)+stat.Variance(drifts[1], nil))/2)
	if result := run(stress.Noised, 0.2, mfm.Teacher); math.Abs(result.Base-want) > 0.1*want {
		t.Errorf("noise of size 0.2 gives the error %.4f, want about %.4f", result.Base, want)
	}
	valid := stress.BaseSetting{
		Perturbation: stress.Shifted, Distillation: mfm.Self, Samples: 2, SamplerSteps: 3, PosteriorSamples: 1,
		TuneMethod: "mfm-ft", TuneSamples: 1, ValueSamples: 1, TuneSteps: 1,
	}
	if err := valid.Validate(); err != nil {
		t.Error(err)
	}
	noised, method := valid, valid
	noised.Perturbation, method.TuneMethod = stress.Noised, "luck"
	for _, c := range []stress.BaseSetting{{}, {Perturbation: "luck", Distillation: mfm.Self}, noised, method} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
