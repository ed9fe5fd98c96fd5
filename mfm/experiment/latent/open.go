package latent

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// Kind is the kind of a run that trained a map of latents.
const Kind = "imagenet"

// statisticsFile keeps the statistics of a run's latents, with which the map can be used without
// the latents.
const statisticsFile = "statistics.safetensors"

// newMap returns the untrained map of a configuration.
func newMap(c Config, s latents.Statistics) (*mfm.Map, error) {
	ip, err := c.Interpolant.Schedule()
	if err != nil {
		return nil, err
	}
	m := &mfm.Map{Interpolant: ip, Backbone: c.Network.Backbone(), Parametrization: mfm.Plain{}}
	if c.Parametrization == mfm.GaussianName {
		g := &mfm.Gaussian{Variance: []float64{float64(s.Variance)}}
		for _, v := range s.Mean {
			g.Mean = append(g.Mean, float64(v))
		}
		m.Parametrization = g
	}
	return m, nil
}

// modelOf returns a map with the weights that store has in [train.WeightsScope].
func modelOf(c Config, m *mfm.Map, s latents.Statistics, store *model.Store) mfm.Model {
	return mfm.Model{Map: m, Weights: store.Scope(train.WeightsScope), Shape: s.Shape, Classes: c.Network.ClassCount(),
		Scales: c.Train.Loss.Guidance.Scales}
}

// Train trains the map; see [run.Train]. It returns a store with the weights in
// [train.WeightsScope]. The run keeps a copy of the autoencoder in the folder codec, unless that is
// empty, so that [OpenCodec] opens it. A teacher that the configuration names must be set.
func (e *Experiment) Train(ctx context.Context, b compute.Backend, codec string, o run.Options) (*model.Store, error) {
	source, hook, err := e.Source()
	if err != nil {
		return nil, err
	}
	t, err := mfm.NewTrainer(b, e.Map, source, e.Teacher(), e.Config.Train)
	if err != nil {
		return nil, err
	}
	t.AddHook(hook)
	o.DataHash = e.Latents.Hash()
	if o.Dir != "" {
		keep := func(*train.Trainer) error {
			return cmp.Or(e.statistics.Write(filepath.Join(o.Dir, statisticsFile)), copyCodec(codec, o.Dir))
		}
		o.Hooks = append(o.Hooks, train.Hook{Start: keep})
	}
	return run.TrainedStore(ctx, t, Kind, e.Config, o)
}

// copyCodec copies the autoencoder in a folder, or in that of a run, to the run in dir.
func copyCodec(from, dir string) error {
	if from == "" {
		return nil
	}
	from, err := codecFolder(from)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, exported)
	if _, err := os.Stat(to); err == nil {
		return nil // of a run that resumes
	}
	temporary := to + ".part"
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	err = os.MkdirAll(temporary, 0o755)
	for _, name := range pretrained.AutoencoderFiles(from) { // through links, as the cache of Hugging Face has them
		raw, readErr := os.ReadFile(filepath.Join(from, name))
		if err = cmp.Or(err, readErr); err == nil {
			err = os.WriteFile(filepath.Join(temporary, name), raw, 0o644)
		}
	}
	if err != nil {
		return fmt.Errorf("copying the autoencoder: %w", err)
	}
	return os.Rename(temporary, to)
}

// Open returns the experiment of the run in dir, on the latents that it was trained on, with the
// statistics that it was trained with, and a store with its map's weights in [train.WeightsScope].
// Latents of other images or of another codec, and weights that are not exactly those of the map,
// are errors.
func Open(dir string, l *latents.Set) (*Experiment, *model.Store, error) {
	var c Config
	m, err := run.ReadConfig(dir, &c, Kind)
	if err != nil {
		return nil, nil, err
	}
	if err := m.CheckData(l.Hash(), ""); err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	s, err := latents.ReadStatistics(filepath.Join(dir, statisticsFile))
	if err == nil && !slices.Equal(s.Shape, l.Shape()) {
		err = fmt.Errorf("%s: the statistics are of latents %v, not %v", statisticsFile, s.Shape, l.Shape())
	}
	if err := cmp.Or(c.ValidateFor(l), err); err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	e, err := newExperiment(c, l, s)
	if err != nil {
		return nil, nil, err
	}
	store, err := run.Open(dir, e.Model(model.NewStore()).Shapes)
	return e, store, err
}

// OpenModel returns the map of the run in dir with its weights, and the configuration of its
// training. It does not need the latents. dir may also be a folder with the transformer of a
// release (see [Released]), whose map is as [pretrained.ImportDiT] or [pretrained.SiTWeights] says:
// that of a flow model, such as SiT-XL/2, needs the sampling [mfm.ODESampling], and one that was
// trained on classes with guidance alone, such as MFM-XL/2, has it ([mfm.Model.GuidedOnly]).
func OpenModel(dir string) (mfm.Model, Config, error) {
	if r, ok, err := Released(dir); err != nil || ok {
		if err != nil {
			return mfm.Model{}, Config{}, err
		}
		return openReleased(dir, r)
	}
	var c Config
	if _, err := run.ReadConfig(dir, &c, Kind); err != nil {
		return mfm.Model{}, c, err
	}
	if err := c.Validate(); err != nil {
		return mfm.Model{}, c, fmt.Errorf("run %s: %w", dir, err)
	}
	s, err := latents.ReadStatistics(filepath.Join(dir, statisticsFile))
	if err == nil {
		err = c.Network.CheckShape(s.Shape)
	}
	if err != nil {
		return mfm.Model{}, c, fmt.Errorf("run %s: %w", dir, err)
	}
	m, err := newMap(c, s)
	if err != nil {
		return mfm.Model{}, c, err
	}
	store, err := run.Open(dir, modelOf(c, m, s, model.NewStore()).Shapes)
	if err != nil {
		return mfm.Model{}, c, err
	}
	return modelOf(c, m, s, store), c, nil
}
