package experiment_test

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"gonum.org/v1/gonum/stat"
)

// A family is the mixture that its name says: the same one each time, with components as wide as its kind has them.
func TestFamily(t *testing.T) {
	for _, kind := range experiment.FamilyKinds() {
		for _, f := range []experiment.Family{{Kind: kind, Modes: 1, Dim: 3, Seed: 1}, {Kind: kind, Modes: 16, Dim: 2, Seed: 2}, {Kind: kind, Modes: 5, Dim: 8, Seed: 3}} {
			m, err := f.Mixture()
			if err != nil {
				t.Fatal(err)
			}
			again, err := f.Mixture()
			if err != nil {
				t.Fatal(err)
			}
			if m.Len() != f.Modes || m.Dim() != f.Dim || !reflect.DeepEqual(m.Mean(), again.Mean()) {
				t.Errorf("%v: %d components of dimension %d, or another mixture the second time", f, m.Len(), m.Dim())
			}
			_, c := m.Component(0)
			var trace float64
			for i := range c {
				trace += c[i][i]
			}
			width := map[experiment.FamilyKind][2]float64{experiment.Separated: {1. / 8, 1. / 8}, experiment.Overlapping: {1. / 2, 1. / 2}, experiment.Anisotropic: {1. / 30, 1. / 3}}[kind]
			deviation := math.Sqrt(trace/float64(f.Dim)) / apart(m)
			if deviation < width[0]*(1-1e-9) || deviation > width[1]*(1+1e-9) {
				t.Errorf("%v: components of deviation %.3g δ, want %.3g to %.3g", f, deviation, width[0], width[1])
			}
		}
	}
	for _, f := range []experiment.Family{{}, {Kind: "round", Modes: 1, Dim: 1}, {Kind: experiment.Separated, Dim: 1}, {Kind: experiment.Separated, Modes: 1}} {
		if _, err := f.Mixture(); err == nil {
			t.Errorf("%+v: no error", f)
		}
	}
}

// apart returns the mean distance of a mean to the nearest other one, 4 of a single one.
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

// The thin laws are as thin as they say, about the manifold that Across measures from.
func TestManifold(t *testing.T) {
	for _, m := range []experiment.Manifold{{Shape: "curve", Width: 0.003}, {Shape: "plane", Width: 0.02}} {
		law, err := m.Law()
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		var square float64
		for _, x := range law.Sample(rand.New(rand.NewPCG(1, 2)), n) {
			square += m.Across(x) * m.Across(x) / n
		}
		// The circle's components are straight, and so a little off it where they end.
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
	for _, m := range []experiment.Manifold{{}, {Shape: "curve"}, {Shape: "knot", Width: 0.1}} {
		if _, err := m.Law(); err == nil {
			t.Errorf("%+v: no error", m)
		}
	}
}

// Float32 is as exact as it can be far from t = 1; close to it, where a law is thin, the score no longer is.
func TestPrecision(t *testing.T) {
	b := backendtest.New(t)
	row := func(width, s float64) experiment.PrecisionRow {
		t.Helper()
		r, err := experiment.PrecisionCell{Manifold: experiment.Manifold{Shape: "plane", Width: width}, OneMinusT: s}.Run(context.Background(), b, experiment.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	far, near := row(0.3, 0.5), row(1e-3, 1e-3)
	for name, e := range map[string]float64{"score": far.Score, "drift": far.Drift, "denoiser": far.Denoiser, "jvp": far.JVP, "steering": far.Steering} {
		if !(e > 0 && e < 3e-6) {
			t.Errorf("%s at t = 0.5 is off by %.2g", name, e)
		}
	}
	if !(near.Score > 10*far.Score) {
		t.Errorf("at t = 0.999 of a thin law the score is off by %.2g, at 0.5 of a wide one by %.2g", near.Score, far.Score)
	}
	// A difference of two scores, and even more one of two means, is small beside them; one of deviations from a mean is not.
	if !(near.ByDenoiser > near.Steering && near.Steering > near.Score && near.ByDraws < near.ByDenoiser/100 && near.ByDraws > 0) {
		t.Errorf("at t = 0.999 steering is off by %.2g by denoisers, %.2g by scores, %.2g by draws, the score by %.2g", near.ByDenoiser, near.Steering, near.ByDraws, near.Score)
	}
}

// Each loss gets steps for the same time.
func TestLossBudget(t *testing.T) {
	budget := experiment.LossBudget{Families: []experiment.Family{{Kind: experiment.Separated, Modes: 2, Dim: 2}}, Mixture: 10, Digits: 20, Seeds: 2}
	rates := map[string]float64{}
	for i, v := range experiment.Variants() {
		rates["separated-2x2 "+v.String()], rates["digits "+v.String()] = float64(i+1), float64(i+1)/4
	}
	cells, err := budget.Grid(rates, "images")
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * (7 + 6 + 1); len(cells) != want {
		t.Fatalf("%d cells, want %d", len(cells), want)
	}
	if c := cells[3]; c.Steps != 20 || c.Seed != 1 || c.Variant != experiment.Variants()[1] {
		t.Errorf("the fourth cell is %+v", c)
	}
	if c := cells[14]; c.Family != nil || c.Steps != 5 || c.Problem != "images" {
		t.Errorf("the first cell of digits is %+v", c)
	}
	delete(rates, "digits meanflow-self")
	if _, err := budget.Grid(rates, ""); err == nil {
		t.Error("a rate that is not there is taken")
	}
}

// The tests run from end to end, in a few steps.
func TestStressCells(t *testing.T) {
	ctx, b := context.Background(), backendtest.New(t)
	eval := experiment.EvaluateConfig{Times: []float64{0.3}, Contexts: 2, Samples: 64, Projections: 8, Seed: 1}
	family := experiment.Family{Kind: experiment.Separated, Modes: 3, Dim: 2, Seed: 1}

	diversity, err := experiment.DiversityCell{Family: family, Width: 8, Depth: 1, Steps: 3, Eval: eval}.Run(ctx, b, experiment.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// One exact draw hits one mode, nearly always; of an untrained map's, spread between the modes, few hit any.
	if h := diversity.Hits; len(diversity.Posterior) != 1 || len(h) != 5 || h[0].Exact < 0.9 || h[0].Map > 0.5*h[0].Exact {
		t.Errorf("diversity: %+v, %+v", diversity.Posterior, h)
	}
	// The row of all contexts is made of those of each.
	if c := diversity.Contexts; len(c) != 2 || c[0].T != 0.3 || math.Abs(diversity.Posterior[0].Diversity-(c[0].Diversity+c[1].Diversity)/2) > 1e-9 || !(c[0].Excess > 0) || !(c[0].Variation > 0 && c[0].Variation < 1 && c[0].Floor > 0 && c[0].Floor < 1) {
		t.Errorf("diversity by context: %+v", c)
	}

	thin, err := experiment.ManifoldCell{Manifold: experiment.Manifold{Shape: "curve", Width: 0.1}, Parametrization: "gaussian", NetWidth: 8, Depth: 1, Steps: 3, Eval: eval}.Run(ctx, b, experiment.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(thin.Across) != 1 || !(thin.Across[0] > thin.Exact[0]) {
		t.Errorf("manifold: %+v", thin)
	}

	times, err := experiment.TimesCell{Manifold: experiment.Manifold{Shape: "plane", Width: 0.1}, Power: 1, Steps: 64, Samples: 512}.Run(ctx, b, experiment.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !(times.Across < 3*times.Exact && times.Across > times.Exact/3 && math.Abs(times.Exact-0.1) < 0.001 && times.SW2 < 3*times.Floor) {
		t.Errorf("times: %+v", times)
	}

	loss, err := (&experiment.LossBench{}).Run(ctx, b, experiment.LossCell{Family: &family, Variant: experiment.Variant{Loss: mfm.MeanFlow, Distillation: mfm.Self}, Width: 8, Depth: 1, Steps: 3, Eval: eval}, experiment.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if loss.On != "separated-3x2" || loss.Diverged || !(loss.MeanExcess > 0) {
		t.Errorf("losses: %+v", loss)
	}
	if _, err := (&experiment.LossBench{}).Run(ctx, b, experiment.LossCell{Variant: experiment.Variants()[0], Steps: 1}, experiment.RunOptions{}); err == nil {
		t.Error("losses on digits run without digits")
	}
}

// What is measured of a perturbed base is what was done to it, and the true base has no error.
func TestBaseCell(t *testing.T) {
	if testing.Short() {
		t.Skip("trains and tunes maps")
	}
	run := func(p experiment.Perturbation, size float64, d mfm.Distillation) experiment.BaseRow {
		t.Helper()
		c := experiment.BaseCell{Perturbation: p, Size: size, Distillation: d, Width: 8, Depth: 1, Steps: 5, TuneSteps: 4, Draws: 2, TuneMethod: "mfm-ft", TuneDraws: 2, ValueDraws: 16, Samples: 128, SamplerSteps: 25}
		row, err := c.Run(context.Background(), backendtest.New(t), experiment.RunOptions{})
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return row
	}
	if row := run(experiment.Noised, 0, mfm.Teacher); row.Base > 1e-5 || !(row.Map > 0) || !(row.Samples > row.Floor) || !(row.Value > 0) || !(row.Tuning > 0) {
		t.Errorf("without a perturbation: %+v", row)
	}
	// Who learns from samples of a shifted law has the true law's drift for a wrong one.
	if row := run(experiment.Shifted, 0.4, mfm.Self); !(row.Base > 0.05 && row.Base < 1) || row.Distillation != mfm.Self || row.Diverged != "" {
		t.Errorf("self-distilled: %+v", row)
	}
	// Noise of size ε is off by ε over the drift's deviation.
	law, ip, rng := gmm.Paper(), interpolant.Linear{}, rand.New(rand.NewPCG(1, 2))
	var drifts [2][]float64
	for range 1 << 15 {
		at, x := rng.Float64(), law.Sample(rng, 1)[0]
		for i, v := range law.Drift(ip, at, []float64{(1-at)*rng.NormFloat64() + at*x[0], (1-at)*rng.NormFloat64() + at*x[1]}) {
			drifts[i] = append(drifts[i], v)
		}
	}
	want := 0.2 / math.Sqrt((stat.Variance(drifts[0], nil)+stat.Variance(drifts[1], nil))/2)
	if row := run(experiment.Noised, 0.2, mfm.Teacher); math.Abs(row.Base-want) > 0.1*want {
		t.Errorf("noise of size 0.2 is off by %.4f, want about %.4f", row.Base, want)
	}
	for _, c := range []experiment.BaseCell{{}, {Perturbation: "luck", Distillation: mfm.Self}, {Perturbation: experiment.Noised, Distillation: mfm.Self, Samples: 2, SamplerSteps: 3, Draws: 1, TuneMethod: "mfm-ft", TuneDraws: 1, ValueDraws: 1, TuneSteps: 1}, {Perturbation: experiment.Shifted, Distillation: mfm.Self, Samples: 2, SamplerSteps: 3, Draws: 1, TuneMethod: "luck", TuneDraws: 1, ValueDraws: 1, TuneSteps: 1}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
