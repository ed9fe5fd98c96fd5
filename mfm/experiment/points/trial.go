package points

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// Trial is a training on a set whose posteriors are known, and its evaluation.
type Trial struct {
	Set    string     `json:"set"`  // a name of package sets
	Rows   int        `json:"rows"` // points, a tenth of which are held out
	Config Config     `json:"config"`
	Eval   EvalConfig `json:"eval"`
}

// TrialResult is the quality of the map of a trial.
type TrialResult struct {
	Set       string            `json:"set"`
	Columns   int               `json:"columns"`
	Rows      int               `json:"rows"`
	Seed      int64             `json:"seed"`
	Posterior []PosteriorResult `json:"posterior"`
	Check     *Check            `json:"check"`
	Steps     int64             `json:"steps"`
	Seconds   float64           `json:"seconds"` // of fitting the prior and of training
}

// TrialGrid returns three trials of the default configuration for every set, with 10,000 points and
// the seeds 0, 1 and 2.
func TrialGrid() []Trial {
	var all []Trial
	for seed := range int64(3) {
		for _, s := range sets.All() {
			t := Trial{Set: s.Name, Rows: 10_000, Config: DefaultConfig(), Eval: DefaultEval()}
			t.Config.Train.Seed = seed
			all = append(all, t)
		}
	}
	return all
}

// Validate returns an error that names the first value out of range.
func (t Trial) Validate() error {
	s, err := sets.Lookup(t.Set)
	if err != nil {
		return err
	}
	if least := max(leastRows, 10*s.Dim()); t.Rows < least || t.Rows > 1<<20 {
		return fmt.Errorf("set %s with rows = %d: must lie in [%d, %d]", t.Set, t.Rows, least, 1<<20)
	}
	if err := t.Config.Validate(s.Dim(), 0); err != nil {
		return err
	}
	return t.Eval.Validate()
}

// Run trains a map on points of the set and evaluates it.
func (t Trial) Run(ctx context.Context, b compute.Backend, o run.Options) (TrialResult, error) {
	seed := t.Config.Train.Seed
	result := TrialResult{Set: t.Set, Rows: t.Rows, Seed: seed, Steps: t.Config.Train.Steps}
	if err := t.Validate(); err != nil {
		return result, err
	}
	s, err := sets.Lookup(t.Set)
	if err != nil {
		return result, err
	}
	result.Columns = s.Dim()
	data, err := Split(s.Table(t.Rows, uint64(seed)))
	if err != nil {
		return result, err
	}
	began := time.Now()
	e, err := NewRun(ctx, t.Config, data, o)
	if err != nil {
		return result, err
	}
	fitted := time.Now()
	store, err := e.Train(ctx, b, data, o)
	if err != nil {
		return result, err
	}
	result.Seconds = fitted.Sub(began).Seconds() + run.Seconds(o.Dir, fitted)
	if result.Check, err = e.Check(ctx, b, store, data, DefaultCheck()); err != nil {
		return result, err
	}
	result.Posterior, err = e.Evaluate(ctx, b, store, s, t.Eval)
	return result, err
}
