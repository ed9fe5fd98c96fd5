package tuning

import (
	"context"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// Setting is one fine-tuning with its evaluation: all that its result depends on.
type Setting struct {
	// Fingerprint is that of the task: base, weights and reward.
	Fingerprint string     `json:"fingerprint"`
	Config      Config     `json:"config"`
	Eval        EvalConfig `json:"eval"`
}

// Task tunes a drift and evaluates it; R is the result of the evaluation.
type Task[R any] interface {
	// Check returns an error that says why a setting cannot be run.
	Check(Setting) error
	// Train tunes the drift, in a folder if o names one; see [run.Train].
	Train(ctx context.Context, b compute.Backend, o run.Options) (*Result, error)
	// Evaluate evaluates the tuned drift.
	Evaluate(ctx context.Context, b compute.Backend, r *Result, c EvalConfig) (R, error)
	// Diverged returns the result of a training that ended with err because of non-finite values.
	Diverged(s Setting, err error) R
}

// Run tunes and evaluates one setting. A training that ends in non-finite values has a result too,
// see [Task].Diverged. If folder is not empty, the training is kept below it in a folder named by
// the setting's hash, and resumes after an interruption.
func Run[R any](ctx context.Context, b compute.Backend, t Task[R], s Setting, folder string, o run.Options) (R, error) {
	var none R
	if err := t.Check(s); err != nil {
		return none, err
	}
	if folder != "" {
		name, err := sweep.Name(s)
		if err != nil {
			return none, err
		}
		o.Dir = filepath.Join(folder, "run-"+name)
	}
	result, err := t.Train(ctx, b, o)
	if Diverged(err) {
		return t.Diverged(s, err), nil
	}
	if err != nil {
		return none, err
	}
	return t.Evaluate(ctx, b, result, s.Eval)
}
