package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// memory is a source of bytes.
func memory(name string, content []byte) source {
	return source{name, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// deflated bounds the bytes that a byte of a compressed file can decode to.
const deflated = 1032

// fuzzSources calls read with the contents as files and returns its images, nil after an error. The
// error must name one of the files.
func fuzzSources(t *testing.T, read func() (*Images, error), contents ...[]byte) (m *Images) {
	size := 0
	for _, c := range contents {
		size += len(c)
	}
	err := fuzztest.Read(t, size, 16*deflated, func() (err error) {
		m, err = read()
		return err
	})
	if err != nil {
		if text := err.Error(); !strings.Contains(text, "images.x") && !strings.Contains(text, "labels.x") {
			t.Errorf("error %q does not name the file", err)
		}
		return nil
	}
	if err := m.Validate(); err != nil {
		t.Error(err)
	}
	return m
}

// FuzzReadImages checks that any input gives an error that names the file, or images that are
// written as the same bytes.
func FuzzReadImages(f *testing.F) {
	for _, tc := range badImages() {
		f.Add(tc.content)
	}
	good := idx([]uint32{2, 3, 4}, count(24))
	f.Add(good)
	f.Add(gz(good))
	f.Fuzz(func(t *testing.T, content []byte) {
		m := fuzzSources(t, func() (*Images, error) { return readImages(memory("images.x", content)) }, content)
		if m == nil || bytes.HasPrefix(content, gzipMagic) {
			return
		}
		again := idx([]uint32{uint32(m.N), uint32(m.Height), uint32(m.Width)}, m.Pixels)
		if !bytes.Equal(again, content) {
			t.Errorf("images of % x are written as % x", content, again)
		}
	})
}

// FuzzReadPair checks that any two inputs give an error that names one of the files, or images with
// a summary.
func FuzzReadPair(f *testing.F) {
	images, labels := idx([]uint32{2, 3, 4}, count(24)), idx([]uint32{2}, []byte{7, 255})
	f.Add(images, labels)
	f.Add(gz(images), gz(labels))
	f.Add(labels, images)
	f.Add(images, idx([]uint32{3}, count(3)))
	f.Add(images, idx([]uint32{1<<32 - 1}, count(3)))
	for _, tc := range badImages() {
		f.Add(tc.content, labels)
		f.Add(images, tc.content)
	}
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		m := fuzzSources(t, func() (*Images, error) {
			return readPair(memory("images.x", images), memory("labels.x", labels))
		}, images, labels)
		if m == nil {
			return
		}
		s, err := m.Summary()
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, c := range s.ClassCounts {
			total += c
		}
		if total != s.Count || !(s.Variance >= 0) || !(s.Mean >= -1 && s.Mean <= 1) {
			t.Errorf("impossible summary %+v", s)
		}
	})
}

// FuzzReadNPY checks that any two inputs give an error that names one of the files, or images that
// are the same after writing and reading again. Without labels the second input is empty.
func FuzzReadNPY(f *testing.F) {
	gray, two := npyFile(1, npyDict("|u1", "2, 3, 4"), count(24)), npyFile(1, npyDict("<i8", "2,"), make([]byte, 16))
	f.Add(gray, two)
	f.Add(gray, []byte(nil))
	f.Add(npyFile(2, npyDict("|u1", "2, 2, 2, 3"), count(24)), npyFile(1, npyDict(">i2", "2,"), []byte{0, 7, 1, 0}))
	f.Add(npyFile(3, npyDict("|u1", "2, 6, 1, 2"), count(24)), npyFile(1, npyDict("<u4", "2,"), []byte{7, 0, 0, 0, 0, 1, 0, 0}))
	f.Add(npyFile(1, npyDict("|u1", "65536, 65536, 65536"), count(1)), []byte(nil))
	f.Add(gray[:len(gray)-1], two[:20])
	f.Add(npyFile(1, npyDict("|u1", "2, 3,\r4"), count(24)), npyFile(1, npyDict("<i8", "0\n"), nil))
	f.Add(two, gray)
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		read := func(images, labels []byte) (*Images, error) {
			second := source{}
			if len(labels) > 0 {
				second = memory("labels.x", labels)
			}
			return readNPYPair(memory("images.x", images), second)
		}
		m := fuzzSources(t, func() (*Images, error) { return read(images, labels) }, images, labels)
		if m == nil {
			return
		}
		var shape []string
		for _, d := range m.shape() {
			shape = append(shape, strconv.Itoa(d))
		}
		var written []byte
		for _, k := range m.Labels {
			written = binary.LittleEndian.AppendUint32(written, uint32(k))
		}
		if written != nil {
			written = npyFile(1, npyDict("<i4", strconv.Itoa(m.N)+","), written)
		}
		again, err := read(npyFile(1, npyDict("|u1", strings.Join(shape, ", ")), m.Pixels), written)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("read back as %+v, want %+v (error %v)", again, m, err)
		}
	})
}

// FuzzParseLocation checks that any text gives an error, or a location that its text gives again.
func FuzzParseLocation(f *testing.F) {
	for _, text := range []string{"", "a/b.npy", "a?labels=b.npy", "a?size=3x4", "a?labels=b&size=5",
		"a?size=3?labels=", "a?skip=3&size=2x3", "a?size=1?skip=-1",
		"a?b", "a?size=0", "a?size=%zz", "a?labels=b;c", "a?labels=%3F%0A", "a?size=1&size=2&x=y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l Location
		err := fuzztest.Read(t, len(text), 64, func() (err error) {
			l, err = ParseLocation(text)
			return err
		})
		if err != nil {
			return
		}
		if again, err := ParseLocation(l.String()); err != nil || again != l {
			t.Errorf("%q is %+v, whose text %q is %+v (error %v)", text, l, l.String(), again, err)
		}
	})
}

// FuzzParseContentRange checks that any header of a mirror gives a first byte and a size that are
// -1 or not negative, and that a header which is written from them gives them again.
func FuzzParseContentRange(f *testing.F) {
	for _, header := range []string{"", "bytes 5-9/10", "bytes */10", "bytes 5-9/*", "bytes 99999999999999999999-/1",
		"bytes -5/-10", "items 1-2/3"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		start, size := parseContentRange(header)
		if start < -1 || size < -1 {
			t.Fatalf("%q is byte %d of %d", header, start, size)
		}
		if s, n := parseContentRange(fmt.Sprintf("bytes %d-/%d", start, size)); start >= 0 && s != start || n != size {
			t.Errorf("%q is byte %d of %d, then %d of %d", header, start, size, s, n)
		}
	})
}
