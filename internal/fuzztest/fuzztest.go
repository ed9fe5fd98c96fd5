// Package fuzztest has what the fuzz targets of readers share. A reader of files or text from
// outside must not panic, must not allocate much more than the input's size, and must return errors
// of one line.
package fuzztest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"
)

// slack is the number of bytes that any input may allocate: buffers, and what the runtime counts
// late.
const slack = 4 << 20

// Read calls read, which reads an input of size bytes, and returns its error. It fails the test if
// read allocates more than 4 MiB and factor bytes for each byte of the input, or if the error has
// more than one line.
func Read(t testing.TB, size, factor int, read func() error) error {
	t.Helper()
	before := allocated()
	err := read()
	if got, limit := allocated()-before, uint64(slack+factor*size); got > limit {
		t.Errorf("allocated %d bytes for an input of %d, want at most %d", got, size, limit)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("the error has more than one line: %q", err)
	}
	return err
}

// allocated returns the number of bytes allocated since the start of the process.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// RoundTrip fails the test unless v, written as JSON, is read back: again reads into a new value,
// which must give the same JSON.
func RoundTrip(t testing.TB, v any, again func(raw []byte) (any, error)) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("writing %+v: %v", v, err)
	}
	back, err := again(want)
	if err != nil {
		t.Fatalf("reading back %s: %v", want, err)
	}
	if got, err := json.Marshal(back); err != nil || string(got) != string(want) {
		t.Fatalf("read back as %s, want %s (error %v)", got, want, err)
	}
}

// File returns a function that replaces the content of a file called name, and the file's folder.
// The file stays open: this is faster than a new file for each input.
func File(f *testing.F, name string) (write func(t testing.TB, content []byte), dir string) {
	f.Helper()
	dir = f.TempDir()
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	return func(t testing.TB, content []byte) {
		t.Helper()
		err := file.Truncate(int64(len(content)))
		if err == nil {
			_, err = file.WriteAt(content, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}, dir
}
