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

// A CSV file has a column for each metric of any entry, and numbers to the last bit.
func TestCSVLog(t *testing.T) {
	dir := t.TempDir()
	log := []LogEntry{
		{Step: 1, Loss: 1.0 / 3, Rate: 1e-3},
		{Step: 20, Loss: 2, GradientNorm: 5e-324, Seconds: 1.5, Metrics: map[string]float64{"b": -1, `a, "c"`: 1e300}},
	}
	if err := (CSVLog{}).WriteLog(dir, log); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "log.csv"))
	want := "step,loss,gradient_norm,rate,seconds,\"a, \"\"c\"\"\",b\n" +
		"1,0.3333333333333333,0,0.001,0,,\n20,2,5e-324,0,1.5,1e+300,-1\n"
	if err != nil || string(got) != want {
		t.Errorf("log.csv is %q (%v), want %q", got, err, want)
	}
}

// Entries are appended to an event file in place, also to one whose last record is torn. A file
// with other entries is replaced.
func TestEventLog(t *testing.T) {
	dir := t.TempDir()
	if err := (Options{Dir: dir}).Claim("gmm", train.Config{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "events.out.tfevents.mfm")
	write := func(log []LogEntry) (content string, info os.FileInfo) {
		t.Helper()
		if err := (EventLog{}).WriteLog(dir, log); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			info, err = os.Stat(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(raw), info
	}
	log := []LogEntry{{Step: 1, Loss: 3}, {Step: 2, Loss: 2, Metrics: map[string]float64{"diagonal": 4}}, {Step: 3}}
	header, first := write(nil)
	one, second := write(log[:1])
	all, third := write(log)
	if !strings.HasPrefix(one, header) || !strings.HasPrefix(all, one) || !os.SameFile(first, third) ||
		strings.Count(all, "gradient_norm") != 3 || strings.Count(all, "diagonal") != 1 {
		t.Errorf("the files are not continued: %q, %q, %q", header, one, all)
	}
	if err := os.WriteFile(path, []byte(all[:len(one)+9]), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, info := write(log); again != all || !os.SameFile(info, second) {
		t.Errorf("the file with a torn record becomes %q, want %q", again, all)
	}
	if less, info := write(log[:1]); less != one || os.SameFile(info, second) {
		t.Errorf("with the first entry alone, the file becomes %q, want another file with %q", less, one)
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
