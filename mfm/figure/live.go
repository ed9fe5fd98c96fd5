package figure

import (
	"fmt"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
)

// Live is a loss curve that grows in place below the cell of a GoNB notebook, while something trains. Outside a
// notebook all its methods do nothing. It is for one goroutine.
//
// It redraws at most once an Interval, and never spends more than a tenth of the time on drawing.
type Live struct {
	Theme    Theme
	Title    string
	Interval time.Duration // between drawings

	now    func() time.Time
	show   func(html string)
	series []*liveSeries
	drawn  time.Time     // when the last drawing was done
	took   time.Duration // that it took
	skip   int           // values left out since they were NaN or infinite
	step   int           // the last one
	err    error
}

// NewLive returns a live plot that redraws once a second at most, by the clock now; nil means time.Now.
func NewLive(th Theme, now func() time.Time) *Live {
	if now == nil {
		now = time.Now
	}
	l := &Live{Theme: th, Interval: time.Second, now: now}
	if gonbui.IsNotebook {
		id := "mfm-live-" + gonbui.UniqueId()
		l.show = func(html string) { gonbui.UpdateHTML(id, html) }
	}
	return l
}

// liveSeries holds a series in bounded memory: its points are means over more and more steps.
type liveSeries struct {
	name       string
	x, y       []float64
	every      int // values to a point
	sumX, sumY float64
	n          int // values in the sums
}

const livePoints = 4096 // of a series, at most

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

// Update adds a value of the series named "loss", and redraws if it is time to.
func (l *Live) Update(step int, loss float64) { l.UpdateSeries("loss", step, loss) }

// UpdateSeries adds a value of any series, and redraws if it is time to. Values that are NaN or infinite are left out
// and counted below the plot.
func (l *Live) UpdateSeries(name string, step int, value float64) {
	if l.show == nil || l.err != nil {
		return
	}
	l.step = step
	if finite(value) {
		l.find(name).add(float64(step), value)
	} else {
		l.skip++
	}
	if wait := max(l.Interval, 10*l.took); l.now().Sub(l.drawn) >= wait {
		l.draw()
	}
}

func (l *Live) find(name string) *liveSeries {
	for _, s := range l.series {
		if s.name == name {
			return s
		}
	}
	s := &liveSeries{name: name, every: 1}
	l.series = append(l.series, s)
	return s
}

// Close draws the plot a last time, and returns what was wrong with any drawing.
func (l *Live) Close() error {
	if l.show != nil && l.err == nil && len(l.series) > 0 {
		l.draw()
	}
	if l.err != nil {
		return l.err
	}
	return displayError()
}

// draw draws all series on a logarithmic axis, unless a value is zero or less.
func (l *Live) draw() {
	start := l.now()
	f := New(l.Theme, 1, 1)
	f.Title = l.Title
	p := f.Panel(0, 0)
	p.Aspect = 0.35
	p.X.Label, p.Y.Label, p.Y.Log = "step", "loss", true
	f.Caption = fmt.Sprintf("step %d", l.step)
	for _, s := range l.series {
		if len(s.x) == 0 {
			continue
		}
		p.Y.Log = p.Y.Log && span(s.y...).lo > 0
		p.Add(Trace{Name: s.name, X: s.x, Y: s.y})
		f.Caption += fmt.Sprintf(" · %s %.4g", s.name, s.y[len(s.y)-1])
	}
	if l.skip > 0 {
		f.Caption += fmt.Sprintf(" · %d values not finite", l.skip)
	}
	if len(p.layers) > 0 {
		png, err := f.PNG()
		if err != nil {
			l.err = err
			return
		}
		l.show(picture(png, l.Theme.Width, f.alt(), f.Caption))
	}
	l.drawn = l.now()
	l.took = l.drawn.Sub(start)
}
