package experiment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/figure"
)

// DiagnoseGMM looks at the map of the run in dir, beside the drift of its mixture.
func DiagnoseGMM(ctx context.Context, b compute.Backend, dir string, c diagnose.Config) (*diagnose.Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenGMM(dir)
	if err != nil {
		return nil, err
	}
	var flat []float32
	for _, x := range e.Config.Mixture.Sample(rand.New(rand.NewPCG(uint64(c.Seed), 23)), c.Contexts) {
		for _, v := range x {
			flat = append(flat, float32(v))
		}
	}
	return diagnose.Map(ctx, b, diagnose.Subject{Map: e.Map, Store: store, Scope: mfm.WeightsScope, Shape: e.Shape(), Data: flat, Drift: e.Teacher()}, c)
}

// DiagnoseDigits looks at the map of the run in dir, on the first of images, which should be held-out ones.
func DiagnoseDigits(ctx context.Context, b compute.Backend, dir string, train, heldOut *data.Images, c diagnose.Config) (*diagnose.Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenDigits(dir, train)
	if err != nil {
		return nil, err
	}
	if e.Config.Network.Classes > 0 {
		return nil, fmt.Errorf("run %s: the map has classes: only one without is looked at", dir)
	}
	return diagnose.Map(ctx, b, diagnose.Subject{Map: e.Map, Store: store, Scope: mfm.WeightsScope, Shape: e.Shape(), Data: heldOut.Float32()}, c)
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
