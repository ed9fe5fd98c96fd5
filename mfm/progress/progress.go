// Package progress displays the progress of long work: training, sampling, a download. The work
// sends a [Report] to a [Sink] as it goes. [Auto] chooses the sink: [Notebook] shows a bar in a
// notebook cell; [Terminal] rewrites a line in place in a terminal, or writes plain lines to a log.
// [Rate] estimates the speed and the time left.
package progress

import (
	"io"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
)

// Report describes the state of the work.
type Report struct {
	// Step of Total steps are done, including those before a resumption. Total is 0 if unknown.
	Step, Total int64
	Unit        string        // what is counted, in the singular; empty means a step
	Loss        float64       // recent training loss; 0 means none and is not shown
	Elapsed     time.Duration // time spent in this run, shown at the end; not shown if 0
	Values      []Value       // further numbers, shown in this order
	// Doing says what is done at the moment if it is no step, such as "compiling". It is shown in
	// place of the time left.
	Doing string
}

// Value is a named number shown beside the loss.
type Value struct {
	Name  string
	Value float64
}

// Sink displays reports. Call Update at every step: it is cheap, and displays only as many reports
// as a person can read. Call it once before the work starts: a resumed run starts at that step, and
// the rate counts from there. Call Done once, at the end, with the error that stopped the work, or
// nil if the work is complete. Sinks are not safe for concurrent use. They return no errors: a
// failed display must not stop the work.
type Sink interface {
	Update(r Report)
	Done(r Report, err error)
}

// Auto returns [Notebook] in a GoNB notebook cell, otherwise [Terminal] on w, such as os.Stderr.
func Auto(w io.Writer) Sink {
	if gonbui.IsNotebook {
		return Notebook(time.Now)
	}
	return Terminal(w, time.Now)
}

// meter is the part that all sinks share: the rate, and the time of the next display.
type meter struct {
	rate  *Rate
	now   func() time.Time
	every time.Duration
	next  time.Time
}

func newMeter(now func() time.Time, every time.Duration) meter {
	const memory = 10 * time.Second // steady enough to read, fast enough to show a slow-down
	return meter{rate: NewRate(memory, now), now: now, every: every}
}

// due records r and reports whether to display it.
func (m *meter) due(r Report) bool {
	m.rate.Observe(r.Step)
	now := m.now()
	if now.Before(m.next) {
		return false
	}
	m.next = now.Add(m.every)
	return true
}
