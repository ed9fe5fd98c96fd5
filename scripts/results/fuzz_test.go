package main

import (
	"errors"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// FuzzRows checks that any file of measurements gives an error, as a panic that templates report,
// or rows whose values can be read.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`[{"a": 1, "b": [{"a": 2}]}, {"a": "x"}]`), "a", "a=1|x")
	f.Add([]byte(`{"b": [{"a": 2}, 3]}`), "b.0.a", "b.0.a>=2")
	f.Add([]byte(`[]`), "", "=")
	f.Add([]byte(``), ".", "a")
	f.Add([]byte(`[1, null]`), "0", "a<=x")
	f.Add([]byte(`[{"": {"": 1}}]`), ".", ".!=2")
	f.Fuzz(func(t *testing.T, content []byte, key, condition string) {
		_ = fuzztest.Read(t, len(content)+len(key)+len(condition), 256, func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					var isError bool
					if err, isError = p.(error); !isError || errors.As(err, new(runtime.Error)) {
						panic(p)
					}
					err = nil // keys and conditions are those of the templates
				}
			}()
			s := newStore(fstest.MapFS{"figures/x.json": {Data: content}})
			for _, r := range s.rows("x.json", condition) {
				r.Text(key)
				r.list(key)
				r.Num(key)
			}
			return nil
		})
	})
}
