package figure

import (
	"fmt"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
)

// Live is a loss curve below the cell of a GoNB notebook that is redrawn during training. It
// redraws at most once a second and spends at most a tenth of the time on drawing. Outside a
// notebook its methods do nothing. Its methods must not be called concurrently.
type Live struct {
	// Title stands above the curve. Empty means no title.
	Title string

	theme   Theme
	now     func() time.Time
	show    func(html string) // nil outside a notebook
	losses  liveSeries
	drawn   time.Time     // end of the last drawing
	took    time.Duration // duration of the last drawing
	skipped int           // values that were NaN or infinite
	step    int           // of the last value
	err     error
}

// NewLive returns a live plot with a clock. Nil means [time.Now].
func NewLive(th Theme, now func() time.Time) *Live {
	if now == nil {
		now = time.Now
	}
	l := &Live{theme: th, now: now, losses: liveSeries{every: 1}}
	if gonbui.IsNotebook {
		id := "mfm-live-" + gonbui.UniqueId()
		l.show = func(html string) { gonbui.UpdateHTML(id, html) }
	}
	return l
}

// liveSeries holds a series in bounded memory: each point is the mean over more and more values.
type liveSeries struct {
	x, y       []float64
	every      int // values per point
	sumX, sumY float64
	n          int // values in the sums
}

const livePoints = 4096 // at most

func (s *liveSeries) add(x, y float64) {
	s.sumX, s.sumY, s.n = s.sumX+x, s.sumY+y, s.n+1
	if s.n < s.every {
		return
	}
	s.x, s.y = append(s.x, s.sumX/float64(s.n)), append(s.y, s.sumY/float64(s.n))
	s.sumX, s.sumY, s.n = 0, 0, 0
	if len(s.x) < livePoints {
		return
	}
	for i := range livePoints / 2 {
		s.x[i], s.y[i] = (s.x[2*i]+s.x[2*i+1])/2, (s.y[2*i]+s.y[2*i+1])/2
	}
	s.x, s.y, s.every = s.x[:livePoints/2], s.y[:livePoints/2], 2*s.every
}

// Update adds the loss of a step and redraws the curve if enough time has passed. It leaves out
// values that are NaN or infinite and shows their number below the curve.
func (l *Live) Update(step int, loss float64) {
	if l.show == nil || l.err != nil {
		return
	}
	l.step = step
	if finite(loss) {
		l.losses.add(float64(step), loss)
	} else {
		l.skipped++
	}
	if wait := max(time.Second, 10*l.took); l.now().Sub(l.drawn) >= wait {
		l.draw()
	}
}

// Close draws the curve a last time. It returns the first error of any drawing.
func (l *Live) Close() error {
	if l.show != nil && l.err == nil {
		l.draw()
	}
	if l.err != nil {
		return l.err
	}
	return displayError()
}

// draw draws the curve on a logarithmic axis, or on a linear one if a value is not positive.
func (l *Live) draw() {
	x, y := l.losses.x, l.losses.y
	if len(x) == 0 {
		return
	}
	start := l.now()
	f := New(l.theme, 1, 1)
	f.Title, f.Theme.Aspect = l.Title, 0.35
	p := f.Panel(0, 0)
	p.X.Label, p.Y.Label, p.Y.Log = "step", "loss", span(y...).lo > 0
	p.Add(Trace{Name: "loss", X: x, Y: y})
	f.Caption = fmt.Sprintf("step %d · loss %.4g", l.step, y[len(y)-1])
	if l.skipped > 0 {
		f.Caption += fmt.Sprintf(" · %d values not finite", l.skipped)
	}
	png, err := f.PNG()
	if err != nil {
		l.err = err
		return
	}
	l.show(imageHTML(png, l.theme.Width, f.alt(), f.Caption))
	l.drawn = l.now()
	l.took = l.drawn.Sub(start)
}
