package mixture

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
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
// has no map to evaluate: its excess is NaN, and absent from the JSON.
type LossResult struct {
	Loss         mfm.Consistency  `json:"loss"`
	Distillation mfm.Distillation `json:"distillation"`
	Seed         int64            `json:"seed"`
	Diverged     bool             `json:"diverged"`    // non-finite values, or a mean excess above 1
	MeanExcess   float64          `json:"mean_excess"` // over the times of the evaluation
	WorstExcess  float64          `json:"worst_excess"`
	Seconds      float64          `json:"seconds"` // of training; 0 after non-finite values
	StepsPerSec  float64          `json:"steps_per_s"`
}

// MarshalJSON omits both excesses if one is NaN, which JSON cannot express.
func (r LossResult) MarshalJSON() ([]byte, error) {
	type plain LossResult
	if !math.IsNaN(r.MeanExcess) && !math.IsNaN(r.WorstExcess) {
		return json.Marshal(plain(r))
	}
	return json.Marshal(struct {
		plain
		MeanExcess  *float64 `json:"mean_excess,omitempty"`
		WorstExcess *float64 `json:"worst_excess,omitempty"`
	}{plain: plain(r)})
}

// UnmarshalJSON reads an absent excess as NaN.
func (r *LossResult) UnmarshalJSON(raw []byte) error {
	type plain LossResult
	read := plain{MeanExcess: math.NaN(), WorstExcess: math.NaN()}
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	*r = LossResult(read)
	return nil
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
		result.Diverged, result.MeanExcess, result.WorstExcess = true, math.NaN(), math.NaN()
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
	result.MeanExcess, result.WorstExcess = meanExcess(posteriors)
	result.Diverged = result.MeanExcess > 1
	return posteriors, result, nil
}

// meanExcess returns the mean and the largest excess of the results that have one, NaN without any.
func meanExcess(results []PosteriorResult) (mean, worst float64) {
	results = slices.DeleteFunc(slices.Clone(results), func(r PosteriorResult) bool { return math.IsNaN(r.Excess) })
	if len(results) == 0 {
		return math.NaN(), math.NaN()
	}
	for _, r := range results {
		mean += r.Excess / float64(len(results))
		worst = max(worst, r.Excess)
	}
	return mean, worst
}
