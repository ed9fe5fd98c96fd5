package steering

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Watch follows the samples of a run while they are drawn: it reports the progress and keeps what
// is done, so that an interrupted run resumes, bit for bit. The zero value does neither.
type Watch struct {
	// Progress is called with the number of samples done, of n, before the first microbatch and
	// after each. Nil means no callback.
	Progress func(done, n int)
	// Path is the file of the samples so far, which whoever writes the result removes; see
	// [github.com/gomfm/gomfm/mfm/experiment/sweep.PartialPath]. Empty means none.
	Path string
	// Pools is a folder for the pools of unsteered samples of several runs, and for their rewards: a
	// pool is kept after each of its blocks. A process locks the pools that it uses. Empty means
	// temporary files, which do not resume.
	Pools string
	// Every is the least time between two writes of Path, or of the rewards of a pool. The last
	// microbatch of several, and a run that ends with an error, are written in any case.
	Every time.Duration
	// Unsaved is called with true when something is done that must be written, and with false when it
	// is. Nil means no callback.
	Unsaved func(unsaved bool)
}

// Follow sets the watch of later runs.
func (t *Base) Follow(w Watch) { t.watch = w }

// Watch returns what [Base.Follow] was given.
func (t *Base) Watch() Watch { return t.watch }

// SetUnsaved calls Unsaved, if there is one.
func (w Watch) SetUnsaved(unsaved bool) {
	if w.Unsaved != nil {
		w.Unsaved(unsaved)
	}
}

// partial is a run in a file.
type partial struct {
	Run     *steer.Partial
	Seconds float64 // that it took so far
	Device  string  // see [Device]
}

// sample draws the samples of a setting, with the seconds that it took. It continues a run that was
// kept.
func (w Watch) sample(ctx context.Context, steerer *steer.Steerer, s Setting, device string) (
	*steer.Result, float64, error) {
	began := time.Now()
	p, err := w.read(s.Seed, device)
	if err != nil {
		return nil, 0, err
	}
	before, written, onDisk := p.Seconds, began, p.Run.Done()
	defer w.SetUnsaved(false)
	write := func() error {
		if w.Path == "" || p.Run.Done() == onDisk {
			return nil
		}
		p.Seconds = before + time.Since(began).Seconds()
		if err := run.WriteGob(w.Path, p); err != nil {
			return fmt.Errorf("keeping the samples: %w", err)
		}
		written, onDisk = time.Now(), p.Run.Done()
		w.SetUnsaved(false)
		return nil
	}
	report := func() {
		if w.Progress != nil {
			w.Progress(p.Run.Done(), s.Samples)
		}
	}
	report()
	got, err := steerer.Continue(ctx, p.Run, s.Samples, func() error {
		w.SetUnsaved(w.Path != "")
		report()
		if p.Run.Done() < s.Samples && time.Since(written) < w.Every || p.Run.Calls == 1 && p.Run.Done() == s.Samples {
			return nil
		}
		return write()
	})
	switch {
	case errors.Is(err, steer.ErrPartial):
		return nil, 0, fmt.Errorf("%s: %w: delete the file for that", w.Path, err)
	case err != nil:
		return nil, 0, errors.Join(err, write())
	}
	return got, before + time.Since(began).Seconds(), nil
}

// read reads the run in Path, or begins one if there is none.
func (w Watch) read(seed int64, device string) (partial, error) {
	var p partial
	if w.Path != "" {
		if err := run.ReadGob(w.Path, &p); !errors.Is(err, fs.ErrNotExist) {
			switch {
			case err != nil:
			case p.Run == nil:
				err = fmt.Errorf("%s: no run in progress: delete the file to begin again", w.Path)
			case p.Device != device:
				err = fmt.Errorf("%s: %w: resume it there, or delete the file to begin again", w.Path,
					OtherDevice(p.Device, device))
			}
			return p, err
		}
	}
	begun, err := steer.Begin(seed)
	return partial{Run: begun, Device: device}, err
}

// OtherDevice is the error of samples that were drawn on another device than this one, see
// [Device]: the sizes of microbatches differ.
func OtherDevice(of, this string) error {
	return fmt.Errorf("samples of a run on %s, this is %s", cmp.Or(of, "CPU"), cmp.Or(this, "CPU"))
}
