package mixture

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// Variant is a consistency loss with the source of its drift.
type Variant struct {
	Loss         mfm.Consistency
	Distillation mfm.Distillation
}

// String returns, for example, "semigroup-teacher".
func (v Variant) String() string { return fmt.Sprintf("%s-%s", v.Loss, v.Distillation) }

// Variants returns every consistency loss with each distillation. Mean Flow has one: with a
// teacher's drift instead of the data's it is the Eulerian loss.
func Variants() []Variant {
	return []Variant{
		{mfm.Semigroup, mfm.Self}, {mfm.Semigroup, mfm.Teacher},
		{mfm.MeanFlow, mfm.Self},
		{mfm.Eulerian, mfm.Self}, {mfm.Eulerian, mfm.Teacher},
		{mfm.Lagrangian, mfm.Self}, {mfm.Lagrangian, mfm.Teacher},
	}
}

// LossResult is the result of one training of a sweep. A training that ended in non-finite values
// has no map to evaluate, and so no excess.
type LossResult struct {
	Loss         mfm.Consistency  `json:"loss"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	Diverged     bool             `json:"diverged"`             // not finite, or a mean excess above 1
	MeanExcess   metric.Optional  `json:"mean_excess,omitzero"` // over the times of the evaluation
	WorstExcess  metric.Optional  `json:"worst_excess,omitzero"`
	Seconds      float64          `json:"seconds"` // of training; 0 after non-finite values
	StepsPerSec  float64          `json:"steps_per_s"`
}

// LossSweep says what [SweepLosses] trains.
type LossSweep struct {
	// Dir has a folder for the run of each training. Finished runs are not trained again.
	Dir      string
	Variants []Variant
	Seeds    []int64
	// Command returns the command in the manifest of a variant and seed; nil means none.
	Command func(Variant, int64) string
	// Sink returns a new sink for the progress of each training; nil shows nothing.
	Sink     func() progress.Sink
	Evaluate EvalConfig
}

// SweepLosses trains a map of base's mixture for every variant and seed, with the options of
// [SetLoss], and evaluates its one-step samples. It returns a posterior result for each training
// and time, and a loss result for each training. A training that ended in non-finite values has a
// loss result alone.
func SweepLosses(ctx context.Context, b compute.Backend, base Config, o LossSweep) (
	[]PosteriorResult, []LossResult, error) {
	var posteriors []PosteriorResult
	var results []LossResult
	for _, v := range o.Variants {
		for _, seed := range o.Seeds {
			config := base
			config.SetLoss(v.Loss, v.Distillation)
			config.Train.Seed = seed
			evaluated, result, err := sweepOne(ctx, b, config, v, o)
			if err != nil {
				return posteriors, results, fmt.Errorf("sweep, %v, seed %d: %w", v, seed, err)
			}
			posteriors, results = append(posteriors, evaluated...), append(results, result)
		}
	}
	return posteriors, results, nil
}

func sweepOne(ctx context.Context, b compute.Backend, config Config, v Variant, o LossSweep) (
	[]PosteriorResult, LossResult, error) {
	result := LossResult{Loss: v.Loss, Distillation: v.Distillation, Seed: config.Train.Seed}
	e, err := New(config)
	if err != nil {
		return nil, result, err
	}
	options := run.Options{Dir: filepath.Join(o.Dir, fmt.Sprintf("%v-%d", v, config.Train.Seed)), Now: time.Now}
	if o.Command != nil {
		options.Command = o.Command(v, config.Train.Seed)
	}
	if o.Sink != nil {
		options.Sink = o.Sink()
	}
	store, err := e.Train(ctx, b, options)
	if run.OnlyNonFinite(err) {
		result.Diverged = true
		return nil, result, nil
	}
	if err != nil {
		return nil, result, err
	}
	log, err := run.ReadLog(options.Dir)
	if err != nil {
		return nil, result, err
	}
	first, last := log[0], log[len(log)-1]
	result.Seconds = last.Seconds
	if last.Seconds > first.Seconds {
		result.StepsPerSec = float64(last.Step-first.Step) / (last.Seconds - first.Seconds)
	}
	draw, err := e.Sampler(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, result, err
	}
	posteriors, err := e.Evaluate(ctx, draw, o.Evaluate)
	if err != nil {
		return nil, result, err
	}
	result.MeanExcess, result.WorstExcess = MeanExcess(posteriors)
	result.Diverged = result.MeanExcess.Float() > 1
	return posteriors, result, nil
}

// MeanExcess returns the mean and the largest excess of the results that have one, undefined
// without any.
func MeanExcess(results []PosteriorResult) (mean, worst metric.Optional) {
	results = slices.DeleteFunc(slices.Clone(results), func(r PosteriorResult) bool { return r.Excess.IsZero() })
	if len(results) == 0 {
		return mean, worst
	}
	sum, most := 0.0, 0.0
	for _, r := range results {
		sum += r.Excess.Float() / float64(len(results))
		most = max(most, r.Excess.Float())
	}
	return metric.Some(sum), metric.Some(most)
}
