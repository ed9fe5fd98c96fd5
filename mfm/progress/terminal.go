package progress

import (
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const separator = "  "

// Terminal returns a sink that writes to w by the given clock. Where w is a terminal it rewrites one line in place:
//
//	1200/2500 [=========>          ]  48%  loss 0.1234  49.8 steps/s  26s left
//
// Into a file or a pipe it writes such a line, without the bar, every ten seconds.
func Terminal(w io.Writer, now func() time.Time) Sink {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		width := func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
		return newLive(w, now, width)
	}
	return newLog(w, now)
}

// logLines writes plain lines.
type logLines struct {
	meter
	w io.Writer
}

func newLog(w io.Writer, now func() time.Time) *logLines {
	return &logLines{newMeter(now, 10*time.Second), w}
}

// Update implements [Sink].
func (l *logLines) Update(r Report) {
	if l.due(r) {
		l.print(r, l.facts(r))
	}
}

// Done implements [Sink].
func (l *logLines) Done(r Report, err error) {
	l.rate.Observe(r.Step)
	l.print(r, l.verdict(r, err))
}

func (l *logLines) print(r Report, facts []string) {
	_, _ = io.WriteString(l.w, strings.Join(append([]string{counts(r)}, facts...), separator)+"\n")
}

// live rewrites one line.
type live struct {
	meter
	w     io.Writer
	width func() int // of the terminal in columns, asked each time since windows change; 0 if not known
	drawn int        // columns of the line that is there
}

func newLive(w io.Writer, now func() time.Time, width func() int) *live {
	return &live{meter: newMeter(now, 100*time.Millisecond), w: w, width: width}
}

// Update implements [Sink].
func (l *live) Update(r Report) {
	if l.due(r) {
		l.draw(cut(l.line(r, l.facts(r)), l.columns()))
	}
}

// Done implements [Sink].
func (l *live) Done(r Report, err error) {
	l.rate.Observe(r.Step)
	l.draw(l.line(r, l.verdict(r, err))) // in full: it isn't rewritten, so it may wrap
	_, _ = io.WriteString(l.w, "\n")
}

// columns are those that a line may fill. In the last one some terminals wrap.
func (l *live) columns() int {
	width := l.width()
	if width <= 0 {
		width = 80
	}
	return width - 1
}

// line puts the widest bar that fits between the counts and the facts.
func (l *live) line(r Report, facts []string) string {
	head, tail := counts(r), strings.Join(facts, separator)
	if r.Total > 0 {
		for _, cells := range []int{30, 20, 10} {
			line := head + " " + bar(percent(r), cells) + " " + tail
			if utf8.RuneCountInString(line) <= l.columns() {
				return line
			}
		}
	}
	return strings.TrimRight(head+separator+tail, " ")
}

// draw writes line over the one that is there, with blanks over what sticks out of it.
func (l *live) draw(line string) {
	width := utf8.RuneCountInString(line)
	_, _ = io.WriteString(l.w, "\r"+line+strings.Repeat(" ", max(l.drawn-width, 0)))
	l.drawn = width
}

// bar is "[====>     ]" with the given number of cells between the brackets.
func bar(percent float64, cells int) string {
	full := int(percent * float64(cells) / 100)
	if full == cells {
		return "[" + strings.Repeat("=", cells) + "]"
	}
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", cells-full-1) + "]"
}

// cut shortens line to a number of columns.
func cut(line string, columns int) string {
	runes := []rune(line)
	return string(runes[:min(len(runes), max(columns, 0))])
}
