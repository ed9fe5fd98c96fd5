// Package progress shows how far long work is: training, sampling, a download. The work reports to a [Sink] as it goes;
// [Auto] chooses the one that fits, a line rewritten in place in a terminal, a bar in a notebook, plain lines in a log.
package progress

import (
	"io"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
)

// Report says how far the work is.
type Report struct {
	Step, Total int64         // steps done, earlier runs of a resumed work included, of Total; Total 0 where it is not known
	Loss        float64       // training loss of late; exactly 0, for work that has none, is not shown
	Elapsed     time.Duration // spent in this run so far, shown at the end; 0 is not shown
	Values      []Value       // more figures, shown in this order
}

// Value is a named figure beside the loss.
type Value struct {
	Name  string
	Value float64
}

// Sink shows reports. Update is meant to be called at every step: it is cheap, and shows only as many as can be read.
// The first call, before the work starts, tells where a resumed run starts, from which its rate counts. Done is called
// once, last, with the error that stopped the work, nil where it is complete. Sinks are not safe for concurrent use.
// They report no errors: work does not stop because it cannot be watched.
type Sink interface {
	Update(r Report)
	Done(r Report, err error)
}

// Auto returns the sink that fits: [Notebook] in a cell of a GoNB notebook, [Terminal] on w, such as os.Stderr, anywhere
// else.
func Auto(w io.Writer) Sink {
	if gonbui.IsNotebook {
		return Notebook(time.Now)
	}
	return Terminal(w, time.Now)
}

// meter is what all sinks have: the rate, and when to show the next report.
type meter struct {
	rate  *Rate
	now   func() time.Time
	every time.Duration
	next  time.Time
}

func newMeter(now func() time.Time, every time.Duration) meter {
	const memory = 10 * time.Second // steady enough to read, quick enough to see a slow-down
	return meter{rate: NewRate(memory, now), now: now, every: every}
}

// due takes note of r and reports whether to show it.
func (m *meter) due(r Report) bool {
	m.rate.Observe(r.Step)
	now := m.now()
	if now.Before(m.next) {
		return false
	}
	m.next = now.Add(m.every)
	return true
}
