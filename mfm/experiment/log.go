package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/gomfm/gomfm/mfm"
)

// runLog thins the figures of all steps to about five hundred entries.
type runLog struct {
	entries []LogEntry
	every   int64
	total   int64
	now     func() time.Time
	start   time.Time
	before  float64 // seconds of the runs that were interrupted
	sum     LogEntry
	n       float64
	smooth  float64
}

func newLog(total int64, now func() time.Time) *runLog {
	return &runLog{every: max(total/500, 1), total: total, now: now, start: now(), smooth: math.NaN()}
}

// read takes over the log of an interrupted run; there may be none.
func (l *runLog) read(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &l.entries); err != nil {
		return fmt.Errorf("log %s: %w: delete it to start another", path, err)
	}
	return nil
}

// cut drops what an interrupted run logged from step on, which will be done again.
func (l *runLog) cut(step int64) {
	keep := 0
	for keep < len(l.entries) && l.entries[keep].Step < step {
		keep++
	}
	l.entries = l.entries[:keep]
	if keep > 0 {
		l.before = l.entries[keep-1].Seconds
	}
	l.start = l.now()
}

func (l *runLog) add(m mfm.Metrics) {
	l.sum.Loss += m.Loss
	l.sum.Diagonal += m.Diagonal
	l.sum.Consistency += m.Consistency
	l.sum.GradientNorm += m.GradientNorm
	l.n++
	if math.IsNaN(l.smooth) {
		l.smooth = m.Loss
	}
	l.smooth += 0.02 * (m.Loss - l.smooth)
	if m.Step%l.every != 0 && m.Step != l.total {
		return
	}
	l.entries = append(l.entries, LogEntry{
		Step: m.Step, Loss: l.sum.Loss / l.n, Diagonal: l.sum.Diagonal / l.n, Consistency: l.sum.Consistency / l.n,
		GradientNorm: l.sum.GradientNorm / l.n, Rate: m.Rate, Seconds: l.elapsed().Seconds(),
	})
	l.sum, l.n = LogEntry{}, 0
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
	l := newLog(1, time.Now)
	if err := l.read(dir + "/" + logFile); err != nil {
		return nil, err
	}
	if len(l.entries) == 0 {
		return nil, fmt.Errorf("run %s has no log", dir)
	}
	return l.entries, nil
}
