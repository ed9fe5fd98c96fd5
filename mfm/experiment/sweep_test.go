package experiment_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/progress"
)

// counting counts the steps that it is told of.
type counting struct{ steps int }

func (c *counting) Update(r progress.Report)    { c.steps = max(c.steps, int(r.Step)) }
func (c *counting) Done(progress.Report, error) {}

func TestSweep(t *testing.T) {
	b, sink := backendtest.New(t), &counting{}
	variant := experiment.Variant{Loss: mfm.DiagonalOnly, Distillation: mfm.Self}
	evaluation := experiment.EvaluateConfig{Times: []float64{0.2, 0.8}, Contexts: 2, Samples: 100, Projections: 4, Seed: 1}
	options := experiment.SweepOptions{Dir: t.TempDir(), Variants: []experiment.Variant{variant}, Seeds: []int64{3, 4}, Evaluate: evaluation,
		Sink:    func() progress.Sink { return sink },
		Command: func(v experiment.Variant, _ int64) string { return "sweep " + v.String() }}
	rows, runs, err := experiment.Sweep(t.Context(), b, tinyConfig(), options)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 4 || len(runs) != 2 || sink.steps != 12 {
		t.Fatalf("%d rows and %d runs after %d steps, want 4, 2 and 12", len(rows), len(runs), sink.steps)
	}
	for i, r := range runs {
		first, second := rows[2*i], rows[2*i+1]
		if r.Loss != "diagonal" || r.Distillation != "self" || r.Seed != options.Seeds[i] || first.Seed != r.Seed || first.T != 0.2 || second.T != 0.8 {
			t.Errorf("run %+v with rows %+v, %+v", r, first, second)
		}
		if want := (first.Excess + second.Excess) / 2; math.Abs(r.MeanExcess-want) > 1e-12 || r.Diverged != (want > 1) {
			t.Errorf("mean excess %g, diverged %t, of %g and %g", r.MeanExcess, r.Diverged, first.Excess, second.Excess)
		}
		if r.WorstExcess != max(first.Excess, second.Excess) || !(r.Seconds > 0 && r.StepsPerSec > 0) {
			t.Errorf("run %+v", r)
		}
	}
	if rows[0].SW2 == rows[2].SW2 {
		t.Error("two seeds have one result")
	}

	// What is there is not trained again.
	*sink = counting{}
	again, runsAgain, err := experiment.Sweep(t.Context(), b, tinyConfig(), options)
	if err != nil {
		t.Fatal(err)
	}
	if sink.steps != 0 || !reflect.DeepEqual(again, rows) || !reflect.DeepEqual(runsAgain, runs) {
		t.Errorf("a second sweep made %d steps, and has %+v, %+v; want none, and %+v, %+v", sink.steps, again, runsAgain, rows, runs)
	}
	options.Evaluate.Times = nil
	_, _, err = experiment.Sweep(t.Context(), b, tinyConfig(), options)
	wantError(t, "no times", err, "sweep, diagonal-self, seed 3: evaluation has no times")
}

// A training that is not finite has no excess, not one of zero, which would be perfect.
func TestSweepOfDivergence(t *testing.T) {
	far, err := gmm.New([]float64{1}, [][]float64{{1e30, 0}}, [][][]float64{{{1, 0}, {0, 1}}}) // its square is infinite in float32
	if err != nil {
		t.Fatal(err)
	}
	c := tinyConfig()
	c.Mixture = far
	options := experiment.SweepOptions{Dir: t.TempDir(), Variants: []experiment.Variant{{Loss: mfm.DiagonalOnly, Distillation: mfm.Self}}, Seeds: []int64{3}, Evaluate: fewSamples()}
	rows, runs, err := experiment.Sweep(t.Context(), backendtest.New(t), c, options)
	if err != nil || len(rows) != 0 || len(runs) != 1 {
		t.Fatalf("rows %v, runs %v, error %v; want one run", rows, runs, err)
	}
	if r := runs[0]; !r.Diverged || !math.IsNaN(r.MeanExcess) || !math.IsNaN(r.WorstExcess) {
		t.Errorf("run %+v, want diverged and no excess", r)
	}
	runs = append(runs, experiment.SweepRow{Loss: "semigroup", MeanExcess: 0.25, WorstExcess: 0.5, Seconds: 2, StepsPerSec: 10})
	raw, err := json.Marshal(runs)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"loss":"diagonal","distillation":"self","seed":3,"diverged":true,"seconds":0,"steps_per_s":0},` +
		`{"loss":"semigroup","distillation":"","seed":0,"diverged":false,"mean_excess":0.25,"worst_excess":0.5,"seconds":2,"steps_per_s":10}]`
	if string(raw) != want {
		t.Errorf("rows are %s, want %s", raw, want)
	}
	var read []experiment.SweepRow
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(read[0].MeanExcess) || !math.IsNaN(read[0].WorstExcess) || read[1] != runs[1] || !strings.HasPrefix(read[0].Loss, "diagonal") {
		t.Errorf("rows read again are %+v", read)
	}
}
