package alignment

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/steer"
)

// base are unsteered samples to compare others with.
type base struct {
	latents, pixels []float32
	features        [][][]float64 // by each evaluator
	monitors        Monitors
}

// baseSeed is the seed of the unsteered samples that steered ones are compared with: none of a run.
const baseSeed = 1 << 40

// unsteered returns the setting of unsteered samples to compare those of a setting with: as many,
// of the same class and guidance, in the same steps, with the same dynamics if the method follows
// any.
func unsteered(c steering.Setting) steering.Setting {
	base := steering.Setting{
		Method: steering.Unsteered, N: 1, Samples: c.Samples, Seed: baseSeed, Config: steer.DefaultConfig(),
		Options: steering.Options{Class: c.Class, Guidance: c.Guidance, GuidePosterior: c.GuidePosterior},
	}
	entry, err := steer.Lookup(c.Method)
	if err != nil || !entry.OneStep {
		base.Config.Grid, base.Config.Start = c.Config.Grid, c.Config.Start
	}
	if err != nil || !entry.AnyDynamics {
		base.Config.Dynamics, base.Config.Solver = c.Config.Dynamics, c.Config.Solver
	}
	if base.Config.Dynamics == steer.SDE {
		base.Config.Noise, base.Config.Cap = c.Config.Noise, c.Config.Cap
	}
	return base
}

// compare returns unsteered samples and their rewards. They are drawn once for all settings that
// have the same. It returns nil if they diverge.
func (s *Steering) compare(ctx context.Context, b compute.Backend, c steering.Setting) (*base, pictureValues, error) {
	setting := unsteered(c)
	name, err := sweep.Name(setting)
	if err != nil {
		return nil, pictureValues{}, err
	}
	m := s.model
	if m.unsteered[name] == nil {
		of := s.plain()
		latents, _, err := of.Draw(ctx, b, setting, nil, nil)
		if err != nil {
			return nil, pictureValues{}, fmt.Errorf("unsteered samples to compare with: %w", err)
		}
		if !stats.Finite(latents) {
			return nil, pictureValues{}, nil
		}
		drawn := &base{latents: latents}
		if drawn.pixels, err = m.decoder.decode(ctx, latents); err != nil {
			return nil, pictureValues{}, err
		}
		if drawn.features, err = m.features(ctx, drawn.pixels); err != nil {
			return nil, pictureValues{}, err
		}
		size := m.Size()
		if drawn.monitors, err = newMonitors(latents, drawn.pixels, size[0], size[1], size[2]); err != nil {
			return nil, pictureValues{}, err
		}
		m.unsteered[name] = drawn
	}
	values, found := s.base[name]
	if !found {
		if values, err = s.values(ctx, m.unsteered[name].pixels, s.Labels(setting)); err != nil {
			return nil, pictureValues{}, err
		}
		s.base[name] = values
	}
	return m.unsteered[name], values, nil
}

// features returns the features of pictures by each evaluator.
func (m *Model) features(ctx context.Context, pixels []float32) (all [][][]float64, err error) {
	size := m.Size()
	for _, e := range m.evaluators {
		features, err := e.FeaturesOf(ctx, pixels, size[0], size[1])
		if err != nil {
			return nil, err
		}
		all = append(all, features)
	}
	return all, nil
}

// shownPictures is the number of pictures in a row of [Result].Pictures.
const shownPictures = 8

// pair returns the PNG of [Result].Pictures. steered are the pictures of the run, and first the
// first candidates of Best-of-N.
func (s *Steering) pair(
	ctx context.Context, b compute.Backend, c steering.Setting, first, steered []float32,
) ([]byte, error) {
	size := s.model.Size()
	n, pixels := min(shownPictures, c.Samples), size[0]*size[1]*size[2]
	method, err := c.SteerMethod(nil)
	switch {
	case err != nil:
		return nil, err
	case first != nil:
		return strip(size[0], size[1], size[2], first, steered[:n*pixels])
	case method.Group() > 1 || c.Particles > 1:
		return strip(size[0], size[1], size[2], steered[:n*pixels])
	}
	// The pictures are drawn again in one batch, whose noise is the same for all methods, unless the
	// run itself was one. They are as many as a batch has, for which there is the memory.
	n = max(min(n, s.Batch/method.Rows()), 1)
	whole := c.Samples == n && n*method.Rows() <= s.Batch
	draw := func(of steering.Base, c steering.Setting, rows int) ([]float32, error) {
		if c.Samples = n; !whole {
			of.Batch, of.Kept = n*rows, nil
		}
		latents, _, err := of.Draw(ctx, b, c, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("pictures: %w", err)
		}
		return s.model.decoder.decode(ctx, latents)
	}
	plain := unsteered(c)
	plain.Seed, plain.Samples = c.Seed, n
	name, err := sweep.Name(plain)
	if err != nil {
		return nil, err
	}
	before := s.model.before[name]
	if before == nil {
		if before, err = draw(s.plain(), plain, 1); err != nil {
			return nil, err
		}
		s.model.before[name] = before
	}
	if whole {
		return strip(size[0], size[1], size[2], before, steered[:n*pixels])
	}
	after, err := draw(s.Base, c, method.Rows())
	if err != nil {
		return nil, err
	}
	return strip(size[0], size[1], size[2], before, after)
}
