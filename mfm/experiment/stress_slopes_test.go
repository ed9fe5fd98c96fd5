package experiment_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// Errors that are a power of the base's, with that of training on top, give the power back; what training hides is not fitted.
func TestBaseCurve(t *testing.T) {
	const plain, power = 0.1, 1.5
	value := experiment.BaseMeasures()[3]
	var rows []experiment.BaseRow
	for seed := range int64(2) {
		rows = append(rows, experiment.BaseRow{Perturbation: experiment.WrongWeights, Distillation: mfm.Teacher, Seed: seed, Value: plain * math.Sqrt(1+0.1*float64(2*seed-1))})
		for _, size := range []float64{0.05, 0.8, 0.2, 0.4, 1.6} {
			base := size / 2
			v := math.Sqrt(plain*plain + math.Pow(2*math.Pow(base, power), 2)*(1+0.2*float64(2*seed-1))) // the seeds scatter by a fifth of the square about it
			rows = append(rows, experiment.BaseRow{Perturbation: experiment.Shifted, Size: size, Distillation: mfm.Teacher, Seed: seed, Base: base, Value: v})
		}
	}
	rows = append(rows, experiment.BaseRow{Perturbation: experiment.Shifted, Size: 0.2, Distillation: mfm.Self, Base: 0.1, Value: 9},
		experiment.BaseRow{Perturbation: experiment.Shifted, Size: 0.2, Distillation: mfm.Teacher, Base: 0.1, Value: 9, Diverged: "luck"})
	c := experiment.NewBaseCurve(rows, experiment.Shifted, mfm.Teacher, value)
	if len(c.Base) != 5 || c.Base[0] != 0.025 || c.Base[4] != 0.8 || math.Abs(c.Plain-plain) > 1e-12 {
		t.Fatalf("points and plain error %+v", c)
	}
	for i, base := range c.Base {
		extra := math.Pow(2*math.Pow(base, power), 2)
		want := math.Sqrt(plain*plain + extra)
		if math.Abs(c.Error[i]-want) > 1e-12 || math.Abs(c.SE[i]-0.2*extra/(2*want)) > 1e-12 {
			t.Errorf("at %g the error is %g ± %g, want %g ± %g", base, c.Error[i], c.SE[i], want, 0.2*extra/(2*want))
		}
		if stands := extra >= plain*plain; stands != !math.IsNaN(c.Beyond[i]) || stands && math.Abs(c.Beyond[i]-math.Sqrt(extra)) > 1e-12 || stands && math.Abs(c.BeyondSE[i]-math.Hypot(0.1*extra, 0.05*plain*plain)/math.Sqrt(extra)) > 1e-12 {
			t.Errorf("at %g it is %g beyond, of %g", base, c.Beyond[i], math.Sqrt(extra))
		}
	}
	// Points at equal distances in log, each known to a tenth by its own error. That of plain, a tenth of its square, they share: it moves them by less the larger they are.
	moved := func(base float64) float64 { return 0.1 * plain * plain / 2 / math.Pow(2*math.Pow(base, power), 2) }
	if want := math.Hypot(0.1/math.Sqrt2, (moved(0.8)-moved(0.2))/2) / math.Ln2; math.Abs(c.Slope-power) > 1e-9 || math.Abs(c.SlopeSE-want) > 1e-9 {
		t.Errorf("slope %g ± %g, want %g ± %g", c.Slope, c.SlopeSE, power, want)
	}
	two := slices.DeleteFunc(slices.Clone(rows), func(r experiment.BaseRow) bool { return r.Size == 1.6 })
	if c, want := experiment.NewBaseCurve(two, experiment.Shifted, mfm.Teacher, value), math.Hypot(0.1*math.Sqrt2, moved(0.4)-moved(0.2))/math.Ln2; math.Abs(c.Slope-power) > 1e-9 || math.Abs(c.SlopeSE-want) > 1e-9 {
		t.Errorf("slope of two points %g ± %g, want %g ± %g", c.Slope, c.SlopeSE, power, want)
	}
	// One point off the line by a factor e of three: y = (0, 1, 0) beside it, at equal distances in log.
	for i := range rows {
		if rows[i].Size == 0.8 {
			rows[i].Value = math.Sqrt(plain*plain + math.Pow(math.E*2*math.Pow(0.4, power), 2))
		}
	}
	c = experiment.NewBaseCurve(rows, experiment.Shifted, mfm.Teacher, value)
	if math.Abs(c.Slope-power) > 1e-9 || math.Abs(c.SlopeSE-math.Sqrt(2./3)/(math.Ln2*math.Sqrt2)) > 1e-9 {
		t.Errorf("slope %g ± %g, want %g ± %g", c.Slope, c.SlopeSE, power, math.Sqrt(2./3)/(math.Ln2*math.Sqrt2))
	}
	if c := experiment.NewBaseCurve(rows, experiment.Shifted, mfm.Self, value); len(c.Base) != 1 || !math.IsNaN(c.Slope) {
		t.Errorf("of one size: %+v", c)
	}
}

// Of a file's rows those of a test are read, and of rows those of the grids are kept.
func TestStressRows(t *testing.T) {
	cell := experiment.TimesGrid()[3]
	name, err := experiment.CellName(cell)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rows.json")
	all := `[{"cell": "` + name + `", "test": "times", "across": 0.5}, {"cell": "tried", "test": "times", "across": 0.7}, {"cell": "other", "test": "losses"}]`
	if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
	rows, err := experiment.StressRows[experiment.TimesRow](path, "times")
	if err != nil || len(rows) != 2 || rows[0].Across != 0.5 {
		t.Errorf("rows %+v: %v", rows, err)
	}
	if rows, err := experiment.StressRows[experiment.TimesRow](path+".none", "times"); err != nil || rows != nil {
		t.Errorf("without a file: %+v, %v", rows, err)
	}
	if _, err := experiment.StressRows[experiment.DiversityCell](filepath.Dir(path), "times"); err == nil {
		t.Error("a folder is read")
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(all), &raw); err != nil {
		t.Fatal(err)
	}
	if kept, err := experiment.KeepStress(raw); err != nil || len(kept) != 2 || string(kept[1]) != `{"cell": "other", "test": "losses"}` {
		t.Errorf("kept %s: %v", kept, err)
	}
}
