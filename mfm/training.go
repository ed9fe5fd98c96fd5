package mfm

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// TrainConfig configures the training of a map.
type TrainConfig struct {
	Loss Loss `json:"loss"`
	train.Config
}

// DefaultTrainConfig returns [DefaultLoss] and [train.DefaultOptimizer] for 3,000 steps of batch
// 1,024, with one moving average of decay 0.999.
func DefaultTrainConfig() TrainConfig {
	return TrainConfig{Loss: DefaultLoss(), Config: train.Config{
		Optimizer: train.DefaultOptimizer(), Steps: 3000, Batch: 1024, Accumulate: 1, EMA: []float64{0.999},
	}}
}

// Validate returns an error that names the first invalid value.
func (c TrainConfig) Validate() error {
	if err := c.Loss.Validate(); err != nil {
		return err
	}
	return c.Config.Validate()
}

// NewTrainer returns a trainer of the map m at step zero, whose weights are initialized in the
// first step. teacher is the drift for distillation from a [Teacher], and otherwise nil. It returns
// an error for an invalid config and a missing teacher.
func NewTrainer(
	b compute.Backend, m *Map, source train.Source, teacher interpolant.Drift, config TrainConfig,
) (*train.Trainer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Loss.Distillation == Teacher && teacher == nil {
		return nil, fmt.Errorf("loss %s: distillation from a teacher needs its drift", config.Loss.Consistency)
	}
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, class := source(data, step.Graph(), rng, config.Batch)
		batch := Batch{Data: x, Class: class, Step: step}
		return config.Loss.Build(m, weights, weights, teacher, rng, batch).Reported()
	}
	return train.New(b, objective, config.Config, config)
}
