package mixture_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/progress"
)

// counting records the last step that was reported.
type counting struct{ steps int }

func (c *counting) Update(r progress.Report)    { c.steps = max(c.steps, int(r.Step)) }
func (c *counting) Done(progress.Report, error) {}

func TestSweep(t *testing.T) {
	b, sink := backendtest.New(t), &counting{}
	variant := mixture.Variant{Loss: mfm.DiagonalOnly, Distillation: mfm.Self}
	evaluation := mixture.EvalConfig{Times: []float64{0.2, 0.8}, Contexts: 2, Samples: 100, Projections: 4, Seed: 1}
	options := mixture.LossSweep{
		Dir: t.TempDir(), Variants: []mixture.Variant{variant}, Seeds: []int64{3, 4}, Evaluate: evaluation,
		Sink:    func() progress.Sink { return sink },
		Command: func(v mixture.Variant, _ int64) string { return "sweep " + v.String() },
	}
	posteriors, results, err := mixture.SweepLosses(t.Context(), b, experimenttest.TinyConfig(), options)
	if err != nil {
		t.Fatal(err)
	}
	if len(posteriors) != 4 || len(results) != 2 || sink.steps != 12 {
		t.Fatalf("%d posterior and %d loss results after %d steps, want 4, 2 and 12",
			len(posteriors), len(results), sink.steps)
	}
	for i, r := range results {
		first, second := posteriors[2*i], posteriors[2*i+1]
		if r.Loss != "diagonal" || r.Distillation != "self" || r.Seed != options.Seeds[i] ||
			first.Seed != r.Seed || first.T != 0.2 || second.T != 0.8 {
			t.Errorf("loss result %+v with posterior results %+v, %+v", r, first, second)
		}
		one, other, mean := first.Excess.Float(), second.Excess.Float(), r.MeanExcess.Float()
		if want := (one + other) / 2; math.Abs(mean-want) > 1e-12 || r.Diverged != (want > 1) {
			t.Errorf("mean excess %g, diverged %t, of %g and %g", mean, r.Diverged, one, other)
		}
		if r.WorstExcess.Float() != max(one, other) || !(r.Seconds > 0 && r.StepsPerSec > 0) {
			t.Errorf("loss result %+v", r)
		}
	}
	if posteriors[0].SW2 == posteriors[2].SW2 {
		t.Error("two seeds have the same result")
	}

	// Finished results are not trained again.
	*sink = counting{}
	again, resultsAgain, err := mixture.SweepLosses(t.Context(), b, experimenttest.TinyConfig(), options)
	if err != nil {
		t.Fatal(err)
	}
	if sink.steps != 0 || !reflect.DeepEqual(again, posteriors) || !reflect.DeepEqual(resultsAgain, results) {
		t.Errorf("a second sweep trained %d steps, with results %+v, %+v; want none, and %+v, %+v",
			sink.steps, again, resultsAgain, posteriors, results)
	}
	options.Evaluate.Times = nil
	_, _, err = mixture.SweepLosses(t.Context(), b, experimenttest.TinyConfig(), options)
	experimenttest.WantError(t, "no times", err, "sweep, diagonal-self, seed 3: evaluation has no times")
}

// A training that ends in non-finite values has no excess, instead of the perfect 0.
func TestSweepOfDivergence(t *testing.T) {
	// The squares of gradients are infinite in float32.
	far := mfmtest.NewMixture(t, []float64{1}, [][]float64{{1e18, 0}}, [][][]float64{{{1, 0}, {0, 1}}})
	c := experimenttest.TinyConfig()
	c.Mixture = far
	options := mixture.LossSweep{
		Dir: t.TempDir(), Variants: []mixture.Variant{{Loss: mfm.DiagonalOnly, Distillation: mfm.Self}},
		Seeds: []int64{3}, Evaluate: fewSamples(),
	}
	posteriors, results, err := mixture.SweepLosses(t.Context(), backendtest.New(t), c, options)
	if err != nil || len(posteriors) != 0 || len(results) != 1 {
		t.Fatalf("posterior results %v, loss results %v, error %v; want one loss result", posteriors, results, err)
	}
	if r := results[0]; !r.Diverged || !r.MeanExcess.IsZero() || !r.WorstExcess.IsZero() {
		t.Errorf("loss result %+v, want diverged and no excess", r)
	}
	results = append(results, mixture.LossResult{
		Loss: "semigroup", MeanExcess: metric.Some(0.25), WorstExcess: metric.Some(0.5), Seconds: 2, StepsPerSec: 10,
	})
	raw, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"loss":"diagonal","distillation":"self","seed":3,"diverged":true,"seconds":0,"steps_per_s":0},` +
		`{"loss":"semigroup","distillation":"","seed":0,"diverged":false,` +
		`"mean_excess":0.25,"worst_excess":0.5,"seconds":2,"steps_per_s":10}]`
	if string(raw) != want {
		t.Errorf("results are %s, want %s", raw, want)
	}
	var read []mixture.LossResult
	if err := json.Unmarshal(raw, &read); err != nil {
		t.Fatal(err)
	}
	if !read[0].MeanExcess.IsZero() || !read[0].WorstExcess.IsZero() || read[1] != results[1] ||
		read[0].Loss != mfm.DiagonalOnly {
		t.Errorf("results read again are %+v", read)
	}
}

// A struct that embeds a result has the fields of both in its JSON.
func TestEmbeddedResults(t *testing.T) {
	type named struct {
		Name string `json:"name"`
		mixture.PosteriorResult
	}
	type budgeted struct {
		Budget int `json:"budget"`
		mixture.LossResult
	}
	posterior := named{"a", mixture.PosteriorResult{T: 0.2, Excess: metric.Some(0.5), Diversity: metric.Some(1)}}
	loss := budgeted{3, mixture.LossResult{Seed: 1, Diverged: true}}
	for text, want := range map[string]any{
		`{"name":"a","loss":"","distillation":"","seed":0,"t":0.2,"sw2":0,"floor":0,"std":0,` +
			`"excess":0.5,"diversity":1}`: &posterior,
		`{"budget":3,"loss":"","distillation":"","seed":1,"diverged":true,"seconds":0,"steps_per_s":0}`: &loss,
	} {
		raw, err := json.Marshal(want)
		if err != nil || string(raw) != text {
			t.Errorf("JSON is %s, error %v, want %s", raw, err, text)
		}
		read := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := json.Unmarshal([]byte(text), read); err != nil || !reflect.DeepEqual(read, want) {
			t.Errorf("%s is read as %+v, error %v", text, read, err)
		}
	}
}
