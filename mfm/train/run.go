package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// Options configure the checkpoints of [Run].
type Options struct {
	// Dir is the folder of checkpoints. Empty means no checkpoints.
	Dir   string
	Every int64 // number of steps between checkpoints; 0 saves at the end only
	Keep  int   // number of checkpoints to keep; 0 means 1
	// OnDamage is called with the error of each damaged checkpoint that is skipped. Nil means no
	// callback.
	OnDamage func(error)
	// Restart starts from step zero in a folder whose checkpoints are all damaged. Otherwise that is
	// an error that wraps [ErrDamaged].
	Restart bool
}

// ErrDamaged is wrapped by the error of a folder whose checkpoints are all damaged.
var ErrDamaged = errors.New("no checkpoint is intact")

// Run trains t to the configured number of steps and keeps checkpoints in a folder that it locks.
// It resumes from the newest sound checkpoint, which must have been saved with the same
// configuration. However a training stops (the context ends, a hook returns an error, a value is
// not finite, the process is killed), the next call with the same folder resumes from the last
// checkpoint and ends with the same bits as a training that never stopped. In the first three cases
// Run saves a checkpoint of the last good step before it returns the error. It calls the hooks of
// t, see [Hook].
func Run(ctx context.Context, t *Trainer, o Options) (err error) {
	if o.Dir == "" {
		return t.Run(ctx)
	}
	defer func() { t.end(err) }()
	checkpoints, err := checkpoint.Open(o.Dir, max(o.Keep, 1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }()
	if err := resume(t, checkpoints, o); err != nil {
		return fmt.Errorf("training in %s: %w", o.Dir, err)
	}
	if err := t.eachHook(func(h Hook) error { return h.Start(t) }); err != nil {
		return err
	}
	saved := t.Done()
	save := func() error {
		if t.Done() == saved {
			return nil
		}
		if err := t.eachHook(func(h Hook) error { return h.Save(t) }); err != nil {
			return fmt.Errorf("saving step %d: %w", t.Done(), err)
		}
		state, err := t.State()
		if err != nil {
			return err
		}
		if err := checkpoints.Save(t.Done(), state, t.metadata); err != nil {
			return fmt.Errorf("saving step %d: %w", t.Done(), err)
		}
		saved = t.Done()
		return nil
	}
	var unsaved error
	err = t.loop(ctx, func(m Metrics) error {
		if o.Every > 0 && m.Step%o.Every == 0 {
			unsaved = save()
		}
		return unsaved
	})
	if again := save(); unsaved == nil { // do not report a failure to save twice
		err = errors.Join(err, again)
	}
	return err
}

// resume restores the newest sound checkpoint, if any, after checking that it was saved with the
// configuration of t.
func resume(t *Trainer, checkpoints *checkpoint.Manager, o Options) error {
	c, problems, err := checkpoints.Latest()
	none := errors.Is(err, checkpoint.ErrNone)
	if none && len(problems) > 0 && !o.Restart {
		return fmt.Errorf("%w: %w: repair one, or restart from step zero, which replaces them",
			ErrDamaged, errors.Join(problems...))
	}
	if o.OnDamage != nil {
		for _, p := range problems {
			o.OnDamage(p)
		}
	}
	if none {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := json.Marshal(t.metadata)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if !bytes.Equal(now, c.Meta) {
		return fmt.Errorf("the checkpoint at step %d was saved with another configuration: use another folder, "+
			"or that configuration; it was %s, now %s", c.Step, c.Meta, now)
	}
	return t.Restore(c.Tensors)
}
