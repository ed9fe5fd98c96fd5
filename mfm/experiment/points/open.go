package points

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// fittedFile keeps a run's [Fitted].
const fittedFile = "points.json"

// keep writes what was fitted to the folder of a run.
func (e *Experiment) keep(dir string) error {
	return run.WriteJSON(filepath.Join(dir, fittedFile), e.file)
}

// Open returns the experiment of the run in dir and a store with its map's weights in
// [train.WeightsScope]. It does not need the points.
func Open(dir string) (*Experiment, *model.Store, error) {
	e, err := openFitted(dir)
	if err != nil {
		return nil, nil, err
	}
	store, err := run.Open(dir, e.Model(model.NewStore()).Shapes)
	return e, store, err
}

func openFitted(dir string) (*Experiment, error) {
	var c Config
	if _, err := run.ReadConfig(dir, &c, Kind); err != nil {
		return nil, err
	}
	raw, err := config.ReadFile(filepath.Join(dir, fittedFile))
	if err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, fittedFile, err)
	}
	e, err := newFitted(c, raw)
	if err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, fittedFile, err)
	}
	return e, nil
}

// NewRun is [New] for a training with options o: if it resumes a run, the mixture and the scale are
// those that the run has kept.
func NewRun(ctx context.Context, config Config, data *Data, o run.Options) (*Experiment, error) {
	if o.Dir == "" || !run.Begun(o.Dir) {
		return New(ctx, config, data)
	}
	e, err := openFitted(o.Dir)
	if err != nil {
		return nil, err
	}
	// Another configuration is an error of the training, which names the difference.
	if e, err = newFitted(config, e.file); err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", o.Dir, fittedFile, err)
	}
	return e, nil
}

// OfRun returns the points of the run in dir, in the file that its manifest names, or in the file
// at path if that is not empty. Points that have changed since the training are an error.
func OfRun(dir, path string) (*Data, error) {
	var c Config
	m, err := run.ReadConfig(dir, &c, Kind)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = m.Data
	}
	if path == "" {
		return nil, fmt.Errorf("run %s: does not name the file of its data: name it", dir)
	}
	data, err := Load(path, c.Classes)
	if err == nil {
		err = m.CheckData(data.Train.Hash(), data.HeldOut.Hash())
	}
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	return data, nil
}
