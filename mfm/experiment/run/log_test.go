package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm/train"
)

// The log of a long run has fewer entries than steps, each a mean since the previous one, and ends
// with the last step.
func TestLogWindows(t *testing.T) {
	now := time.Unix(0, 0)
	const total = 1203
	l := newLog(total, func() time.Time { now = now.Add(time.Second); return now })
	l.cut(1)
	for step := int64(1); step <= total; step++ {
		l.add(train.Metrics{Step: step, Loss: float64(step)})
	}
	last := l.entries[len(l.entries)-1]
	if len(l.entries) != 602 || last.Step != total || last.Loss != total {
		t.Errorf("%d entries, the last %+v", len(l.entries), last)
	}
	// The clock is read once an entry.
	if e := l.entries[9]; e.Step != 20 || e.Loss != 19.5 || e.Seconds != 10 {
		t.Errorf("the tenth entry is %+v", e)
	}
	l.cut(20)
	if l.add(train.Metrics{Step: 20, Loss: 1}); len(l.entries) != 10 || l.entries[9].Seconds != 10 {
		t.Errorf("resumed after step 19, the log is %+v", l.entries)
	}
}

// A log that a run has not written is an error that names the file and the fault in JSON's terms.
func TestReadLogRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	for text, want := range map[string]string{
		`[{"step": 1, "step": 2}]`: "[0].step: the key is repeated",
		`[{"Step": 1}]`:            "[0].Step: unknown key: did you mean step?",
		`[{"step": 1.5}]`:          "[0].step: 1.5 where an integer is required",
		`{}`:                       "an object where a list is required",
		`null`:                     "null where a list is required",
		`[{"step": 1}`:             "not JSON",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadLog(dir)
		if err == nil || !strings.Contains(err.Error(), "log "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// A list that is nil in Go is null in a stored configuration, and is read as such.
func TestReadConfigOfNilList(t *testing.T) {
	dir := t.TempDir()
	read := train.Config{EMA: []float64{0.9}}
	if err := (Options{Dir: dir}).Claim("gmm", train.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(dir, &read, "gmm"); err != nil || read.EMA != nil {
		t.Errorf("averages %v, error %v", read.EMA, err)
	}
}
