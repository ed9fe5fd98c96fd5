package run

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/train"
)

// FuzzLog checks that each of the two files of a log gives an error, or what continues at a step
// and is the same after writing and reading again.
func FuzzLog(f *testing.F) {
	const entries = `[{"step": 10, "loss": 2, "gradient_norm": 1, "rate": 0.1, "seconds": 3},
		{"step": 20, "loss": 1, "gradient_norm": 1, "rate": 0.1, "metrics": {"a": 1}, "seconds": 6}]`
	f.Add([]byte(entries), []byte(`[{"step": 25, "loss": 3, "n": 5, "metrics": {"a": 2}, "seconds": 7}]`), int64(26))
	f.Add([]byte(entries), []byte(`[{"step": 25, "n": 0, "seconds": -1e308}, {"n": 1}]`), int64(1))
	f.Add([]byte(`[]`), []byte(`null`), int64(0))
	f.Add([]byte(`{}`), []byte(`[`), int64(-1))
	f.Add([]byte(`[null]`), []byte(`[{"step": 1.5}]`), int64(5))
	f.Add([]byte(`[{"step": "a\n"}]`), []byte(`[{"metrics": null}]`), int64(5))
	writeLog, dir := fuzztest.File(f, logFile)
	writeOpen, open := fuzztest.File(f, openLogFile)
	logs := []string{filepath.Join(dir, logFile), filepath.Join(open, openLogFile)}
	f.Fuzz(func(t *testing.T, log, windows []byte, step int64) {
		writeLog(t, log)
		writeOpen(t, windows)
		l := newLog(100, func() time.Time { return time.Unix(0, 0) })
		_ = fuzztest.Read(t, len(log), 256, func() error { return readLog(logs[0], &l.entries) })
		_ = fuzztest.Read(t, len(windows), 256, func() error { return readLog(logs[1], &l.open) })
		fuzztest.RoundTrip(t, l.entries, func(raw []byte) (any, error) {
			var again []LogEntry
			return &again, json.Unmarshal(raw, &again)
		})
		l.cut(step)
		for i := range int64(3) {
			l.add(train.Metrics{Step: step + i, Loss: 1, Values: map[string]float64{"a": 1}})
		}
	})
}

// FuzzManifest checks that any file gives an error, or the manifest of a run that is the same after
// writing and reading again.
func FuzzManifest(f *testing.F) {
	const good = `{"kind": "gmm", "command": "mfm train gmm", "data": "/a", "data_hash": "0", "held_out_hash": "1", "init": "/b",
		"config": {"train": {"steps": 5}}}`
	for _, text := range []string{good, `{"kind": "gmm", "command": "", "config": null}`, `{"config": {}}`, `{}`, `null`,
		`[]`, `{"kind": "gmm"} {}`, `{"kind": "x\n", "config": [1, "\n"]}`, `{"kinds": 1}`, `{`} {
		f.Add([]byte(text))
	}
	write, dir := fuzztest.File(f, configFile)
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, content)
		var m Manifest
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			m, err = ReadManifest(dir)
			return err
		})
		if err != nil {
			return
		}
		var c map[string]any
		_ = fuzztest.Read(t, len(content), 256, func() error {
			_, err := ReadConfig(dir, &c, "gmm")
			return err
		})
		if shaping(m.Config) == "" || m.CheckData("0", "1") != nil && m.DataHash+m.HeldOutHash == "" {
			t.Errorf("manifest %+v", m)
		}
		fuzztest.RoundTrip(t, m, func(raw []byte) (any, error) {
			var again Manifest
			return &again, json.Unmarshal(raw, &again)
		})
	})
}
