package progress

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeClock is a clock that moves only when advanced.
type fakeClock struct{ t time.Time }

func newClock() *fakeClock { return &fakeClock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *fakeClock) now() time.Time          { return c.t }
func (c *fakeClock) advance(d time.Duration) { c.t = c.t.Add(d) }

// work reports every step from r.Step up to to, with tick between steps.
func work(s Sink, c *fakeClock, r Report, to int64, tick time.Duration) Report {
	for s.Update(r); r.Step < to; s.Update(r) {
		c.advance(tick)
		r.Elapsed += tick
		r.Step++
	}
	return r
}

func requireText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%q\nwant:\n%q", got, want)
	}
}

func TestLog(t *testing.T) {
	c, w := newClock(), &strings.Builder{}
	s := Terminal(w, c.now)
	r := work(s, c, Report{Total: 1000, Loss: 0.1234, Values: []Value{{"grad", 12.5}}}, 1000, 25*time.Millisecond)
	s.Done(r, nil)
	requireText(t, w.String(), ""+
		"   0/1000    0%  loss 0.1234  grad 12.50\n"+
		" 400/1000   40%  loss 0.1234  grad 12.50  40.0 steps/s  15s left\n"+
		" 800/1000   80%  loss 0.1234  grad 12.50  40.0 steps/s  5s left\n"+
		"1000/1000  100%  loss 0.1234  grad 12.50  40.0 steps/s  done in 25s\n")
}

// TestLogResumed checks that the rate is that of this run, from step 9,000 on, instead of 9,100
// steps in 10 seconds.
func TestLogResumed(t *testing.T) {
	c, w := newClock(), &strings.Builder{}
	s := newLog(w, c.now)
	r := work(s, c, Report{Step: 9000, Total: 10000}, 9100, 100*time.Millisecond)
	s.Done(r, context.Canceled)
	requireText(t, w.String(), ""+
		" 9000/10000   90%\n"+
		" 9100/10000   91%  10.0 steps/s  1m30s left\n"+
		" 9100/10000   91%  10.0 steps/s  stopped after 10s: context canceled\n")
}

// What is done before the first step is shown in place of the time left, until a report of a step.
func TestLogCompiles(t *testing.T) {
	c, w := newClock(), &strings.Builder{}
	s := newLog(w, c.now)
	s.Update(Report{Step: 20, Total: 60, Doing: "compiling"})
	c.advance(2 * time.Minute)
	s.Update(Report{Step: 21, Total: 60})
	requireText(t, w.String(), ""+
		"20/60   33%  compiling\n"+
		"21/60   35%\n")
}

func TestLogWithoutTotal(t *testing.T) {
	c, w := newClock(), &strings.Builder{}
	s := newLog(w, c.now)
	r := work(s, c, Report{Loss: math.NaN()}, 3, 20*time.Second)
	r.Elapsed = 0
	s.Done(r, errors.New("loss is NaN"))
	requireText(t, w.String(), ""+
		"0 steps  loss NaN\n"+
		"1 step  loss NaN\n"+
		"2 steps  loss NaN  20.0 s/step\n"+
		"3 steps  loss NaN  20.0 s/step\n"+
		"3 steps  loss NaN  20.0 s/step  stopped: loss is NaN\n")
}

// TestLogFile checks that a file is not treated as a terminal.
func TestLogFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	Auto(f).Done(Report{Step: 3, Total: 4}, nil)
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	requireText(t, string(got), "3/4   75%  done\n")
}

func TestLive(t *testing.T) {
	c, w, width := newClock(), &strings.Builder{}, 80
	s := newLive(w, c.now, func() int { return width })
	lines := func() string { text := w.String(); w.Reset(); return text }

	s.Update(Report{Total: 200, Loss: 2})
	requireText(t, lines(), "\r  0/200 [>                             ]   0%  loss 2.000")
	c.advance(2 * time.Second) // compiling
	s.Update(Report{Step: 1, Total: 200, Loss: 1.5})
	requireText(t, lines(), "\r  1/200 [>                             ]   0%  loss 1.500")
	for step := range int64(4) { // no display within a tenth of a second
		c.advance(20 * time.Millisecond)
		s.Update(Report{Step: 2 + step, Total: 200, Loss: 1.25})
	}
	requireText(t, lines(), "")
	c.advance(20 * time.Millisecond)
	s.Update(Report{Step: 6, Total: 200, Loss: 1})
	requireText(t, lines(), "\r  6/200 [>                   ]   3%  loss 1.000  50.0 steps/s  4s left")
	width = 60
	c.advance(2 * time.Second)
	s.Update(Report{Step: 106, Total: 200, Loss: 0.1})
	requireText(t, lines(), "\r106/200   53%  loss 0.1000  50.0 steps/s  2s left"+strings.Repeat(" ", 21))
	width = 20
	c.advance(time.Second)
	s.Update(Report{Step: 156, Total: 200, Loss: 0.1})
	requireText(t, lines(), "\r156/200   78%  loss "+strings.Repeat(" ", 29))
	width = 0 // unknown
	c.advance(time.Second)
	s.Done(Report{Step: 200, Total: 200, Loss: 0.1, Elapsed: 6200 * time.Millisecond}, nil)
	requireText(t, lines(), "\r200/200 [====================] 100%  loss 0.1000  48.3 steps/s  done in 7s\n")
}

// TestLiveFits checks that a rewritten line is narrower than the terminal, whatever its width.
func TestLiveFits(t *testing.T) {
	for width := 1; width < 120; width++ {
		c, w := newClock(), &strings.Builder{}
		s := newLive(w, c.now, func() int { return width })
		work(s, c, Report{Step: 1, Total: 100, Loss: 1e-7, Values: []Value{{"größe", -1}}}, 50, time.Second)
		for line := range strings.SplitSeq(w.String(), "\r") {
			if n := len([]rune(line)); n > width-1 {
				t.Fatalf("%d columns in a terminal of %d: %q", n, width, line)
			}
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestBrokenWriter checks that the work continues if its display fails.
func TestBrokenWriter(t *testing.T) {
	c := newClock()
	for _, s := range []Sink{newLog(brokenWriter{}, c.now), newLive(brokenWriter{}, c.now, func() int { return 80 })} {
		s.Done(work(s, c, Report{Total: 10}, 10, time.Second), nil)
	}
}

func TestNotebook(t *testing.T) {
	c := newClock()
	var shown []string
	synced := 0
	s := newNotebook(c.now, func(html string) { shown = append(shown, html) }, func() { synced = len(shown) })
	r := work(s, c, Report{Total: 40, Loss: 0.5, Values: []Value{{"a<b", 1}}}, 40, 50*time.Millisecond)
	s.Done(r, nil)
	const values = "  loss 0.5000  a&lt;b 1.000"
	want := []string{
		head + outer + fill("0.0", colorRunning) + " 0/40    0%" + values + "</div>",
		head + outer + fill("25.0", colorRunning) + "10/40   25%" + values + "  20.0 steps/s  2s left</div>",
		head + outer + fill("50.0", colorRunning) + "20/40   50%" + values + "  20.0 steps/s  1s left</div>",
		head + outer + fill("75.0", colorRunning) + "30/40   75%" + values + "  20.0 steps/s  1s left</div>",
		head + outer + fill("100.0", colorRunning) + "40/40  100%" + values + "  20.0 steps/s  0s left</div>",
		head + outer + fill("100.0", colorDone) + "40/40  100%" + values + "  20.0 steps/s  done in 2s</div>",
	}
	requireText(t, strings.Join(shown, "\n"), strings.Join(want, "\n"))
	if synced != len(want) {
		t.Errorf("Done waited for %d of %d states", synced, len(want))
	}

	shown = nil
	s = newNotebook(c.now, func(html string) { shown = append(shown, html) }, func() {})
	s.Done(Report{Step: 5}, errors.New("<script>"))
	requireText(t, strings.Join(shown, ""), head+"5 steps  stopped: &lt;script&gt;</div>")
	shown = nil
	s.Done(Report{Step: 1, Total: 4}, context.Canceled)
	requireText(t, strings.Join(shown, ""),
		head+outer+fill("25.0", colorStopped)+"1/4   25%  stopped: context canceled</div>")
}

const (
	head  = `<div style="font-family:monospace;white-space:pre-wrap">`
	outer = `<div style="width:20em;max-width:100%;height:0.6em;background:rgba(128,128,128,0.25)">`
)

func fill(percent, color string) string {
	return `<div style="width:` + percent + `%;height:100%;background:` + color + `"></div></div>`
}

func TestText(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{clock(-time.Second), "0s"},
		{clock(0), "0s"},
		{clock(1), "1s"},
		{clock(59 * time.Second), "59s"},
		{clock(59*time.Second + 1), "1m00s"},
		{clock(3599 * time.Second), "59m59s"},
		{clock(3600 * time.Second), "1h00m"},
		{clock(26*time.Hour + 5*time.Minute), "26h05m"},
		{speed(1234.5, "step"), "1234 steps/s"},
		{speed(99.96, "step"), "100 steps/s"},
		{speed(49.84, "step"), "49.8 steps/s"},
		{speed(9.999, "step"), "10.0 steps/s"},
		{speed(0.28, "step"), "0.28 steps/s"},
		{speed(0.02, "step"), "50.0 s/step"},
		{speed(0.02, "sample"), "50.0 s/sample"},
		{counts(Report{Step: 1, Unit: "sample"}) + ", " + counts(Report{Step: 2, Unit: "sample"}), "1 sample, 2 samples"},
		{number(0.00001), "1.000e-05"},
		{number(math.Inf(1)), "+Inf"},
		{number(250), "250.0"},
		{bar(0, 10), "[>         ]"},
		{bar(50, 10), "[=====>    ]"},
		{bar(99.9, 10), "[=========>]"},
		{bar(100, 10), "[==========]"},
		{counts(Report{Step: 5, Total: 1000}), "   5/1000"},
		{counts(Report{Step: 5, Total: -1}), "5 steps"},
		{cut("größe", 3), "grö"},
		{cut("abc", -1), ""},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
	for r, want := range map[[2]int64]float64{{5, 10}: 50, {29, 100}: 29, {15, 10}: 100, {-5, 10}: 0, {5, 0}: 0} {
		if got := percent(Report{Step: r[0], Total: r[1]}); got != want {
			t.Errorf("%d of %d is %v%%, want %v%%", r[0], r[1], got, want)
		}
	}
}
