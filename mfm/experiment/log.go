package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomfm/gomfm/mfm/train"
)

// runLog thins the figures of all steps to about five hundred entries, each the mean over a window of steps. A checkpoint inside a window keeps what the window has so far, so
// that a run which goes on from there ends it alike: in a file of its own, since the log is for readers.
type runLog struct {
	entries []LogEntry
	open    []window // what checkpoints inside a window had of it, up to their step
	every   int64
	total   int64
	now     func() time.Time
	start   time.Time
	before  float64 // seconds of the runs that were interrupted
	window  window
	smooth  float64
}

// window holds sums over the steps since the last entry.
type window struct {
	LogEntry
	N float64 `json:"n"`
}

func newLog(total int64, now func() time.Time) *runLog {
	return &runLog{entries: []LogEntry{}, every: max(total/500, 1), total: total, now: now, start: now(), smooth: math.NaN()}
}

// read takes over the log of an interrupted run; there may be none.
func (l *runLog) read(dir string) error {
	return errors.Join(readLog(filepath.Join(dir, logFile), &l.entries), readLog(filepath.Join(dir, openLogFile), &l.open))
}

func readLog(path string, entries any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, entries); err != nil {
		return fmt.Errorf("log %s: %w: delete it to start another", path, err)
	}
	return nil
}

// write keeps the log for a checkpoint of the given step, which is about to be written; keep of them stay.
func (l *runLog) write(dir string, step int64, keep int) error {
	if l.window.N > 0 {
		l.window.Step, l.window.Seconds = step, l.elapsed().Seconds()
		l.open = append(slices.DeleteFunc(l.open, func(w window) bool { return w.Step >= step }), l.window) // it may have failed before
		l.open = l.open[max(len(l.open)-keep-1, 0):]                                                        // the oldest checkpoint goes only once the new one is there
		if err := writeJSON(filepath.Join(dir, openLogFile), l.open); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, logFile), l.entries)
}

// cut drops what an interrupted run logged from step on, which will be done again, and goes on with the window that step is in.
func (l *runLog) cut(step int64) {
	l.entries = slices.DeleteFunc(l.entries, func(e LogEntry) bool { return e.Step >= step })
	l.open = slices.DeleteFunc(l.open, func(w window) bool { return w.Step >= step })
	if n := len(l.entries); n > 0 {
		l.before = l.entries[n-1].Seconds
	}
	l.window = window{}
	if n := len(l.open); n > 0 && l.open[n-1].Step == step-1 {
		l.window, l.before = l.open[n-1], l.open[n-1].Seconds
	}
	l.start = l.now()
}

func (l *runLog) add(m train.Metrics) {
	w := &l.window
	w.Loss += m.Loss
	w.Diagonal += m.Diagonal
	w.Consistency += m.Consistency
	w.GradientNorm += m.GradientNorm
	w.N++
	if math.IsNaN(l.smooth) {
		l.smooth = m.Loss
	}
	l.smooth += 0.02 * (m.Loss - l.smooth)
	if m.Step%l.every != 0 && m.Step != l.total {
		return
	}
	l.entries = append(l.entries, LogEntry{
		Step: m.Step, Loss: w.Loss / w.N, Diagonal: w.Diagonal / w.N, Consistency: w.Consistency / w.N,
		GradientNorm: w.GradientNorm / w.N, Rate: m.Rate, Seconds: l.elapsed().Seconds(),
	})
	*w = window{}
}

// recent returns the loss of late, for a progress bar; 0 before the first step.
func (l *runLog) recent() float64 {
	if math.IsNaN(l.smooth) {
		return 0
	}
	return l.smooth
}

func (l *runLog) elapsed() time.Duration {
	return l.now().Sub(l.start) + time.Duration(l.before*float64(time.Second))
}

// ReadLog returns the log of the run in dir.
func ReadLog(dir string) ([]LogEntry, error) {
	var entries []LogEntry
	if err := readLog(filepath.Join(dir, logFile), &entries); err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("run %s has no log", dir)
	}
	return entries, nil
}
