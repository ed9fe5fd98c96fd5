// Package experiment opens the runs of all tasks by what their manifests say. A task is an
// experiment of the paper or a check of it; its package lies below this one: mixture (the 2D
// mixture), gaussian, image (digits and other images), latent (pictures in latent space), points
// (the rows of a table), navigation, stress and speed. They build on the packages run (folders,
// logs, resuming), config, sweep, steering, tuning and report.
//
// Start with [Diagnose], which evaluates the map of any run, or with mixture.New, image.New and
// points.New, which set up a training.
package experiment

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// Diagnose evaluates the map of the run in dir, of a mixture, of images, of latents or of points,
// as [mixture.Diagnose], [image.Diagnose], [alignment.Diagnose] or [points.Diagnose] does. Images
// and points are those that the run's manifest names. If o.Times is empty, the configuration is the
// default of the run's kind, except for the seed. It returns an error for a run of another kind.
func Diagnose(ctx context.Context, b compute.Backend, dir string, o report.Options) (*diagnose.Report, error) {
	manifest, err := run.ReadManifest(dir, mixture.Kind, mixture.KindDistilled, image.Kind, latent.Kind, points.Kind)
	if err != nil {
		return nil, err
	}
	seed := o.Seed
	switch {
	case len(o.Times) > 0:
	case manifest.Kind == image.Kind || manifest.Kind == latent.Kind:
		o.Config = image.DefaultDiagnosis()
	default:
		o.Config = diagnose.DefaultConfig()
	}
	o.Seed = seed
	switch manifest.Kind {
	case points.Kind:
		return points.Diagnose(ctx, b, dir, "", o)
	case latent.Kind:
		heldOut, err := heldOutOf(ctx, manifest)
		if err != nil {
			return nil, err
		}
		pictures, err := heldOut.Random(ctx, o.Contexts)
		if err != nil {
			return nil, err
		}
		return alignment.Diagnose(ctx, b, dir, pictures, o)
	case mixture.Kind, mixture.KindDistilled:
		return mixture.Diagnose(ctx, b, dir, o)
	}
	train, heldOut, err := image.OfRun(dir)
	if err != nil {
		return nil, err
	}
	return image.Diagnose(ctx, b, dir, train, heldOut, o)
}

// heldOutOf returns the held-out pictures that the manifest of a map of latents names.
func heldOutOf(ctx context.Context, m run.Manifest) (heldOut latent.Pictures, err error) {
	location, err := data.ParseLocation(m.Data)
	if err != nil {
		return heldOut, err
	}
	return latent.LoadHeldOut(ctx, m, location)
}

// Verdict returns what [diagnose.Verdict] says of the map of the run in dir, of a mixture, of
// images or of latents: whether one step is as good as the ODE of the same weights, on held-out
// data, those that the run's manifest names. It takes a few seconds. It returns an error for a run
// of another kind.
func Verdict(ctx context.Context, b compute.Backend, dir string) ([]string, error) {
	manifest, err := run.ReadManifest(dir, mixture.Kind, mixture.KindDistilled, image.Kind, latent.Kind)
	if err != nil {
		return nil, err
	}
	var r *diagnose.Report
	switch manifest.Kind {
	case image.Kind:
		train, heldOut, err := image.OfRun(dir)
		if err != nil {
			return nil, err
		}
		o := report.Options{Config: image.DefaultDiagnosis().Brief(heldOut.N)}
		if r, err = image.Diagnose(ctx, b, dir, train, heldOut, o); err != nil {
			return nil, err
		}
	case latent.Kind:
		heldOut, err := heldOutOf(ctx, manifest)
		if err != nil {
			return nil, err
		}
		if r, err = latent.Diagnose(ctx, b, dir, heldOut, image.DefaultDiagnosis().Brief(heldOut.Len())); err != nil {
			return nil, err
		}
	default:
		if r, err = mixture.Diagnose(ctx, b, dir, report.Options{Config: diagnose.DefaultConfig().Brief(32)}); err != nil {
			return nil, err
		}
	}
	return diagnose.Verdict(r), nil
}
