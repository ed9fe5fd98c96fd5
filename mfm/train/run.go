package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// FitOptions say what [Run] keeps and shows.
type Options struct {
	// Dir is the folder of checkpoints, from whose newest sound one training goes on. Empty: nothing is kept.
	Dir string
	// Every is the number of steps between checkpoints; 0 keeps only the end. Keep of them stay, at least 1.
	Every int64
	Keep  int
	// Begin is called once, before the first step, with the newest checkpoint restored and the folder locked, nil for nothing. Its error ends the training before it starts.
	Begin func() error
	// Observe is called after each step, before its checkpoint, nil for nothing. Its error stops training as the end of the context does.
	Observe func(Metrics) error
	// Saving is called before each checkpoint is written, nil for nothing, while the folder is locked: what it keeps of the steps done is there wherever the checkpoint is.
	// Its error stands for one of the checkpoint, which is not written.
	Saving func() error
	// Problem is called with each checkpoint that was passed over because it is torn or altered, nil for nothing.
	Problem func(error)
}

// Fit trains to the configured number of steps with checkpoints. However it stops (the context ends, observe fails, a value is not
// finite, the process is killed) the next call with the same folder goes on from the last checkpoint, and ends with the same bits as
// a training that never stopped. In the first three cases a checkpoint of the last good step is written first.
func Run(ctx context.Context, t *Trainer, o Options) (err error) {
	if o.Begin == nil {
		o.Begin = func() error { return nil }
	}
	if o.Dir == "" {
		if err := o.Begin(); err != nil {
			return err
		}
		return t.Run(ctx, o.Observe)
	}
	checkpoints, err := checkpoint.Open(o.Dir, max(o.Keep, 1))
	if err != nil {
		return fmt.Errorf("training in %s: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }()
	if err := resume(t, checkpoints, o.Problem); err != nil {
		return fmt.Errorf("training in %s: %w", o.Dir, err)
	}
	if err := o.Begin(); err != nil {
		return err
	}
	saved := t.Done()
	save := func() error {
		if t.Done() == saved {
			return nil
		}
		if o.Saving != nil {
			if err := o.Saving(); err != nil {
				return fmt.Errorf("saving step %d: %w", t.Done(), err)
			}
		}
		state, err := t.State()
		if err != nil {
			return err
		}
		if err := checkpoints.Save(t.Done(), state, t.made); err != nil {
			return fmt.Errorf("saving step %d: %w", t.Done(), err)
		}
		saved = t.Done()
		return nil
	}
	var unsaved error
	err = t.Run(ctx, func(m Metrics) error {
		if o.Observe != nil {
			if err := o.Observe(m); err != nil {
				return err
			}
		}
		if o.Every > 0 && m.Step%o.Every == 0 {
			unsaved = save()
		}
		return unsaved
	})
	if again := save(); unsaved == nil { // a second failure has nothing new to say
		err = errors.Join(err, again)
	}
	return err
}

// resume restores the newest sound checkpoint, if there is one, after checking that it was made with the trainer's configuration.
func resume(t *Trainer, checkpoints *checkpoint.Manager, problem func(error)) error {
	c, problems, err := checkpoints.Latest()
	if problem != nil {
		for _, p := range problems {
			problem(p)
		}
	}
	if errors.Is(err, checkpoint.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := json.Marshal(t.made)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if !bytes.Equal(now, c.Meta) {
		return fmt.Errorf("the checkpoint at step %d was made with another configuration: use another folder, or that configuration; it was %s, now %s", c.Step, c.Meta, now)
	}
	return t.Restore(c.Tensors)
}
