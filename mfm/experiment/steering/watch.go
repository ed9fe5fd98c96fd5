package steering

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Watch follows a run while its samples are drawn: it reports the progress and keeps what is done,
// so that an interrupted run resumes, bit for bit. The zero value does neither.
type Watch struct {
	// Progress is called with the number of samples done, of n, before the first microbatch and after
	// each. Nil means no callback.
	Progress func(done, n int)
	// Dir is the folder of a sweep, in which the samples are kept until the result is written; see
	// [sweep.Partial]. Empty means none.
	Dir string
	// Pools is a folder for pools of unsteered samples and their rewards, which outlast the results of
	// single runs and are deleted with the folder. No two processes may share it. Empty means temporary
	// files, which do not resume.
	Pools string
	// Every is the least time between two writes. A run that ctx stops is written in any case, and one
	// of a single microbatch never.
	Every time.Duration
}

// Watch sets what follows later runs.
func (t *Base) Watch(w Watch) { t.watch = w }

// Watched returns what follows the runs.
func (t *Base) Watched() Watch { return t.watch }

// partial is a run in a file.
type partial struct {
	Run     *steer.Partial
	Seconds float64 // that it took so far
}

// sample draws the samples of a setting, with the seconds that it took. It continues a run that was
// kept.
func (w Watch) sample(ctx context.Context, steerer *steer.Steerer, s Setting) (*steer.Result, float64, error) {
	began, path := time.Now(), ""
	if w.Dir != "" {
		name, err := sweep.Name(s)
		if err != nil {
			return nil, 0, err
		}
		path = sweep.Partial(w.Dir, name)
	}
	p, err := readPartial(path, s.Seed)
	if err != nil {
		return nil, 0, err
	}
	before, written, onDisk := p.Seconds, began, p.Run.Done()
	write := func() error {
		if path == "" || p.Run.Done() == onDisk {
			return nil
		}
		p.Seconds = before + time.Since(began).Seconds()
		if err := run.WriteGob(path, p); err != nil {
			return fmt.Errorf("keeping the samples: %w", err)
		}
		written, onDisk = time.Now(), p.Run.Done()
		return nil
	}
	report := func() {
		if w.Progress != nil {
			w.Progress(p.Run.Done(), s.Samples)
		}
	}
	report()
	got, err := steerer.Continue(ctx, p.Run, s.Samples, func() error {
		report()
		if p.Run.Calls == 1 && p.Run.Done() == s.Samples || time.Since(written) < w.Every {
			return nil
		}
		return write()
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, 0, errors.Join(err, write())
	case path != "" && onDisk > 0:
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	default:
		return nil, 0, err
	}
	return got, before + time.Since(began).Seconds(), nil
}

// readPartial reads a run from a file, or begins one if there is none or if path is empty.
func readPartial(path string, seed int64) (p partial, err error) {
	if path != "" {
		if err := run.ReadGob(path, &p); !errors.Is(err, fs.ErrNotExist) {
			if err == nil && p.Run == nil {
				err = fmt.Errorf("%s: no run in progress: delete the file to begin again", path)
			}
			return p, err
		}
	}
	p.Run, err = steer.Begin(seed)
	return p, err
}
