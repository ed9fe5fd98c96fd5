package experiment

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
	"github.com/gomfm/gomfm/mfm/progress"
	"github.com/gomfm/gomfm/mfm/train"
)

// Variant is a loss and where its drift comes from.
type Variant struct {
	Loss         mfm.Consistency
	Distillation mfm.Distillation
}

// String returns, for example, "semigroup-teacher".
func (v Variant) String() string { return fmt.Sprintf("%s-%s", v.Loss, v.Distillation) }

// Variants lists every consistency loss with each distillation. Mean Flow has one: with a teacher's drift in place of the data's it is the Eulerian loss.
func Variants() []Variant {
	return []Variant{
		{mfm.Semigroup, mfm.Self}, {mfm.Semigroup, mfm.Teacher},
		{mfm.MeanFlow, mfm.Self},
		{mfm.Eulerian, mfm.Self}, {mfm.Eulerian, mfm.Teacher},
		{mfm.Lagrangian, mfm.Self}, {mfm.Lagrangian, mfm.Teacher},
	}
}

// SweepRow is what became of one training of a sweep. Where a value was not finite, there is no map to evaluate: the excess is NaN, and left out of the JSON.
type SweepRow struct {
	Loss         string  `json:"loss"`
	Distillation string  `json:"distillation"`
	Seed         int64   `json:"seed"`
	Diverged     bool    `json:"diverged"`    // a value was not finite, or the mean excess is above one
	MeanExcess   float64 `json:"mean_excess"` // over the times of the evaluation
	WorstExcess  float64 `json:"worst_excess"`
	Seconds      float64 `json:"seconds"` // of training; 0 where a value was not finite
	StepsPerSec  float64 `json:"steps_per_s"`
}

// MarshalJSON leaves out an excess that is NaN, which JSON does not have.
func (r SweepRow) MarshalJSON() ([]byte, error) {
	type row SweepRow
	if !math.IsNaN(r.MeanExcess) {
		return json.Marshal(row(r))
	}
	return json.Marshal(struct {
		row
		MeanExcess  *float64 `json:"mean_excess,omitempty"`
		WorstExcess *float64 `json:"worst_excess,omitempty"`
	}{row: row(r)})
}

// UnmarshalJSON reads an excess that is not there as NaN.
func (r *SweepRow) UnmarshalJSON(raw []byte) error {
	type row SweepRow
	read := row{MeanExcess: math.NaN(), WorstExcess: math.NaN()}
	if err := json.Unmarshal(raw, &read); err != nil {
		return err
	}
	*r = SweepRow(read)
	return nil
}

// SweepOptions say what a sweep trains and shows.
type SweepOptions struct {
	Dir      string // folder with one run's folder in it for each training; finished ones are not trained again
	Variants []Variant
	Seeds    []int64
	Command  func(Variant, int64) string // for the manifests; nil: empty
	Sink     func() progress.Sink        // a new one for each training; nil: nothing is shown
	Evaluate EvaluateConfig
}

// Sweep trains a map of base's mixture for every variant and seed, with the options that are best for each, and evaluates its one-step samples. Trainings that
// diverge are reported in their row and have no posterior rows.
func Sweep(ctx context.Context, b compute.Backend, base GMMConfig, o SweepOptions) ([]PosteriorRow, []SweepRow, error) {
	var rows []PosteriorRow
	var runs []SweepRow
	for _, v := range o.Variants {
		for _, seed := range o.Seeds {
			config := base
			config.SetLoss(v.Loss, v.Distillation)
			config.Train.Seed = seed
			evaluated, run, err := sweepOne(ctx, b, config, v, o)
			if err != nil {
				return rows, runs, fmt.Errorf("sweep, %v, seed %d: %w", v, seed, err)
			}
			rows, runs = append(rows, evaluated...), append(runs, run)
		}
	}
	return rows, runs, nil
}

func sweepOne(ctx context.Context, b compute.Backend, config GMMConfig, v Variant, o SweepOptions) ([]PosteriorRow, SweepRow, error) {
	run := SweepRow{Loss: string(v.Loss), Distillation: string(v.Distillation), Seed: config.Train.Seed}
	e, err := NewGMM(config)
	if err != nil {
		return nil, run, err
	}
	options := RunOptions{Dir: filepath.Join(o.Dir, fmt.Sprintf("%v-%d", v, config.Train.Seed)), Now: time.Now}
	if o.Command != nil {
		options.Command = o.Command(v, config.Train.Seed)
	}
	if o.Sink != nil {
		options.Sink = o.Sink()
	}
	store, err := e.Train(ctx, b, options)
	if onlyNonFinite(err) {
		run.Diverged, run.MeanExcess, run.WorstExcess = true, math.NaN(), math.NaN()
		return nil, run, nil
	}
	if err != nil {
		return nil, run, err
	}
	log, err := ReadLog(options.Dir)
	if err != nil {
		return nil, run, err
	}
	first, last := log[0], log[len(log)-1]
	run.Seconds = last.Seconds
	if last.Seconds > first.Seconds {
		run.StepsPerSec = float64(last.Step-first.Step) / (last.Seconds - first.Seconds)
	}
	draw, err := e.Drawer(b, store, train.WeightsScope, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, run, err
	}
	rows, err := e.Evaluate(ctx, draw, o.Evaluate)
	if err != nil {
		return nil, run, err
	}
	for _, r := range rows {
		run.MeanExcess += r.Excess / float64(len(rows))
		run.WorstExcess = max(run.WorstExcess, r.Excess)
	}
	run.Diverged = run.MeanExcess > 1
	return rows, run, nil
}

// onlyNonFinite says whether err is of values that were not finite, in training or among samples, with nothing joined to it such as a checkpoint that could not be written.
func onlyNonFinite(err error) bool {
	return only(err, func(err error) bool { _, is := err.(*train.NonFiniteError); return is || err == errNotFinite })
}

// only reports whether all that an error consists of is of a kind.
func only(err error, kind func(error) bool) bool {
	if err == nil {
		return false
	}
	if kind(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return only(e.Unwrap(), kind)
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !only(err, kind) })
	}
	return false
}
