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

// Terminal returns a sink that writes to w, with times from the clock now. If w is a terminal it
// rewrites one line in place:
//
//	1200/2500 [=========>          ]  48%  loss 0.1234  49.8 steps/s  26s left
//
// To a file or a pipe it writes such a line, without the bar, every ten seconds.
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

// logLines is a sink that writes plain lines.
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
	l.print(r, l.outcome(r, err))
}

func (l *logLines) print(r Report, facts []string) {
	_, _ = io.WriteString(l.w, strings.Join(append([]string{counts(r)}, facts...), separator)+"\n")
}

// live is a sink that rewrites one line.
type live struct {
	meter
	w     io.Writer
	width func() int // current width of the terminal in columns, 0 if unknown
	drawn int        // columns of the line on the screen
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
	l.draw(l.line(r, l.outcome(r, err))) // in full: it may wrap, since nothing rewrites it
	_, _ = io.WriteString(l.w, "\n")
}

// columns returns the number of columns that a line may fill. Some terminals wrap in the last one.
func (l *live) columns() int {
	width := l.width()
	if width <= 0 {
		width = 80
	}
	return width - 1
}

// line returns a line with the widest bar that fits between the counts and the facts.
func (l *live) line(r Report, facts []string) string {
	head, tail := counts(r), strings.Join(facts, separator)
	if r.Total > 0 {
		for _, width := range []int{30, 20, 10} {
			line := head + " " + bar(percent(r), width) + " " + tail
			if utf8.RuneCountInString(line) <= l.columns() {
				return line
			}
		}
	}
	return strings.TrimRight(head+separator+tail, " ")
}

// draw overwrites the line on the screen, with blanks over what remains of it.
func (l *live) draw(line string) {
	width := utf8.RuneCountInString(line)
	_, _ = io.WriteString(l.w, "\r"+line+strings.Repeat(" ", max(l.drawn-width, 0)))
	l.drawn = width
}

// bar returns "[====> ]" with width columns between the brackets.
func bar(percent float64, width int) string {
	full := int(percent * float64(width) / 100)
	if full == width {
		return "[" + strings.Repeat("=", width) + "]"
	}
	return "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", width-full-1) + "]"
}

// cut shortens line to the given number of columns.
func cut(line string, columns int) string {
	runes := []rune(line)
	return string(runes[:min(len(runes), max(columns, 0))])
}
