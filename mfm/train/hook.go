package train

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Hook observes a training. [Trainer.AddHook] adds it. A nil function means no callback.
//
// At each event the hooks are called in the order of their priorities, lowest first; hooks of equal
// priority are called in the order in which they were added. The first error of a Start, Before,
// Step or Save function stops the training, and hooks after it are not called for that event.
type Hook struct {
	Name     string // prefix of the errors of its functions, if not empty
	Priority int
	// Start is called once, before the first step. By then the newest checkpoint is restored and
	// the folder is locked.
	Start func(t *Trainer) error
	// Before is called before each step.
	Before func(ctx context.Context, t *Trainer) error
	// Step is called after each step, before a checkpoint of that step.
	Step func(t *Trainer, m Metrics) error
	// Save is called before each checkpoint is written. So what it writes exists if the checkpoint
	// does. After an error the checkpoint is not written.
	Save func(t *Trainer) error
	// End is called once at the end of Run, however the training ended and even if it never
	// started. err is the error that Run returns, nil if the training reached its last step.
	End func(t *Trainer, err error)
}

// Priorities of the project's own hooks. Those of users have 0.
const (
	PriorityLog      = -20
	PriorityProgress = -10
	PriorityMonitor  = 10
)

// AddHook adds a hook. Add all hooks before the training starts.
func (t *Trainer) AddHook(h Hook) {
	none := func(*Trainer) error { return nil }
	if h.Start == nil {
		h.Start = none
	}
	if h.Before == nil {
		h.Before = func(context.Context, *Trainer) error { return nil }
	}
	if h.Step == nil {
		h.Step = func(*Trainer, Metrics) error { return nil }
	}
	if h.Save == nil {
		h.Save = none
	}
	if h.End == nil {
		h.End = func(*Trainer, error) {}
	}
	t.hooks = append(t.hooks, h)
	slices.SortStableFunc(t.hooks, func(a, b Hook) int { return cmp.Compare(a.Priority, b.Priority) })
}

// eachHook calls f for each hook until one returns an error.
func (t *Trainer) eachHook(f func(h Hook) error) error {
	for _, h := range t.hooks {
		if err := f(h); err != nil {
			if h.Name == "" {
				return err
			}
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return nil
}

func (t *Trainer) end(err error) {
	for _, h := range t.hooks {
		h.End(t, err)
	}
}
