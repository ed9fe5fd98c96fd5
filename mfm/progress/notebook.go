package progress

import (
	"fmt"
	"html"
	"strings"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
)

// These colors are visible on light and dark pages.
const (
	colorRunning = "#3b7dd8"
	colorDone    = "#2e9e5b"
	colorStopped = "#c8443a"
	colorTrack   = "rgba(128,128,128,0.25)"
)

// notebook shows a bar in the output of a notebook cell.
type notebook struct {
	meter
	show func(html string) // replaces the current output
	sync func()            // waits until the front end has the output
}

// Notebook returns a sink that shows a bar, with the same numbers as [Terminal], in the output of
// the running GoNB notebook cell. It updates the bar in place at most twice a second, as measured
// by now. The final state stays in the saved notebook. Outside GoNB it shows nothing.
func Notebook(now func() time.Time) Sink {
	id := "progress_" + gonbui.UniqueId()
	show := func(html string) { gonbui.UpdateHTML(id, html) }
	return newNotebook(now, show, gonbui.Sync)
}

func newNotebook(now func() time.Time, show func(html string), sync func()) *notebook {
	return &notebook{newMeter(now, 500*time.Millisecond), show, sync}
}

// Update implements [Sink].
func (n *notebook) Update(r Report) {
	if n.due(r) {
		n.show(widget(r, n.facts(r), colorRunning))
	}
}

// Done implements [Sink]. It waits until the front end has the final state, because the cell's
// program may end right after it.
func (n *notebook) Done(r Report, err error) {
	n.rate.Observe(r.Step)
	color := colorDone
	if err != nil {
		color = colorStopped
	}
	n.show(widget(r, n.outcome(r, err), color))
	n.sync()
}

// widget returns the bar in HTML. Its text is readable alone, in case a viewer strips styles.
func widget(r Report, facts []string, color string) string {
	var b strings.Builder
	b.WriteString(`<div style="font-family:monospace;white-space:pre-wrap">`)
	if r.Total > 0 {
		fmt.Fprintf(&b, `<div style="width:20em;max-width:100%%;height:0.6em;background:%s">`, colorTrack)
		fmt.Fprintf(&b, `<div style="width:%.1f%%;height:100%%;background:%s"></div></div>`, percent(r), color)
	}
	b.WriteString(html.EscapeString(strings.Join(append([]string{counts(r)}, facts...), separator)))
	b.WriteString(`</div>`)
	return b.String()
}
