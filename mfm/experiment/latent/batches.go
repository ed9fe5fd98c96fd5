package latent

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"sync"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// DefaultMemory is the value of [Config.Memory] that 0 means, 2 GiB.
const DefaultMemory = 2 << 30

// Streamed reports whether the training reads n latents of a shape from their cache in each step:
// if they need more than [Config.Memory]. So it is a function of the configuration and the data.
func (c Config) Streamed(n int, shape []int) bool {
	return 16*int64(n)*int64(shape[0]*shape[1]*shape[2]) > cmp.Or(c.Memory, DefaultMemory)
}

// streamed returns a source of latents from the encoder's Gaussian of the images of a batch, and
// its hook. Batches are read from the cache in the order of [stream.Order], of the training's seed.
func (e *Experiment) streamed() (train.Source, train.Hook) {
	batches, hook := train.FromHost(e.Latents.batches(e.Config, 0), 2)
	return func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (latents, class *Node) {
		moments, class := batches(scope, g, rng, n)
		moment := func(k int) *Node { return Squeeze(Slice(moments, AxisRange(), AxisElem(k)), 1) }
		mean := moment(0)
		return Add(mean, Mul(moment(1), rng.Normal(mean.Shape()))), class
	}, hook
}

// batches returns a loader of batches from the cache: the moments, mean and then standard
// deviation, of an image or its mirror image, [batch, 2, height, width, channels], and the labels
// if the network has classes. It reads as many rows at the same time as there are workers, 0
// meaning two for each CPU. Memory is that of one batch and of the epoch's order.
func (l *Latents) batches(c Config, workers int) train.Loader {
	if workers == 0 {
		workers = 2 * runtime.GOMAXPROCS(0)
	}
	order, r, batch := stream.NewOrder(l.N, uint64(c.Train.Seed)), l.rows(), c.Train.Batch
	return func(ctx context.Context, step int64) (train.HostBatch, error) {
		indices, flip := order.Batch(step, batch)
		size := 2 * r.size // of an image's moments
		values, labels, errs := make([]float32, batch*size), make([]int32, batch), make([]error, batch)
		var wait sync.WaitGroup
		for w := range min(workers, batch) {
			wait.Go(func() {
				row := make([]byte, rowBytes(r.size))
				for i := w; i < batch && ctx.Err() == nil; i += workers {
					if errs[i] = r.read(indices[i], row); errs[i] != nil {
						return
					}
					from := 0
					if c.Flip && flip[i] {
						from = size
					}
					moments(values[i*size:(i+1)*size], row, from)
					labels[i] = labelOf(row)
				}
			})
		}
		wait.Wait()
		if ctx.Err() != nil {
			return train.HostBatch{}, context.Cause(ctx)
		}
		for _, err := range errs {
			if err != nil {
				return train.HostBatch{}, fmt.Errorf("latents: %w", err)
			}
		}
		b := train.HostBatch{
			Samples: tensors.FromFlatDataAndDimensions(values, append([]int{batch, 2}, l.Shape()...)...),
		}
		if c.Network.ClassCount() > 0 {
			b.Classes = tensors.FromFlatDataAndDimensions(labels, batch)
		}
		return b, nil
	}
}
