package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// idx encodes an IDX file of bytes with any header.
func idx(dims []uint32, elements []byte) []byte {
	b := []byte{0, 0, idxUint8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, elements...)
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// count returns the bytes 0, 1, ..., n-1.
func count(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadPair(t *testing.T) {
	images, labels := idx([]uint32{2, 3, 4}, count(24)), idx([]uint32{2}, []byte{7, 200})
	for _, tc := range []struct {
		name           string
		images, labels []byte
	}{
		{"plain", images, labels},
		{"gzip", gz(images), gz(labels)},
		{"mixed", gz(images), labels},
		{"gzip in two members", append(gz(images[:9]), gz(images[9:])...), labels},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The names are wrong about the compression, which the contents determine.
			m, err := ReadPair(writeFile(t, "images.gz", tc.images), writeFile(t, "labels", tc.labels))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Validate(); err != nil {
				t.Error(err)
			}
			alone, err := ReadLabels(writeFile(t, "labels", tc.labels))
			if err != nil || !slices.Equal(alone, m.Labels) {
				t.Errorf("labels alone: %v, %v", alone, err)
			}
			if got, want := m.shape(), []int{2, 3, 4, 1}; !slices.Equal(got, want) {
				t.Errorf("shape %v, want %v", got, want)
			}
			if !bytes.Equal(m.Pixels, count(24)) || !slices.Equal(m.Labels, []int32{7, 200}) {
				t.Errorf("pixels %v, labels %v", m.Pixels, m.Labels)
			}
		})
	}
}

// badImages returns invalid files of images, each with a part of the expected error.
func badImages() map[string]struct {
	content []byte
	want    string
} {
	const most = 1<<32 - 1
	good := idx([]uint32{2, 3, 4}, count(24))
	damaged := gz(good)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	return map[string]struct {
		content []byte
		want    string
	}{
		"empty":                {nil, "empty file"},
		"one byte":             {good[:1], "truncated: ends in its header"},
		"only a magic":         {good[:4], "truncated: ends in its header"},
		"header cut short":     {good[:15], "truncated: ends in its header"},
		"no pixels":            {good[:16], "truncated: ends after 0 of 24 bytes"},
		"a pixel short":        {good[:len(good)-1], "truncated: ends after 23 of 24 bytes"},
		"a byte too many":      {append(slices.Clone(good), 0), "more than the 24 bytes"},
		"text":                 {[]byte("<html>404</html>"), "starts with 3c 68 74 6d"},
		"labels":               {idx([]uint32{2}, count(2)), "starts with 00 00 08 01, want 00 00 08 03"},
		"four dimensions":      {idx([]uint32{1, 2, 3, 4}, count(24)), "starts with 00 00 08 04"},
		"floats":               {append([]byte{0, 0, 0x0d, 3}, good[4:]...), "starts with 00 00 0d 03"},
		"no images":            {idx([]uint32{0, 28, 28}, nil), "dimension 0 is 0"},
		"no width":             {idx([]uint32{5, 28, 0}, nil), "dimension 2 is 0"},
		"absurd width":         {idx([]uint32{1, 28, 1 << 20}, nil), "dimension 2 is 1048576"},
		"absurd count":         {idx([]uint32{most, 28, 28}, nil), "exceeds the limit of 2147483647 bytes"},
		"product over 64 bits": {idx([]uint32{most, most, most}, nil), "exceeds the limit of 2147483647 bytes"},
		"gzip, only a magic":   {gzipMagic, "truncated: ends within its gzip data"},
		"gzip, bad header":     {[]byte{0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}, "gzip: invalid header"},
		"gzip cut short":       {gz(good)[:20], "truncated"},
		"gzip, no checksum":    {gz(good)[:len(gz(good))-8], "truncated: ends within its gzip data"},
		"gzip, bad checksum":   {damaged, "gzip: invalid checksum"},
		"gzip, bytes after it": {append(gz(good), "junk after it"...), "gzip: invalid header"},
		"gzip in gzip":         {gz(gz(good)), "starts with 1f 8b"},
		"gzip of too much":     {gz(append(slices.Clone(good), 0)), "more than the 24 bytes"},
		"gzip of too little":   {gz(good[:30]), "truncated: ends after 14 of 24 bytes"},
	}
}

func TestReadImagesRejects(t *testing.T) {
	for name, tc := range badImages() {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, "images", tc.content)
			m, err := ReadImages(path)
			if err == nil {
				t.Fatalf("no error, read %v", m.shape())
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), path) != 1 {
				t.Errorf("error %q, want one with %q that names the file once", err, tc.want)
			}
		})
	}
}

func TestReadPairRejects(t *testing.T) {
	images := writeFile(t, "images", idx([]uint32{2, 3, 4}, count(24)))
	labels := writeFile(t, "labels", idx([]uint32{3}, count(3)))
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tc := range []struct {
		name, images, labels string
		want                 []string
		is                   error
	}{
		{name: "counts", images: images, labels: labels, want: []string{images, labels, "3 labels", "2 images"}},
		{name: "swapped", images: labels, labels: images, want: []string{labels, "want 00 00 08 03"}},
		{name: "images twice", images: images, labels: images, want: []string{images, "want 00 00 08 01"}},
		{name: "no images", images: missing, labels: labels, want: []string{missing}, is: fs.ErrNotExist},
		{name: "no labels", images: images, labels: missing, want: []string{missing}, is: fs.ErrNotExist},
		{name: "folder", images: filepath.Dir(images), labels: labels,
			want: []string{filepath.Dir(images), "directory"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadPair(tc.images, tc.labels)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not contain %q", err, w)
				}
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %q is not %q", err, tc.is)
			}
		})
	}
}

// A header that claims 2 GB must not cause their allocation: the file has 100 bytes of pixels.
func TestReadImagesAllocatesWhatArrives(t *testing.T) {
	path := writeFile(t, "images", idx([]uint32{1 << 20, 32, 63}, count(100)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadImages(path); err == nil {
		t.Fatal("no error")
	}
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(2*firstChunk); got > limit {
		t.Errorf("allocated %d bytes for a file of 112, want at most %d", got, limit)
	}
}

// A file of several chunks is read completely, into a slice without spare capacity.
func TestReadImagesGrows(t *testing.T) {
	want := bytes.Repeat(count(251), 3*firstChunk/251)
	m, err := ReadImages(writeFile(t, "images", idx([]uint32{uint32(len(want) / 251), 251, 1}, want)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Pixels, want) || cap(m.Pixels) != len(want) {
		t.Errorf("%d pixels in a slice of %d, want %d", len(m.Pixels), cap(m.Pixels), len(want))
	}
}
