package mixture_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

const smallMap = "../../../data/weights/gmm-small"

// A short tuning moves reward and drift toward the optimum, can be opened again, and its result has
// the NFE. The tuned drift can be distilled.
func TestGMMTuning(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := experimenttest.QuickTuning()
	g, err := mixture.NewTuning(smallMap, mixture.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	result, err := g.Train(t.Context(), b, run.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if e := result.Evaluations; len(e) != 3 || e[2].Step != 300 || !(e[2].KL > 0.1) || e[2].Reward <= e[0].Reward {
		t.Errorf("evaluations %+v: want three, with rising reward", e)
	}
	eval := tuning.EvalConfig{Samples: 512, Steps: 50}
	got, err := g.Evaluate(t.Context(), b, result, eval)
	if err != nil {
		t.Fatal(err)
	}
	if !(got.DriftError > 0 && got.DriftError < 0.3) || !(got.ODE.SW2 > 0 && got.ODE.SW2 < 1.6) || got.Diverged != "" {
		t.Errorf("%+v: the unsteered samples have a sliced W2 of 1.9", got)
	}
	// For each row of a batch two posterior samples with gradients and rewards, the base's drift,
	// and three for the tuned network: 1 + 2 (3 + 1) + 3.
	if want := 300.0 * 512 * 12; got.NFE != want {
		t.Errorf("NFE %g, want %g", got.NFE, want)
	}
	opened, again, err := mixture.OpenTuning(dir, smallMap)
	if err != nil {
		t.Fatal(err)
	}
	same, err := opened.Evaluate(t.Context(), b, again, eval)
	if err != nil {
		t.Fatal(err)
	}
	if same.ODE.SW2 != got.ODE.SW2 || same.DriftError != got.DriftError || len(again.Evaluations) != 3 {
		t.Errorf("opened again: %+v, was %+v", same, got)
	}
	_, _, err = mixture.OpenTuning(dir, "../../../data/weights/gmm-semigroup-teacher")
	if err == nil || !strings.Contains(err.Error(), "another map") {
		t.Errorf("opened with another base: error %v", err)
	}
	altered := t.TempDir()
	if err := os.CopyFS(altered, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	delete(again.Weights, "/output/biases")
	if err := checkpoint.WriteWeights(filepath.Join(altered, "weights.safetensors"), again.Weights, nil); err != nil {
		t.Fatal(err)
	}
	var unfit *train.FitError
	if _, _, err := mixture.OpenTuning(altered, smallMap); !errors.As(err, &unfit) || unfit.Tensor != "/output/biases" {
		t.Errorf("tuned weights without a tensor: error %v, want one that names it", err)
	}
	distill := mixture.DefaultDistillConfig()
	distill.Samples, distill.SamplerSteps = 2048, 20
	distill.Map.Train.Steps, distill.Map.Train.Batch = 20, 64
	distill.Map.Network = nn.NewNetwork(nn.MLPConfig{Width: 16, Depth: 2, Activation: "silu"})
	distilled := t.TempDir()
	e, draw, err := g.Distill(t.Context(), b, result, distill, run.Options{Dir: distilled})
	if err != nil {
		t.Fatal(err)
	}
	posteriors := mixture.EvalConfig{Times: []float64{0.5}, Contexts: 2, Samples: 256, Projections: 16, Seed: 1}
	results, err := e.Evaluate(t.Context(), draw, posteriors)
	if err != nil {
		t.Fatal(err)
	}
	// Open opens a distilled map like any other.
	kept, weights, err := mixture.Open(distilled)
	if err != nil {
		t.Fatal(err)
	}
	if draw, err = kept.Sampler(b, weights, train.WeightsScope, mfm.DefaultSamplerConfig()); err != nil {
		t.Fatal(err)
	}
	if found, err := kept.Evaluate(t.Context(), draw, posteriors); err != nil || found[0] != results[0] {
		t.Errorf("opened again: %+v, was %+v: %v", found, results[0], err)
	}
	if !(results[0].Excess.Float() < 3) || !(results[0].Diversity.Float() > 0) {
		t.Errorf("distilled: %+v", results[0])
	}
}

// A training that its budget ended does not go on when called again, even if it was killed before
// its weights were written.
func TestBudgetIsFinal(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	config := experimenttest.QuickTuning()
	config.Budget.KL, config.Budget.Stop, config.Budget.Every = 0.02, true, 50
	g, err := mixture.NewTuning(smallMap, mixture.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var steps [3]int64
	for i := range steps {
		if i == 2 {
			if err := os.Remove(filepath.Join(dir, "weights.safetensors")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := g.Train(t.Context(), b, run.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		last := r.Evaluations[len(r.Evaluations)-1]
		if !r.Stopped || r.Steps >= 300 || last.KL <= config.Budget.KL || r.Drift == nil {
			t.Fatalf("call %d: stopped %v after %d steps, evaluations %+v", i+1, r.Stopped, r.Steps, r.Evaluations)
		}
		steps[i] = r.Steps
	}
	if steps[0] != steps[1] || steps[0] != steps[2] {
		t.Errorf("ended after %d steps, called again after %d, without its weights after %d",
			steps[0], steps[1], steps[2])
	}
	config.Tune.Lambda = 2
	other, err := mixture.NewTuning(smallMap, mixture.PaperReward(), config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Train(t.Context(), b, run.Options{Dir: dir}); !errors.Is(err, run.ErrOtherRun) {
		t.Errorf("another λ in the folder of a finished run: error %v", err)
	}
}

// The result of each method survives JSON.
func TestTuningMethods(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	for _, method := range []string{"reward-weighted", "adjoint", "plug-in-exact"} {
		c := tuning.Setting{Config: experimenttest.QuickTuning(), Eval: tuning.EvalConfig{Samples: 256, Steps: 20}}
		c.Config.Method, c.Config.Tune.Steps, c.Config.Tune.Batch = method, 3, 80
		if method == "adjoint" {
			c.Config.Tune.States.OnPolicy = 1
		}
		got, err := tuned(t, b, c)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back mixture.TuningResult
		if err := json.Unmarshal(raw, &back); err != nil || back.Method != method ||
			math.Abs(back.ODE.SW2-got.ODE.SW2) > 1e-12 {
			t.Errorf("%s: result %s", method, raw)
		}
	}
	tilted := experimenttest.QuickTuning()
	tilted.Method, tilted.Tilted, tilted.Tune.Steps, tilted.Tune.Batch = "mfm-ft-gf", true, 3, 80
	few := tuning.EvalConfig{Samples: 256, Steps: 20}
	if got, err := tuned(t, b, tuning.Setting{Config: tilted, Eval: few}); err != nil || !(got.ODE.SW2 > 0) {
		t.Errorf("on states of the target: %+v: %v", got, err)
	}
	bad := experimenttest.QuickTuning()
	bad.Method = "mfm"
	_, err := mixture.NewTuning(smallMap, mixture.PaperReward(), bad)
	if err == nil || !strings.Contains(err.Error(), "use mfm-ft") {
		t.Errorf("an unknown method: error %v", err)
	}
}

// tuned tunes the shipped map to the paper's reward and evaluates the drift.
func tuned(t *testing.T, b compute.Backend, s tuning.Setting) (mixture.TuningResult, error) {
	g, err := mixture.NewTuning(smallMap, mixture.PaperReward(), s.Config)
	if err != nil {
		return mixture.TuningResult{}, err
	}
	return tuning.Run(t.Context(), b, g, s, "", run.Options{})
}
