package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// DiagnoseOptions say what is looked at beside the map itself.
type DiagnoseOptions struct {
	diagnose.Config
	// Reward, as [reward.Parse] reads it, has a few samples steered to it by MFM-GF, and what the run warns of is in the report. nil: none.
	Reward json.RawMessage
	// Judge and Second are the classifiers' folders of steered images, see [DigitsSteeringConfig].
	Judge, Second string
	// Tuned is the folder of a drift that was tuned from this map, of which what was seen while it was tuned is in the report; empty: none. Of images, Reward must be what it was tuned to.
	Tuned string
}

// Diagnose looks at the map of the run in dir, of a mixture or of images, which are those that the run names, as [DiagnoseGMM] or [DiagnoseDigits] does. Options without times have the defaults of the run's kind,
// [diagnose.DefaultConfig] or [DigitsDiagnosis], but for the seed.
func Diagnose(ctx context.Context, b compute.Backend, dir string, o DiagnoseOptions) (*diagnose.Report, error) {
	manifest, err := readManifest(dir, KindGMM, KindDistilledGMM, KindDigits)
	if err != nil {
		return nil, err
	}
	images, seed := manifest.Kind == KindDigits, o.Seed
	switch {
	case len(o.Times) > 0:
	case images:
		o.Config = DigitsDiagnosis()
	default:
		o.Config = diagnose.DefaultConfig()
	}
	o.Seed = seed
	if !images {
		return DiagnoseGMM(ctx, b, dir, o)
	}
	training, heldOut, err := RunImages(dir)
	if err != nil {
		return nil, err
	}
	return DiagnoseDigits(ctx, b, dir, training, heldOut, o)
}

// DigitsDiagnosis is the default of a look at a map of images, whose network is large: 8 contexts with 16 draws each, in 8 steps of the ODE, and residuals on a grid of 4.
func DigitsDiagnosis() diagnose.Config {
	c := diagnose.DefaultConfig()
	c.Contexts, c.Draws, c.Steps, c.Grid = 8, 16, 8, 4
	return c
}

// DiagnoseGMM looks at the map of the run in dir, beside the drift and the posteriors of its mixture.
func DiagnoseGMM(ctx context.Context, b compute.Backend, dir string, o DiagnoseOptions) (*diagnose.Report, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenGMM(dir)
	if err != nil {
		return nil, err
	}
	var flat []float32
	for _, x := range e.Config.Mixture.Sample(rand.New(rand.NewPCG(uint64(o.Seed), 23)), o.Contexts) {
		for _, v := range x {
			flat = append(flat, float32(v))
		}
	}
	exact := func(t float64, x []float64) float64 {
		return e.Config.Mixture.Posterior(e.Map.Interpolant, t, x).Spread()
	}
	drift := e.Teacher()
	if e.distilled {
		drift = nil // its own: it was not distilled from the exact target's
	}
	report, err := diagnose.Map(ctx, b, diagnose.Subject{Map: e.Map, Store: store, Scope: train.WeightsScope, Shape: e.Shape(), Data: flat, Drift: drift, Exact: exact}, o.Config)
	if err != nil {
		return nil, err
	}
	if o.Reward != nil {
		s, err := NewRewardSteering(dir, nil, o.Reward)
		if err != nil {
			return nil, err
		}
		c := lookedAt(100, 256)
		_, run, err := s.Draw(ctx, b, c)
		if err != nil {
			return nil, err
		}
		report.AddSteering(run.Series, steer.DefaultThresholds(), c.N)
	}
	if o.Tuned != "" {
		t, tuned, err := OpenGMMTuning(o.Tuned, dir)
		if err != nil {
			return nil, err
		}
		report.AddTuning(tuned.Looks, t.Known())
	}
	return report, nil
}

// lookedAt is the steered run that a report shows.
func lookedAt(steps, samples int) SteerCell {
	c := SteerCell{Method: "mfm-gf", N: 16, Samples: samples, Config: steer.DefaultConfig(), Baseline: steer.MeanBaseline}
	c.Config.Steps = steps
	return c
}

// DiagnoseDigits looks at the map of the run in dir, on the first of the held-out images. There is no drift beside it: that of the training images as points, which it learned from, is none that it should have.
func DiagnoseDigits(ctx context.Context, b compute.Backend, dir string, training, heldOut *data.Images, o DiagnoseOptions) (*diagnose.Report, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenDigits(dir, training)
	if err != nil {
		return nil, err
	}
	if e.Config.Network.Classes > 0 {
		return nil, fmt.Errorf("run %s: the map has classes: only one without is looked at", dir)
	}
	report, err := diagnose.Map(ctx, b, diagnose.Subject{Map: e.Map, Store: store, Scope: train.WeightsScope, Shape: e.Shape(), Data: heldOut.Float32()}, o.Config)
	if err != nil {
		return nil, err
	}
	if o.Reward == nil {
		if o.Tuned != "" {
			return nil, fmt.Errorf("run %s: give the reward that it was tuned to, which says how far its samples should spread", o.Tuned)
		}
		return report, nil
	}
	s, err := NewDigitsSteering(b, DigitsSteeringConfig{Map: dir, Reward: o.Reward, Judge: o.Judge, Second: o.Second}, training)
	if err != nil {
		return nil, err
	}
	c := lookedAt(25, 16)
	_, run, err := s.Draw(ctx, b, c)
	if err != nil {
		return nil, err
	}
	report.AddSteering(run.Series, steer.DefaultThresholds(), c.N)
	if o.Tuned == "" {
		return report, nil
	}
	manifest, err := readManifest(o.Tuned, KindTunedDigits)
	if err != nil {
		return nil, err
	}
	var made digitsTuneManifest
	if err := decodeStrict(manifest.Config, &made); err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", o.Tuned, configFile, err)
	}
	if made.Problem != s.Problem {
		return nil, fmt.Errorf("run %s was tuned from another map, or to another reward", o.Tuned)
	}
	var looks []tune.Look
	if err := readLooks(o.Tuned, &looks); err != nil {
		return nil, err
	}
	target, err := s.target(made.Tune.Lambda)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", o.Tuned, err)
	}
	report.AddTuning(looks, target)
	return report, nil
}

// WriteReport writes a report to a folder: report.json, report.txt, and its figures as PNG.
func WriteReport(dir string, r *diagnose.Report, theme figure.Theme) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := writeJSON(filepath.Join(dir, "report.json"), r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, "report.txt"), []byte(r.Text())); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for name, fig := range r.Figures(theme) {
		if err := fig.Save(filepath.Join(dir, name+".png")); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
