package stress_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/stress"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// Errors that are a power of the base's error, plus the error of training, give the power back.
// Points hidden by the error of training are not fitted.
func TestBaseCurve(t *testing.T) {
	const plain, power = 0.1, 1.5
	value := stress.BaseMeasures()[3]
	var results []stress.BaseResult
	for seed := range int64(2) {
		results = append(results, stress.BaseResult{
			Perturbation: stress.WrongWeights, Distillation: mfm.Teacher, Seed: seed,
			Value: plain * math.Sqrt(1+0.1*float64(2*seed-1)),
		})
		for _, size := range []float64{0.05, 0.8, 0.2, 0.4, 1.6} {
			base := size / 2
			// The seeds scatter by a fifth about the mean of the square.
			v := math.Sqrt(plain*plain + math.Pow(2*math.Pow(base, power), 2)*(1+0.2*float64(2*seed-1)))
			results = append(results, stress.BaseResult{
				Perturbation: stress.Shifted, Size: size, Distillation: mfm.Teacher, Seed: seed, Base: base, Value: v,
			})
		}
	}
	results = append(results,
		stress.BaseResult{Perturbation: stress.Shifted, Size: 0.2, Distillation: mfm.Self, Base: 0.1, Value: 9},
		stress.BaseResult{
			Perturbation: stress.Shifted, Size: 0.2, Distillation: mfm.Teacher, Base: 0.1, Value: 9, Diverged: "luck",
		})
	c := stress.NewBaseCurve(results, stress.Shifted, mfm.Teacher, value)
	if len(c.Base) != 5 || c.Base[0] != 0.025 || c.Base[4] != 0.8 || math.Abs(c.Plain-plain) > 1e-12 {
		t.Fatalf("points and plain error %+v", c)
	}
	for i, base := range c.Base {
		extra := math.Pow(2*math.Pow(base, power), 2)
		want := math.Sqrt(plain*plain + extra)
		if math.Abs(c.Error[i]-want) > 1e-12 || math.Abs(c.SE[i]-0.2*extra/(2*want)) > 1e-12 {
			t.Errorf("at %g the error is %g ± %g, want %g ± %g", base, c.Error[i], c.SE[i], want, 0.2*extra/(2*want))
		}
		beyond, beyondSE := math.Sqrt(extra), math.Hypot(0.1*extra, 0.05*plain*plain)/math.Sqrt(extra)
		stands := extra >= plain*plain
		if stands == math.IsNaN(c.Beyond[i]) || stands && math.Abs(c.Beyond[i]-beyond) > 1e-12 ||
			stands && math.Abs(c.BeyondSE[i]-beyondSE) > 1e-12 {
			t.Errorf("at %g the error beyond Plain is %g ± %g, want %g ± %g",
				base, c.Beyond[i], c.BeyondSE[i], beyond, beyondSE)
		}
	}
	// The points are equidistant in log, each with a relative error of a tenth by itself. They
	// share the error of Plain, a tenth of its square, which moves a point by less the larger it
	// is.
	moved := func(base float64) float64 { return 0.1 * plain * plain / 2 / math.Pow(2*math.Pow(base, power), 2) }
	checkSlope := func(what string, c stress.BaseCurve, want float64) {
		t.Helper()
		if math.Abs(c.Slope-power) > 1e-9 || math.Abs(c.SlopeSE-want) > 1e-9 {
			t.Errorf("%s: slope %g ± %g, want %g ± %g", what, c.Slope, c.SlopeSE, power, want)
		}
	}
	checkSlope("three points", c, math.Hypot(0.1/math.Sqrt2, (moved(0.8)-moved(0.2))/2)/math.Ln2)
	two := slices.DeleteFunc(slices.Clone(results), func(r stress.BaseResult) bool { return r.Size == 1.6 })
	c = stress.NewBaseCurve(two, stress.Shifted, mfm.Teacher, value)
	checkSlope("two points", c, math.Hypot(0.1*math.Sqrt2, moved(0.4)-moved(0.2))/math.Ln2)
	// One of three points is off the line by a factor of e: y = (0, 1, 0) relative to it, at equal
	// distances in log.
	for i := range results {
		if results[i].Size == 0.8 {
			results[i].Value = math.Sqrt(plain*plain + math.Pow(math.E*2*math.Pow(0.4, power), 2))
		}
	}
	c = stress.NewBaseCurve(results, stress.Shifted, mfm.Teacher, value)
	checkSlope("a point off the line", c, math.Sqrt(2./3)/(math.Ln2*math.Sqrt2))
	if c := stress.NewBaseCurve(results, stress.Shifted, mfm.Self, value); len(c.Base) != 1 || !math.IsNaN(c.Slope) {
		t.Errorf("a single size gives the curve %+v, want no slope", c)
	}
}

// Read returns the results of one test in a file, and Keep those of the grids.
func TestReadAndKeep(t *testing.T) {
	name, err := sweep.Name(stress.TimesGrid()[3])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	all := `[{"run": "` + name + `", "test": "times", "across": 0.5},
		{"run": "tried", "test": "times", "across": 0.7}, {"run": "other", "test": "losses"}]`
	if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
	results, err := sweep.Read[stress.TimesResult](path, "times")
	if err != nil || len(results) != 2 || results[0].Across != 0.5 {
		t.Errorf("results %+v: %v", results, err)
	}
	if results, err := sweep.Read[stress.TimesResult](path+".none", "times"); err != nil || results != nil {
		t.Errorf("without a file: %+v, %v", results, err)
	}
	if _, err := sweep.Read[stress.DiversitySetting](filepath.Dir(path), "times"); err == nil {
		t.Error("a folder is accepted as a file")
	}
	keep, err := stress.Keep()
	if err != nil || !keep(name, "times") || keep("tried", "times") || !keep("other", "losses") {
		t.Errorf("a grid's result is kept: %t, one that was tried: %t, one of the losses: %t; %v",
			keep(name, "times"), keep("tried", "times"), keep("other", "losses"), err)
	}
}
