package figure

import (
	"math"
	"strings"
	"testing"
	"time"
)

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// watched returns a live plot as in a notebook, and the drawings that it has shown.
func watched(c *clock) (*Live, *[]string) {
	var shown []string
	l := NewLive(smallTheme(), c.now)
	l.show = func(html string) { shown = append(shown, html) }
	return l, &shown
}

func smallTheme() Theme {
	th := Paper()
	th.DPI = 72
	return th
}

func TestLiveIsThrottled(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l, shown := watched(c)
	for step := range 100 { // 10 s of training
		l.Update(step, 1/float64(step+1))
		c.t = c.t.Add(100 * time.Millisecond)
	}
	if got := len(*shown); got != 10 {
		t.Errorf("%d drawings in 10 s, want 10", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(*shown); got != 11 {
		t.Errorf("%d drawings after Close, want 11", got)
	}
	last := (*shown)[len(*shown)-1]
	for _, want := range []string{"data:image/png;base64,", "step 99", "loss 0.01"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last drawing lacks %q", want)
		}
	}
}

// Drawings take at most a tenth of the time.
func TestLiveLeavesTimeForTraining(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	l, shown := watched(c)
	draw := l.show
	l.show = func(html string) { draw(html); c.t = c.t.Add(time.Second) }
	for step := range 1000 {
		l.Update(step, 1)
		c.t = c.t.Add(50 * time.Millisecond)
	}
	if got := len(*shown); got < 4 || got > 6 {
		t.Errorf("%d drawings of 1 s in 55 s, want about 5", got)
	}
}

func TestLiveToleratesBadValues(t *testing.T) {
	for _, tc := range []struct {
		name   string
		losses []float64
		want   string
	}{
		{"NaN", []float64{1, math.NaN(), 2, math.Inf(1)}, "2 values not finite"},
		{"negative", []float64{1, -1, 0}, "loss 0"},
		{"huge", []float64{1e300, 1e-300}, "loss 1e-300"},
		{"constant", []float64{1, 1, 1}, "loss 1"},
	} {
		c := &clock{time.Unix(1000, 0)}
		l, shown := watched(c)
		for step, loss := range tc.losses {
			l.Update(step, loss)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if last := (*shown)[len(*shown)-1]; !strings.Contains(last, tc.want) {
			t.Errorf("%s: the plot lacks %q", tc.name, tc.want)
		}
	}
}

func TestLiveWithNothingFinite(t *testing.T) {
	l, shown := watched(&clock{time.Unix(1000, 0)})
	l.Update(0, math.NaN())
	if err := l.Close(); err != nil || len(*shown) != 0 {
		t.Errorf("%d drawings, error %v, want no drawing and no error", len(*shown), err)
	}
}

func TestLiveReportsErrors(t *testing.T) {
	l, _ := watched(&clock{time.Unix(1000, 0)})
	l.theme.Width = 0
	l.Update(0, 1)
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "Theme.Width") {
		t.Errorf("error %v, want one with Theme.Width", err)
	}
}

func TestLiveOutsideNotebook(t *testing.T) {
	l := NewLive(Notebook(), nil)
	l.Update(1, 0.5)
	if err := l.Close(); err != nil || len(l.losses.x) != 0 {
		t.Errorf("%d points, error %v, want no point and no error", len(l.losses.x), err)
	}
}

// A series preserves its mean and its range in bounded memory.
func TestLiveSeriesIsBounded(t *testing.T) {
	const n = 1 << 16
	s := &liveSeries{every: 1}
	for i := range n {
		s.add(float64(i), float64(i%4))
	}
	if len(s.x) > livePoints || len(s.x) < livePoints/2 {
		t.Fatalf("%d points, want %d to %d", len(s.x), livePoints/2, livePoints)
	}
	for i, y := range s.y {
		if y != 1.5 {
			t.Fatalf("point %d is %v, want the mean 1.5", i, y)
		}
	}
	if last := s.x[len(s.x)-1]; math.Abs(last-n) > 2*n/float64(livePoints)*2 {
		t.Errorf("the last point is at %v, want about %d", last, n)
	}
}

var results = Table{
	Caption: "SW₂ of X₀₁",
	Header:  []string{"loss", "excess", "diverged"},
	Rows: [][]string{
		{"semigroup", "0.043 ± 0.002", "0/3"},
		{"a|b <c>", "−1.5", "—"},
	},
}

func TestTableHTML(t *testing.T) {
	got, err := results.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SW₂ of X₀₁",
		`text-align:left">loss</th>`, `text-align:right">excess</th>`, `text-align:right">0/3</td>`,
		">semigroup</td>", "a|b &lt;c&gt;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestTableAlign(t *testing.T) {
	for _, tc := range []struct {
		cells string
		want  string
	}{
		{"1 2.5 −3 ±4 51% 1e-3 —", "right"}, {"1 two", "left"}, {"— -", "left"}, {"", "left"}, {"<0.01 12×", "right"},
	} {
		table := Table{Header: []string{"x"}}
		for _, s := range strings.Fields(tc.cells) {
			table.Rows = append(table.Rows, []string{s})
		}
		if got := table.align(0); got != tc.want {
			t.Errorf("%q: alignment %q, want %q", tc.cells, got, tc.want)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for _, tc := range []struct {
		table Table
		want  string
	}{
		{Table{}, "no Header"},
		{Table{Header: []string{"a", "b"}, Rows: [][]string{{"1", "2"}, {"1"}}},
			"row 1 has 1 cells under a Header of 2"},
	} {
		if _, err := tc.table.HTML(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("HTML: error %v, want one with %q", err, tc.want)
		}
		if err := tc.table.Show(); err == nil {
			t.Errorf("Show: no error for %q", tc.want)
		}
	}
	if err := results.Show(); err != nil {
		t.Error(err)
	}
}
