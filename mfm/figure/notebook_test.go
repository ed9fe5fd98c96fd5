//go:build unix

package figure

import (
	"encoding/gob"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// notebook simulates the GoNB kernel. The channel receives the data that the program displays.
func notebook(t *testing.T) <-chan protocol.DisplayData {
	t.Helper()
	dir := t.TempDir()
	to, from := filepath.Join(dir, "to"), filepath.Join(dir, "from")
	for _, path := range []string{to, from} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skip(err)
		}
	}
	t.Setenv(protocol.GONB_PIPE_ENV, to)
	t.Setenv(protocol.GONB_PIPE_BACK_ENV, from)
	gonbui.IsNotebook = true
	t.Cleanup(func() { gonbui.IsNotebook = false })

	displayed := make(chan protocol.DisplayData, 16)
	go func() {
		r, err := os.Open(to)
		if err != nil {
			return
		}
		defer r.Close()
		w, err := os.OpenFile(from, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		defer w.Close()
		for d := gob.NewDecoder(r); ; {
			var data protocol.DisplayData
			if d.Decode(&data) != nil {
				return
			}
			displayed <- data
		}
	}()
	return displayed
}

func TestInNotebook(t *testing.T) {
	displayed := notebook(t)
	next := func() (html, id string) {
		d := <-displayed
		html, _ = d.Data[protocol.MIMETextHTML].(string)
		return html, d.DisplayID
	}

	f := New(smallTheme(), 1, 1)
	f.X, f.Y = Axis{Label: "t"}, Axis{Label: "SW₂"}
	f.Panel(0, 0).Add(Line{Name: `"best" <loss>`, X: []float64{0, 1}, Y: []float64{0, 1}})
	f.Caption = "Sliced W₂ & its floor"
	if err := f.Show(); err != nil {
		t.Fatal(err)
	}
	html, id := next()
	for _, want := range []string{
		"data:image/png;base64,iVBOR", "width:322px", // 3.35 inches
		`alt="&#34;best&#34; &lt;loss&gt;; Sliced W₂ &amp; its floor"`, "Sliced W₂ &amp; its floor</figcaption>",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("Show displays no %q", want)
		}
	}
	if id != "" {
		t.Errorf("Show displays in block %q", id)
	}

	if err := (Table{Header: []string{"loss"}}).Show(); err != nil {
		t.Fatal(err)
	}
	if html, _ := next(); !strings.HasPrefix(html, "<table") {
		t.Errorf("Show displays %q, want a table", html)
	}

	c := &clock{time.Unix(1000, 0)}
	a, b := NewLive(smallTheme(), c.now), NewLive(smallTheme(), c.now)
	a.Update(1, 0.5)
	_, first := next()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	_, again := next()
	b.Update(1, 0.5)
	_, other := next()
	if first == "" || again != first || other == first {
		t.Errorf("one live plot displays in blocks %q and %q, another in %q", first, again, other)
	}
}
