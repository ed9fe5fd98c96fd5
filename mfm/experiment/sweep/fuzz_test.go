package sweep_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
)

// FuzzParseShard checks that any text gives an error, or a shard that its text gives again.
func FuzzParseShard(f *testing.F) {
	for _, text := range []string{"", "0/4", "3/4", "4/4", "-1/4", "1", "1/0", "a/b", "1/4/2", "1/4 x",
		"+1/ 4", "0x1/4", "\n0/1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var i, n int
		err := fuzztest.Read(t, len(text), 256, func() (err error) {
			i, n, err = sweep.ParseShard(text)
			return err
		})
		if err != nil {
			return
		}
		if i < 0 || i >= n {
			t.Errorf("%q is shard %d of %d", text, i, n)
		}
		if again, of, err := sweep.ParseShard(fmt.Sprintf("%d/%d", i, n)); err != nil || again != i || of != n {
			t.Errorf("%d/%d is read back as %d/%d (error %v)", i, n, again, of, err)
		}
	})
}

// FuzzResults checks that any file gives an error, or results that are the same after writing and
// reading again. A record is the file of one result, else the file has those of many.
func FuzzResults(f *testing.F) {
	for _, text := range []string{`[]`, `null`, `[{"run": "a", "test": "x", "loss": 1}]`,
		`[{"run": ""}]`, `[1]`, `[`, `{}`,
		`[{"run": "a", "test": 1}]`, `[{"run": "b"}, {"run": "a", "x": "\n"}]`, `[{"x": 1, "run": "a"}]`} {
		f.Add([]byte(text), false)
	}
	for _, text := range []string{`{"setting": {"seed": 1}, "result": {"loss": 0.5}}`,
		`{"result": {}}`, `{"result": [1, 2]}`,
		`{"result": null}`, `{}`, `[]`, `{`} {
		f.Add([]byte(text), true)
	}
	writeRecord, records := fuzztest.File(f, "run-0123456789abcdef.json")
	writeList, dir := fuzztest.File(f, "results.json")
	list := filepath.Join(dir, "results.json")
	f.Fuzz(func(t *testing.T, content []byte, record bool) {
		write, source := writeList, list
		if record {
			write, source = writeRecord, records
		}
		write(t, content)
		var results []json.RawMessage
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			results, err = sweep.Merge(source)
			return err
		})
		if !record {
			_ = fuzztest.Read(t, len(content), 256, func() error {
				_, err := sweep.Read[map[string]any](list, "x")
				return err
			})
		}
		if err != nil {
			return
		}
		want := sweep.Join(results)
		writeList(t, want)
		again, err := sweep.Merge(list)
		if got := sweep.Join(again); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read back as %s, want %s (error %v)", got, want, err)
		}
	})
}
