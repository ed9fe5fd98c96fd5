package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// numbered returns a folder of n pictures of 4x4 pixels, of two classes, whose red is their number.
func numbered(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		write(t, one(t, 4, 4, uint8(i)), dir, fmt.Sprint(i%2), fmt.Sprintf("%03d.png", i))
	}
	return dir
}

func config(batch int) Config {
	return Config{Height: 4, Width: 4, Batch: batch, Seed: 3, Flip: true, Workers: 2}
}

func batches(t testing.TB, s *Set, c Config, first, last int64) ([]Batch, *Loader) {
	t.Helper()
	l, err := NewLoader(s, c)
	if err != nil {
		t.Fatal(err)
	}
	var all []Batch
	for step := first; step <= last; step++ {
		b, err := l.Batch(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all, l
}

// red returns the number of picture i in a batch, and whether it is flipped.
func red(b Batch, c Config, i int) (number int, flipped bool) {
	p := b.Pixels[i*c.Height*c.Width*3:]
	return int((p[0] + 1) * 127.6), p[1] > p[4]
}

// Each epoch has every picture once with its label, in an order of its own, also across batches.
func TestLoaderEpochs(t *testing.T) {
	const n, epochs = 20, 30
	s, c := open(t, numbered(t, n)), config(7)
	all, _ := batches(t, s, c, 1, (n*epochs+6)/7)
	var numbers []int
	flips := make(map[int]int)
	for _, b := range all {
		for i := range c.Batch {
			number, flipped := red(b, c, i)
			if b.Labels[i] != int32(number%2) {
				t.Fatalf("picture %d has label %d", number, b.Labels[i])
			}
			numbers = append(numbers, number)
			if flipped {
				flips[number]++
			}
		}
	}
	sorted := make([]int, n)
	for i := range sorted {
		sorted[i] = i
	}
	orders := slices.Collect(slices.Chunk(numbers[:n*epochs], n))
	for i, order := range orders {
		if !slices.Equal(slices.Sorted(slices.Values(order)), sorted) || slices.Equal(order, sorted) {
			t.Errorf("epoch %d has the pictures %v", i, order)
		}
		if i > 0 && slices.Equal(order, orders[i-1]) {
			t.Errorf("epoch %d has the order of the one before", i)
		}
	}
	// Of 600 flips with probability 1/2, 300 ± 12.2; of 30 of one picture, 15 ± 2.7.
	total := 0
	for _, k := range sorted {
		total += flips[k]
		if flips[k] < 3 || flips[k] > 27 {
			t.Errorf("picture %d is flipped in %d of %d epochs", k, flips[k], epochs)
		}
	}
	if total < 240 || total > 360 {
		t.Errorf("%d of %d pictures are flipped", total, n*epochs)
	}
}

// Batches do not depend on the workers, on the steps before, nor on what is loaded at the same
// time, with bad files too.
func TestLoaderIsDeterministic(t *testing.T) {
	dir := numbered(t, 20)
	good, _ := batches(t, open(t, dir), config(6), 1, 9)
	for _, bad := range []int{4, 5, 12} {
		write(t, nil, dir, fmt.Sprint(bad%2), fmt.Sprintf("%03d.png", bad))
	}
	s, c := open(t, dir), config(6)
	c.MaxBad = 3
	want, l := batches(t, s, c, 1, 9)
	names := l.Bad()
	if len(names) != 3 {
		t.Fatalf("bad files %v, want 3", names)
	}
	for _, workers := range []int{0, 1, 2, 7} {
		c.Workers = workers
		got, l := batches(t, s, c, 1, 9)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(l.Bad(), names) {
			t.Errorf("%d workers make other batches, bad files %v", workers, l.Bad())
		}
		if got, _ := batches(t, s, c, 5, 9); !reflect.DeepEqual(got, want[4:]) {
			t.Errorf("%d workers resume with other batches", workers)
		}
	}
	var order, used []int
	for k := range want {
		for i := range c.Batch {
			number, _ := red(good[k], c, i)
			order = append(order, number)
			number, _ = red(want[k], c, i)
			used = append(used, number)
		}
	}
	for i, got := range used[:40] {
		next := i
		for slices.Contains([]int{4, 5, 12}, order[next]) {
			next = i/20*20 + (next+1)%20
		}
		if got != order[next] {
			t.Errorf("sample %d is picture %d, want %d, of the order %v", i, got, order[next], order[i/20*20:][:20])
		}
	}
	c.Seed++
	if got, _ := batches(t, s, c, 1, 9); reflect.DeepEqual(got, want) {
		t.Error("another seed makes the same batches")
	}
	for workers := range 4 {
		c.Workers, c.MaxBad = workers+1, 1
		l, err := NewLoader(s, c)
		if err != nil {
			t.Fatal(err)
		}
		step := int64(1)
		for ; err == nil; step++ {
			_, err = l.Batch(t.Context(), step)
		}
		message := fmt.Sprintf("after step %d: %v", step, err)
		if workers == 0 {
			names = l.Bad()
			t.Log(message)
		}
		if _, ok := errors.AsType[*BadFile](err); !ok || !reflect.DeepEqual(l.Bad(), names) ||
			!strings.Contains(message, "2 bad files, 1 are allowed: data: "+names[1].File) {
			t.Errorf("%d workers: %s, bad files %v, want %v", workers+1, message, l.Bad(), names)
		}
	}
}

// Pictures are cropped and resized, and mapped to [-1, 1].
func TestLoaderSize(t *testing.T) {
	dir := t.TempDir()
	write(t, one(t, 4, 8, 255), dir, "a.png")
	s := open(t, dir)
	all, _ := batches(t, s, Config{Height: 2, Width: 2, Batch: 3}, 1, 1)
	b := all[0]
	if b.Labels != nil || len(b.Pixels) != 3*2*2*3 {
		t.Fatalf("labels %v, %d values", b.Labels, len(b.Pixels))
	}
	level := func(v float32) float32 { return v/127.5 - 1 }
	// BOX means of columns 2 and 3, whose 2.5 is rounded to 3, and of rows 0 and 1.
	if got := b.Pixels[:3]; got[0] != 1 || got[1] != level(3) || got[2] != level(1) {
		t.Errorf("first pixel %v, want %v", got, []float32{1, level(3), level(1)})
	}
}

func TestLoaderRejects(t *testing.T) {
	dir := numbered(t, 2)
	s := open(t, dir)
	for want, c := range map[string]Config{
		"height = 0": {Width: 1, Batch: 1}, "width = -1": {Height: 1, Width: -1, Batch: 1},
		"batch = 0": {Height: 1, Width: 1}, "max_bad = -1": {Height: 1, Width: 1, Batch: 1, MaxBad: -1},
		"workers = -1": {Height: 1, Width: 1, Batch: 1, Workers: -1},
		"batch = 1000": {Height: 16384, Width: 16384, Batch: 1000},
	} {
		if _, err := NewLoader(s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	l, err := NewLoader(s, config(50))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Batch(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "step 0") {
		t.Errorf("step 0: %v", err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	stop(reason)
	if _, err := l.Batch(ctx, 1); !errors.Is(err, reason) {
		t.Errorf("after the end: %v, want %v", err, reason)
	}
	c := config(2)
	c.MaxBad = 9
	for i := range 2 {
		if err := os.Truncate(filepath.Join(dir, fmt.Sprint(i), fmt.Sprintf("%03d.png", i)), 9); err != nil {
			t.Fatal(err)
		}
	}
	if l, err = NewLoader(s, c); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Batch(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "none of the 2 files") {
		t.Errorf("bad files alone: %v", err)
	}
}

// A report counts the good pictures of each class and names the bad files in their order.
func TestInspect(t *testing.T) {
	dir := numbered(t, 6)
	write(t, one(t, 9, 2, 0), dir, "2", "a.png")
	write(t, nil, dir, "0", "001.png")
	write(t, nil, dir, "1", "x.png")
	for _, workers := range []int{1, 3} {
		calls := 0
		r, err := open(t, dir).Inspect(t.Context(), workers, func(done, total int) {
			if calls++; done != calls || total != 9 {
				t.Errorf("%d of %d files are done after %d calls", done, total, calls)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Count != 7 || !slices.Equal(r.Classes, []Class{{"0", 3}, {"1", 3}, {"2", 1}}) || calls != 9 ||
			r.Height != [2]int{4, 9} || r.Width != [2]int{2, 4} || len(r.Bad) != 2 ||
			r.Bad[0].File != filepath.Join(dir, "0", "001.png") || !strings.HasPrefix(r.Bad[1].Reason, "is empty") {
			t.Errorf("report %+v", r)
		}
	}
}

// BenchmarkLoader reports the pictures per second of batches of 64x64 pixels: from small PNGs, and
// from photographs in the folder MFM_PICTURES if it is set.
func BenchmarkLoader(b *testing.B) {
	dir := os.Getenv("MFM_PICTURES")
	if dir == "" {
		dir = b.TempDir()
		for i := range 64 {
			write(b, one(b, 64, 64, uint8(i)), dir, fmt.Sprintf("%03d.png", i))
		}
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			l, err := NewLoader(s, Config{Height: 64, Width: 64, Batch: 128, Flip: true, Workers: workers})
			if err != nil {
				b.Fatal(err)
			}
			step := int64(0)
			for b.Loop() {
				step++
				if _, err := l.Batch(b.Context(), step); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(128*step)/b.Elapsed().Seconds(), "pictures/s")
		})
	}
}
