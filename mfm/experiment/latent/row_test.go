package latent

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// writeCache writes the cache of n latents [2, 2, 1]. The moments of row i are i and std, those of
// its mirror image i + 1/2 and std/2; its label is i modulo 2.
func writeCache(t *testing.T, n int, std float32) *Latents {
	t.Helper()
	dir := t.TempDir()
	x := index{Origin: "test", Shape: []int{2, 2, 1}, Count: n, Bad: []leftOut{}}
	var raw []byte
	for i := range n {
		var m []float32
		for k := range 2 {
			m = append(m, slices.Repeat([]float32{float32(i) + 0.5*float32(k)}, 4)...)
			m = append(m, slices.Repeat([]float32{std / float32(k+1)}, 4)...)
		}
		var err error
		if raw, err = appendRow(raw, m, int32(i%2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, rowsFile), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, rowsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, counts, err := x.rows(f).statistics(x.Shape, true)
	if err == nil {
		err = s.write(filepath.Join(dir, momentsFile))
	}
	if err != nil {
		t.Fatal(err)
	}
	x.ClassCounts = counts
	if err := run.WriteJSON(filepath.Join(dir, indexFile), x); err != nil {
		t.Fatal(err)
	}
	l, err := openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// streamedConfig is that of a small map of 2x2 latents with two classes that streams them.
func streamedConfig(batch int) Config {
	c := DefaultConfig()
	network := nn.DefaultDiT()
	network.Width, network.Depth, network.Encoder, network.Heads, network.Classes = 16, 2, 1, 2, 2
	c.Network, c.ClassNames, c.Memory = nn.NewNetwork(network), nil, 1
	c.Train.Loss = mfm.Recipe(mfm.MeanFlow, mfm.Self, 4)
	c.Train.Loss.Guidance.Classes = 2
	c.Train.Batch, c.Train.Steps = batch, 4
	return c
}

// An epoch of batches has each row once, with its label and the moments of the image or of its
// mirror image as the coin of the order says. Batches do not depend on the workers or on those
// before.
func TestBatches(t *testing.T) {
	const n, batch = 12, 4
	l, c := writeCache(t, n, 0.25), streamedConfig(batch)
	order := stream.NewOrder(n, uint64(c.Train.Seed))
	var first [][]float32
	for _, workers := range []int{1, 3, 64} {
		load := l.batches(c, workers)
		for step := int64(1); step <= 6; step++ {
			b, err := load(t.Context(), step)
			if err != nil {
				t.Fatal(err)
			}
			x, labels := tensors.MustCopyFlatData[float32](b.Samples), tensors.MustCopyFlatData[int32](b.Classes)
			indices, flip := order.Batch(step, batch)
			for i, index := range indices {
				mean, std := float32(index), float32(0.25)
				if flip[i] {
					mean, std = mean+0.5, std/2
				}
				if row := x[8*i : 8*i+8]; row[0] != mean || row[3] != mean || row[4] != std || row[7] != std || labels[i] != int32(index%2) {
					t.Errorf("step %d: row %d, flipped %t: %v with label %d", step, index, flip[i], row, labels[i])
				}
			}
			if workers == 1 {
				first = append(first, x)
			} else if !slices.Equal(x, first[step-1]) {
				t.Errorf("%d workers: step %d differs", workers, step)
			}
		}
	}
	for epoch := range 2 {
		seen, flips := make(map[int]bool), 0
		for _, x := range first[3*epoch : 3*epoch+3] {
			for i := range batch {
				seen[int(x[8*i])] = true
				if x[8*i] != float32(math.Floor(float64(x[8*i]))) {
					flips++
				}
			}
		}
		if len(seen) != n || flips == 0 || flips == n {
			t.Errorf("epoch %d has %d of %d rows, %d flipped", epoch, len(seen), n, flips)
		}
	}
	c.Flip = false
	b, err := l.batches(c, 0)(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tensors.MustCopyFlatData[float32](b.Samples)[:4] {
		if v != float32(math.Floor(float64(v))) {
			t.Errorf("without flips a moment is %g", v)
		}
	}
}

// A batch reads its own rows alone, whatever the size of the cache; a damaged one of them is an
// error that names file and row, and so is a file that is too short.
func TestDamagedRows(t *testing.T) {
	const n, batch = 40, 4
	l, c := writeCache(t, n, 0.25), streamedConfig(batch)
	indices, _ := stream.NewOrder(n, uint64(c.Train.Seed)).Batch(1, batch)
	path, size := l.file.Name(), int(rowBytes(l.Size()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if !slices.Contains(indices, i) {
			raw[i*size+i%size] ^= 1
		}
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	load := l.batches(c, 2)
	if _, err := load(t.Context(), 1); err != nil {
		t.Errorf("a batch reads rows of others: %v", err)
	}
	for name, err := range map[string]error{"a batch": func() error { _, err := load(t.Context(), 2); return err }(), "all": l.Load()} {
		if err == nil || !strings.Contains(err.Error(), path+": row ") || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: damaged rows give %v", name, err)
		}
	}
	if err := os.Truncate(path, int64(n*size-1)); err != nil {
		t.Fatal(err)
	}
	if _, err := openCache(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is too short gives %v", err)
	}
}

// An opened cache keeps its rows when others replace them, and notices that its statistics are gone.
func TestReplacedCache(t *testing.T) {
	l, c := writeCache(t, 8, 0.25), streamedConfig(4)
	dir := filepath.Dir(l.file.Name())
	replaceCache(t, dir, "other", 8, 100)
	b, err := l.batches(c, 1)(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if x := tensors.MustCopyFlatData[float32](b.Samples); slices.Max(x) > 8 {
		t.Errorf("a batch has rows of another cache: %v", x)
	}
	if _, err := l.statistics(true, true); err == nil || !strings.Contains(err.Error(), "replaced") {
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

// replaceCache replaces a cache, as [Codec.write] does, by n latents [2, 2, 1] whose moments are all v.
func replaceCache(t *testing.T, dir, origin string, n int, v float32) {
	j := job{index: index{Origin: origin, Shape: []int{2, 2, 1}, Bad: []leftOut{}}}
	x, err := j.begin(dir)
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

// The statistics of streamed latents are those of the latents in memory. Mirror images count if they
// are data: the means of the rows are 4 and 4 1/2, their variance is 20/3, and the noise has the
// variances 1/16 and 1/64.
func TestStatisticsOfRows(t *testing.T) {
	l := writeCache(t, 9, 0.25)
	for _, flip := range []bool{true, false} {
		mean, noise, variance := 4., 1./16, 20./3
		if flip {
			mean, noise, variance = 4.25, 5./128, variance+1./16
		}
		for _, streamed := range []bool{true, false} {
			s, err := l.statistics(streamed, flip)
			if err != nil {
				t.Fatal(err)
			}
			near := func(values []float32, want float64) bool {
				return !slices.ContainsFunc(values, func(v float32) bool { return math.Abs(float64(v)-want) > 1e-5 })
			}
			if !near(s.mean, mean) || !near(s.noise, noise) || !near([]float32{s.variance}, variance+noise) ||
				len(s.mean) != 4 || len(s.noise) != 1 {
				t.Errorf("flip %t, streamed %t: statistics %+v, want %g, %g and %g", flip, streamed, s, mean, noise, variance+noise)
			}
		}
	}
}

// Streamed latents are from the Gaussian of each image: their mean is that of the rows, and their
// variance about it the square of the standard deviation.
func TestStreamedSource(t *testing.T) {
	const n, batch = 8, 512
	l, c := writeCache(t, n, 3), streamedConfig(batch)
	c.Flip = false
	e, err := New(c, l)
	if err != nil {
		t.Fatal(err)
	}
	source, hook, err := e.Source()
	if err != nil {
		t.Fatal(err)
	}
	objective := func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, class := source(data, step.Graph(), rng, batch)
		w := weights.VariableWithValue("w", []float32{1}).NodeValue(step.Graph())
		return train.Terms{Total: ReduceAllMean(Square(w)), Metrics: []train.Metric{
			{Name: "mean", Value: ReduceAllMean(x)},
			{Name: "class", Value: ReduceAllMean(ConvertDType(class, x.DType()))},
			{Name: "square", Value: ReduceAllMean(Square(x))},
		}}
	}
	trainer, err := train.New(backendtest.New(t), objective, c.Train.Config, c)
	if err != nil {
		t.Fatal(err)
	}
	trainer.AddHook(hook)
	trainer.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		// Each batch has each row 64 times: mean 3.5, variance 5.25 + 9. Of 2,048 values the mean
		// has a standard error of 3/√2048 = 0.07, the square one of about 0.7.
		if v := m.Values; math.Abs(v["mean"]-3.5) > 0.3 || math.Abs(v["square"]-3.5*3.5-5.25-9) > 3 || v["class"] != 0.5 {
			t.Errorf("step %d has %v", m.Step, v)
		}
		return nil
	}})
	if err := trainer.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Teacher() != nil {
		t.Error("streamed latents have a teacher")
	}
	c.Train.Loss.Distillation = mfm.Teacher
	if _, err := New(c, l); err == nil || !strings.Contains(err.Error(), "use self") {
		t.Errorf("streamed latents with a teacher: %v", err)
	}
	c.Memory = 0
	if e, err := New(c, l); err != nil || e.Teacher() == nil || len(l.Mean) != 8*n {
		t.Errorf("latents that fit the memory are not loaded: %v", err)
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
