package latents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// writeCache writes the cache of n rows of [experimenttest.LatentRows].
func writeCache(t *testing.T, dir string, n int, std float32) *Set {
	t.Helper()
	l, err := Job{
		Codec: "test", Shape: []int{2, 2, 1}, Images: n, Labeled: true,
		Encode: func(_ context.Context, first int, emit func(Chunk) error) error {
			c := Chunk{Size: 4, End: n}
			if err := experimenttest.LatentRows(first, n, std, c.Add); err != nil {
				return err
			}
			return emit(c)
		},
	}.Cached(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A batch reads its own rows alone, whatever the size of the cache; a damaged one of them is an
// error that names file and row, and so is a file that is too short.
func TestDamagedRows(t *testing.T) {
	const n = 40
	dir := t.TempDir()
	l, own := writeCache(t, dir, n, 0.25), []int{3, 17, 5, 39}
	path, size := filepath.Join(dir, rowsFile), int(rowBytes(l.Size()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if !slices.Contains(own, i) {
			raw[i*size+i%size] ^= 1
		}
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	batch := func(indices []int) error {
		_, _, err := l.Batch(t.Context(), indices, make([]bool, len(indices)), 2)
		return err
	}
	if err := batch(own); err != nil {
		t.Errorf("a batch reads rows of others: %v", err)
	}
	for name, err := range map[string]error{"a batch": batch([]int{3, 4, 5}), "all": l.Load()} {
		if err == nil || !strings.Contains(err.Error(), path+": row ") || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: damaged rows give %v", name, err)
		}
	}
	if err := os.Truncate(path, int64(n*size-1)); err != nil {
		t.Fatal(err)
	}
	if _, err := openCache(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is too short gives %v", err)
	}
}

// An opened cache keeps its rows when others replace them, and notices that its statistics are
// gone.
func TestReplacedCache(t *testing.T) {
	dir := t.TempDir()
	l := writeCache(t, dir, 8, 0.25)
	replaceCache(t, dir, "other", 8, 100)
	x, _, err := l.Batch(t.Context(), []int{0, 7, 3}, []bool{true, false, true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Max(x) > 8 {
		t.Errorf("a batch has rows of another cache: %v", x)
	}
	if _, err := l.Statistics(t.Context(), true, true); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("statistics of a cache that others have replaced: %v", err)
	}
	if err := l.Load(); err != nil || slices.Max(l.Mean) > 8 {
		t.Errorf("loaded rows are up to %g (%v), want those of the opened cache", slices.Max(l.Mean), err)
	}
}

// A cache that another process replaces again and again opens with rows of its description, or not.
func TestOpenCacheBesideWriter(t *testing.T) {
	dir, done := t.TempDir(), make(chan bool)
	go func() {
		defer close(done)
		for i := range 300 {
			replaceCache(t, dir, fmt.Sprint(i%2), 2, float32(i%2))
		}
	}()
	opened := 0
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true // and once more, since a cache is there now
		default:
		}
		l, err := openCache(dir)
		if err != nil {
			continue
		}
		opened++
		if err := l.Load(); err != nil || fmt.Sprint(l.Mean[0]) != l.Origin {
			t.Errorf("latents of origin %s have the means %v: %v", l.Origin, l.Mean, err)
		}
		l.file.Close()
	}
	if opened == 0 {
		t.Error("a cache does not open after its writer has ended")
	}
}

// replaceCache replaces a cache, as [Job.Cached] does, by n latents [2, 2, 1] whose moments are all
// v.
func replaceCache(t *testing.T, dir, origin string, n int, v float32) {
	x := index{Origin: origin, Shape: []int{2, 2, 1}, Bad: []leftOut{}}
	err := x.begin(dir)
	var raw []byte
	for range n {
		if err == nil {
			raw, err = appendRow(raw, slices.Repeat([]float32{v}, 16), 0)
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, rowsFile), raw, 0o666)
	}
	if x.Count = n; err == nil {
		err = run.WriteJSON(filepath.Join(dir, indexFile), x)
	}
	if err != nil {
		t.Error(err)
	}
}

// The statistics of streamed latents are those of the latents in memory. Mirror images count if
// they are data: the means of the rows are 4 and 4 1/2, their variance is 20/3, and the noise has
// the variances 1/16 and 1/64.
func TestStatisticsOfRows(t *testing.T) {
	l := writeCache(t, t.TempDir(), 9, 0.25)
	for _, flip := range []bool{true, false} {
		mean, noise, variance := 4., 1./16, 20./3
		if flip {
			mean, noise, variance = 4.25, 5./128, variance+1./16
		}
		for _, streamed := range []bool{true, false} {
			s, err := l.Statistics(t.Context(), streamed, flip)
			if err != nil {
				t.Fatal(err)
			}
			near := func(values []float32, want float64) bool {
				return !slices.ContainsFunc(values, func(v float32) bool { return math.Abs(float64(v)-want) > 1e-5 })
			}
			if !near(s.Mean, mean) || !near(s.Noise, noise) || !near([]float32{s.Variance}, variance+noise) ||
				len(s.Mean) != 4 || len(s.Noise) != 1 {
				t.Errorf("flip %t, streamed %t: statistics %+v, want %g, %g and %g", flip, streamed, s, mean, noise, variance+noise)
			}
		}
	}
}

// FuzzIndex checks that any description of a cache gives an error, or one that can be used.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{
		`{"origin": "a", "shape": [32, 32, 4], "count": 3, "class_counts": [1, 2], "bad": []}`,
		`{"origin": "a/files-b", "shape": [1, 1, 1], "count": 0, "class_names": ["x"], "bad": [{"index": 2, "file": "f", "reason": "r"}]}`,
		`{"shape": [4294967296, 4294967296, 4]}`, `{"shape": [-1, 1, 1]}`, `{"shape": [1, 1]}`, `{"bad": [{"index": 1}]}`, ``, `[]`,
		`{"shape": [1, 1, 1], "bad": [{"index": 1, "file": "f"}, {"index": 1, "file": "f"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var x index
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			x, err = parseIndex(content)
			return err
		})
		if err != nil {
			return
		}
		if r := x.rows(nil); r.size < 1 || rowBytes(r.size) < 16 || r.n < 0 {
			t.Errorf("rows %+v", r)
		}
		for _, b := range x.Bad {
			_ = b.Error()
		}
	})
}

// A job that was stopped goes on at the first damaged row, also if rows after it are whole, and
// ends with the bits of one that was not.
func TestDamagedRowBeforeOthers(t *testing.T) {
	const n = 9
	dir := t.TempDir()
	l := writeCache(t, dir, n, 0.25)
	path, size := filepath.Join(dir, rowsFile), int(rowBytes(l.Size()))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := readIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(whole[:6*size])
	clear(damaged[2*size : 3*size])
	x.Count, x.ClassCounts = 0, nil
	if err := cmp.Or(run.WriteJSON(filepath.Join(dir, indexFile), x), os.WriteFile(path, damaged, 0o666)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Job{Codec: "test", Shape: []int{2, 2, 1}, Images: n}).Cached(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if again := writeCache(t, dir, n, 0.25); again.N != n {
		t.Errorf("%d rows, want %d", again.N, n)
	}
	if raw, err := os.ReadFile(path); err != nil || !slices.Equal(raw, whole) {
		t.Errorf("a cache with a row of zeros differs when it is complete (%v)", err)
	}
}

// The statistics of streamed latents without mirror images are those that the cache keeps. A cache
// of an earlier version lacks them: they take a pass over the rows, which ends with the context,
// and are kept.
func TestStatisticsAreKept(t *testing.T) {
	dir := t.TempDir()
	writeCache(t, dir, 9, 0.25)
	open := func() *Set {
		l, err := openCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ended, end := context.WithCancel(t.Context())
	end()
	want, err := open().Statistics(ended, true, false)
	if err != nil {
		t.Fatalf("statistics of the cache: %v", err)
	}
	kept := filepath.Join(dir, momentsFileOf(false))
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	if _, err := open().Statistics(ended, true, false); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	l := open()
	for range 2 {
		if got, err := l.Statistics(t.Context(), true, false); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v (%v)", got, want, err)
		}
	}
	if got, err := ReadStatistics(kept); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("kept %+v, want %+v (%v)", got, want, err)
	}
	if _, err := new(Set).Statistics(t.Context(), true, false); err == nil || !strings.Contains(err.Error(), "keep them in a folder") {
		t.Errorf("streamed latents without a folder: %v", err)
	}
}
