package latent

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// writeCache writes the cache of n rows of [experimenttest.LatentRows].
func writeCache(t *testing.T, dir string, n int, std float32) *latents.Set {
	t.Helper()
	l, err := latents.Job{
		Codec: "test", Shape: []int{2, 2, 1}, Images: n, Labeled: true,
		Encode: func(_ context.Context, first int, emit func(latents.Chunk) error) error {
			c := latents.Chunk{Size: 4, End: n}
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
	l, c := writeCache(t, t.TempDir(), n, 0.25), streamedConfig(batch)
	order := stream.NewOrder(n, uint64(c.Train.Seed))
	var first [][]float32
	for _, workers := range []int{1, 3, 64} {
		load := batches(l, c, workers)
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
	b, err := batches(l, c, 0)(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tensors.MustCopyFlatData[float32](b.Samples)[:4] {
		if v != float32(math.Floor(float64(v))) {
			t.Errorf("without flips a moment is %g", v)
		}
	}
}

// Streamed latents are from the Gaussian of each image: their mean is that of the rows, and their
// variance about it the square of the standard deviation.
func TestStreamedSource(t *testing.T) {
	const n, batch = 8, 512
	l, c := writeCache(t, t.TempDir(), n, 3), streamedConfig(batch)
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
