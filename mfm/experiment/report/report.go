// Package report configures and writes the report on a run's map. Package diagnose evaluates the
// map; packages mixture, image and latent/alignment add what a steered run and a tuned drift
// report, if [Options] ask for them. [Write] stores the report and its figures.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Options say what a report covers besides the map itself.
type Options struct {
	diagnose.Config
	// Reward, in the JSON that [github.com/gomfm/gomfm/mfm/reward.Parse] reads, adds the warnings
	// of a run that MFM-GF steers to it. Nil means no steered run.
	Reward json.RawMessage
	// Evaluator and Second are folders of the classifiers that evaluate steered images.
	Evaluator, Second string
	// Class, for a map of images with classes, restricts the report to one: to its held-out images,
	// and to it as the class of steered samples. Nil means that each image has its label and that
	// steered samples have no class.
	Class *int
	// Guidance is the scale of guidance of the map, as [github.com/gomfm/gomfm/mfm.Model.Guided]
	// has it, for images with classes; 0 means none. Steered samples are guided as well, and need a
	// Class.
	Guidance float64
	// Tuned is the folder of a drift that was tuned from this map; the report includes its
	// monitors. Empty means none. For images outside of a latent space, Reward must be the one that
	// the drift was tuned to.
	Tuned string
}

// InvalidError is an error in the [Options] of a report, or in the run that it is about, before the
// map is evaluated.
type InvalidError struct{ Err error }

// Error returns the error's text.
func (e InvalidError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e InvalidError) Unwrap() error { return e.Err }

// Steered returns the setting of the steered run in a report: MFM-GF with 16 posterior samples per
// state.
func Steered(steps, samples int) steering.Setting {
	s := steering.Setting{
		Method: "mfm-gf", N: 16, Samples: samples, Config: steer.DefaultConfig(),
		Options: steering.Options{Baseline: steer.MeanBaseline},
	}
	s.Config.Steps = steps
	return s
}

// Write writes a report to the folder dir: report.json, report.txt, and its figures as PNG.
func Write(dir string, r *diagnose.Report, theme figure.Theme) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := run.WriteJSON(filepath.Join(dir, "report.json"), r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := run.ReplaceFile(filepath.Join(dir, "report.txt"), []byte(r.Text())); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for name, fig := range r.Figures(theme) {
		if err := fig.Save(filepath.Join(dir, name+".png")); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
