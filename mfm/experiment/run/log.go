package run

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/train"
)

// LogEntry is one entry of a run's log: means over the steps since the previous entry.
type LogEntry struct {
	Step         int64   `json:"step"`
	Loss         float64 `json:"loss"`
	GradientNorm float64 `json:"gradient_norm"`
	// Rate is the learning rate of the last step.
	Rate float64 `json:"rate"`
	// Metrics are those of the objective, by name.
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Seconds is the time of training until this step, without interruptions.
	Seconds float64 `json:"seconds"`
}

// ReadLog returns the log of the run in dir, or an error if it has no entry.
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

// runLog reduces the metrics of all steps to 500 to 1,000 entries (all steps of a shorter run),
// each the mean over a window of steps. A checkpoint inside a window stores the window's sums in a
// file of their own, so that a resumed run ends the window with the same means.
type runLog struct {
	entries []LogEntry
	open    []window // sums at the steps of checkpoints inside windows
	every   int64
	total   int64
	now     func() time.Time
	start   time.Time
	before  float64 // seconds before the last interruption
	window  window
	smooth  float64
	sinks   []LogSink
}

// window holds sums over the steps since the last entry.
type window struct {
	LogEntry
	N float64 `json:"n"`
}

func newLog(total int64, now func() time.Time) *runLog {
	return &runLog{
		entries: []LogEntry{}, every: max(total/500, 1), total: total, now: now, start: now(), smooth: math.NaN(),
	}
}

// hook keeps the log in the folder dir; an empty folder keeps nothing.
func (l *runLog) hook(dir string, keep int) train.Hook {
	h := train.Hook{
		Priority: train.PriorityLog,
		Start: func(t *train.Trainer) error {
			if dir != "" {
				if err := l.read(dir); err != nil {
					return err
				}
			}
			l.cut(t.Done() + 1)
			return l.writeSinks(dir)
		},
		Step: func(_ *train.Trainer, m train.Metrics) error { l.add(m); return nil },
	}
	if dir != "" {
		h.Save = func(t *train.Trainer) error { return l.write(dir, t.Done(), keep) }
	}
	return h
}

// read reads the log of an interrupted run if there is one.
func (l *runLog) read(dir string) error {
	return errors.Join(readLog(filepath.Join(dir, logFile), &l.entries),
		readLog(filepath.Join(dir, openLogFile), &l.open))
}

func readLog(path string, entries any) error {
	raw, err := config.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log %s: %w", path, err)
	}
	if err := strictjson.Decode(raw, entries); err != nil {
		return fmt.Errorf("log %s: %w: delete it to start a new log", path, err)
	}
	return nil
}

// write writes the log that belongs to the checkpoint of a step, just before that checkpoint is
// written. It keeps the open windows of the newest checkpoints.
func (l *runLog) write(dir string, step int64, keep int) error {
	if l.window.N > 0 {
		w := l.window
		w.Step, w.Seconds, w.Metrics = step, l.elapsed().Seconds(), maps.Clone(w.Metrics)
		// The window of this step may be there from a failed attempt. One more than keep stays,
		// since the oldest checkpoint is removed only after the new one exists.
		l.open = append(slices.DeleteFunc(l.open, func(w window) bool { return w.Step >= step }), w)
		l.open = l.open[max(len(l.open)-keep-1, 0):]
		if err := WriteJSON(filepath.Join(dir, openLogFile), l.open); err != nil {
			return err
		}
	}
	if err := WriteJSON(filepath.Join(dir, logFile), l.entries); err != nil {
		return err
	}
	return l.writeSinks(dir)
}

// writeSinks writes the other forms of the log, among them an event file that the run has begun.
func (l *runLog) writeSinks(dir string) error {
	if dir == "" {
		return nil
	}
	sinks := l.sinks
	if _, err := os.Stat(filepath.Join(dir, eventFile)); err == nil && !slices.Contains(sinks, LogSink(EventLog{})) {
		sinks = append(slices.Clip(sinks), EventLog{})
	}
	for _, sink := range sinks {
		if err := sink.WriteLog(dir, l.entries); err != nil {
			return fmt.Errorf("log of %s: %w", dir, err)
		}
	}
	return nil
}

// cut drops the entries of an interrupted run from step on, since these steps are done again, and
// resumes the window that contains step.
func (l *runLog) cut(step int64) {
	l.entries = slices.DeleteFunc(l.entries, func(e LogEntry) bool { return e.Step >= step })
	l.open = slices.DeleteFunc(l.open, func(w window) bool { return w.Step >= step })
	if n := len(l.entries); n > 0 {
		l.before = l.entries[n-1].Seconds
	}
	l.window = window{}
	if n := len(l.open); n > 0 && l.open[n-1].Step == step-1 {
		l.window, l.before = l.open[n-1], l.open[n-1].Seconds
		l.window.Metrics = maps.Clone(l.window.Metrics)
	}
	l.start = l.now()
}

// add adds the metrics of a step, and an entry if the step ends a window.
func (l *runLog) add(m train.Metrics) {
	w := &l.window
	w.Loss += m.Loss
	w.GradientNorm += m.GradientNorm
	w.N++
	if w.Metrics == nil && len(m.Values) > 0 {
		w.Metrics = make(map[string]float64, len(m.Values))
	}
	for name, v := range m.Values {
		w.Metrics[name] += v
	}
	if math.IsNaN(l.smooth) {
		l.smooth = m.Loss
	}
	l.smooth += 0.02 * (m.Loss - l.smooth)
	if m.Step%l.every != 0 && m.Step != l.total {
		return
	}
	for name := range w.Metrics {
		w.Metrics[name] /= w.N
	}
	l.entries = append(l.entries, LogEntry{
		Step: m.Step, Loss: w.Loss / w.N, GradientNorm: w.GradientNorm / w.N, Rate: m.Rate, Metrics: w.Metrics,
		Seconds: l.elapsed().Seconds(),
	})
	*w = window{}
}

// recent returns the smoothed loss, 0 before the first step.
func (l *runLog) recent() float64 {
	if math.IsNaN(l.smooth) {
		return 0
	}
	return l.smooth
}

// elapsed returns the time of training so far, without interruptions.
func (l *runLog) elapsed() time.Duration {
	return l.now().Sub(l.start) + time.Duration(l.before*float64(time.Second))
}
