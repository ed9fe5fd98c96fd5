package distance_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/experiment/distance"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent/picture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// npz returns a file of numpy.savez with arrays, each a pair of a name and the content of a .npy
// file.
func npz(t testing.TB, entries ...any) []byte {
	t.Helper()
	var content bytes.Buffer
	z := zip.NewWriter(&content)
	for i := 0; i < len(entries); i += 2 {
		w, err := npy.Entry(z, entries[i].(string))
		if err == nil {
			_, err = w.Write(entries[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

// array returns a file of numpy.save.
func array[T uint8 | int64 | float32 | float64](t testing.TB, values []T, shape ...int) []byte {
	t.Helper()
	var content bytes.Buffer
	if err := npy.Write(&content, values, shape...); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFeatures(t *testing.T) {
	first, second := array(t, []float32{1, 2, 3, 4, 5, 6}, 3, 2), array(t, []float64{7, 8}, 1, 2)
	both := npz(t, "first", first, "second", second)
	for _, c := range []struct {
		content []byte
		name    string
		want    float64
		rows    int
	}{{first, "", 1, 3}, {second, "", 7, 1}, {both, "", 1, 3}, {both, "second", 7, 1}} {
		rows, err := distance.ReadFeatures(file(t, "a", c.content), c.name)
		if err != nil || len(rows) != c.rows || rows[0][0] != c.want || rows[0][1] != c.want+1 {
			t.Errorf("%q: %v, error %v", c.name, rows, err)
		}
	}
	nan := array(t, []float32{1, 0, 0, 4}, 2, 2)
	copy(nan[len(nan)-8:], "\x00\x00\xc0\x7f") // the third value
	for want, c := range map[string]struct {
		content []byte
		name    string
	}{
		`no array "third": name one of ["first" "second"]`: {both, "third"}, "has no name": {first, "second"},
		"feature 0 of row 1 is NaN": {nan, ""}, "want features [n, dim]": {array(t, []float32{1, 2}, 2), ""},
		"want floating-point numbers": {array(t, []int64{1, 2}, 1, 2), ""}, "truncated or damaged": {first[:len(first)-1], ""},
		"magic of a .npy file": {[]byte("hello, this is text"), ""}, "zip": {both[:len(both)-30], ""},
		"more elements than its shape": {append(bytes.Clone(second), 0, 0), ""},
		"Fortran":                      {bytes.Replace(first, []byte("False"), []byte("True "), 1), ""},
		`elements of type ">f4"`:       {bytes.Replace(first, []byte("<f4"), []byte(">f4"), 1), ""},
	} {
		path := file(t, "a", c.content)
		if _, err := distance.ReadFeatures(path, c.name); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), path) {
			t.Errorf("error %v, want %q after the path", err, want)
		}
	}
	if _, err := distance.ReadFeatures(t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "features.json") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestReadStatisticsRefuses(t *testing.T) {
	mu, sigma := array(t, []float64{1, 2}, 2), array(t, []float64{2, 1, 1, 3}, 2, 2)
	for want, content := range map[string][]byte{
		`no array "sigma"`:    npz(t, "mu", mu),
		"want 2 axes":         npz(t, "mu", mu, "sigma", mu),
		"want [2, 2]":         npz(t, "mu", mu, "sigma", array(t, []float64{1}, 1, 1)),
		"a symmetric matrix":  npz(t, "mu", mu, "sigma", array(t, []float64{2, 1, 0, 3}, 2, 2)),
		"want floating-point": npz(t, "mu", array(t, []int64{1, 2}, 2), "sigma", sigma),
		"is a single array":   mu,
	} {
		if _, err := distance.ReadStatistics(file(t, "s.npz", content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Pictures of an array are read in any order, gray ones as three equal channels.
func TestPictures(t *testing.T) {
	gray := make([]uint8, 5*2*3)
	color := make([]uint8, 5*2*3*3)
	for i := range color {
		gray[i/3], color[i] = uint8(i/3), uint8(i/3)
	}
	for _, content := range [][]byte{
		array(t, gray, 5, 2, 3), array(t, gray, 5, 2, 3, 1), npz(t, "arr_0", array(t, color, 5, 2, 3, 3)),
	} {
		name := "p.npy"
		if content[0] == 'P' {
			name = "p.npz"
		}
		p, err := distance.OpenPictures(file(t, name, content), "")
		if err != nil || p.N != 5 || p.Height != 2 || p.Width != 3 {
			t.Fatalf("%+v, error %v", p, err)
		}
		defer p.Close()
		for _, from := range []int{0, 3, 1} {
			levels, err := p.Levels(t.Context(), from, from+2)
			if err != nil || !bytes.Equal(levels, color[from*18:][:36]) {
				t.Errorf("pictures from %d: %v, error %v", from, levels, err)
			}
		}
	}
	for want, path := range map[string]string{
		`type "<f4"`: file(t, "p.npy", array(t, []float32{1, 2, 3}, 1, 1, 1, 3)), "want uint8": file(t, "p.npy", array(t, gray, 5, 6)),
		"no such file": filepath.Join(t.TempDir(), "none"), "has no PNG": t.TempDir(),
		"shape [5 1 3 2]": file(t, "p.npy", array(t, gray, 5, 1, 3, 2)),
	} {
		if _, err := distance.OpenPictures(path, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Hashes distinguish arrays of one size and shape, in one file and in several.
func TestPicturesHash(t *testing.T) {
	first, second := array(t, []uint8{1, 2, 3}, 1, 1, 3), array(t, []uint8{1, 2, 4}, 1, 1, 3)
	both := npz(t, "first", first, "second", second)
	hashes := make(map[string]bool)
	for _, c := range []struct {
		file    string
		content []byte
		array   string
	}{{"p.npy", first, ""}, {"p.npy", second, ""}, {"p.npz", both, "first"}, {"p.npz", both, "second"}, {"q.npy", first, ""}} {
		p, err := distance.OpenPictures(file(t, c.file, c.content), c.array)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		hash, err := p.Hash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = true
	}
	if len(hashes) != 4 {
		t.Errorf("four arrays, of which one is in two files, have the hashes %v", hashes)
	}
}

// A large array is read to hash it only for a folder that keeps features, and until the context
// ends.
func TestExtractionHashes(t *testing.T) {
	b := backendtest.New(t)
	network, weights := experimenttest.EfficientNet(t)
	e, err := picture.NewEvaluator(b, network, weights)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Finalize()
	path := file(t, "p.npy", array(t, make([]uint8, 2*16*16*3), 2, 16, 16, 3))
	p, err := distance.OpenPictures(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Hash(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if err := os.Remove(path); err != nil { // what is open can be read, but not hashed
		t.Fatal(err)
	}
	n, rows := &distance.Network{Evaluator: e}, 0
	visit := func(of [][]float64) error {
		rows += len(of)
		return nil
	}
	if err := (distance.Extraction{}).Run(t.Context(), n, p, visit); err != nil || rows != 2 {
		t.Errorf("%d rows (%v)", rows, err)
	}
	if err := (distance.Extraction{Dir: t.TempDir()}).Run(t.Context(), n, p, visit); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder of features of pictures that are gone: %v", err)
	}
}

// FuzzReadFeatures checks that any file gives features or an error, in memory of the size of the
// file.
func FuzzReadFeatures(f *testing.F) {
	f.Add(array(f, []float32{1, 2, 3, 4}, 2, 2))
	f.Add(npz(f, "mu", array(f, []float64{1, 2}, 2), "sigma", array(f, []float64{2, 1, 1, 3}, 2, 2), "n", array(f, []int64{9})))
	raw, err := os.ReadFile(filepath.Join("testdata", "statistics.npz"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	write, dir := fuzztest.File(f, "a.npz")
	path := filepath.Join(dir, "a.npz")
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, content)
		size := 1<<20 + 16*len(content) // of the elements
		_ = fuzztest.Read(t, size, 64, func() error { _, err := distance.ReadFeatures(path, ""); return err })
		_ = fuzztest.Read(t, size, 64, func() error { _, err := distance.ReadStatistics(path); return err })
		_ = fuzztest.Read(t, size, 64, func() error {
			p, err := distance.OpenPictures(path, "")
			if err == nil {
				defer p.Close()
				_, err = p.Levels(t.Context(), 0, 1)
			}
			return err
		})
	})
}
