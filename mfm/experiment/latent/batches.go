package latent

import (
	"cmp"
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
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
	batches, hook := train.FromHost(batches(e.Latents, e.Config, 0), 2)
	return func(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (latents, class *Node) {
		moments, class := batches(scope, g, rng, n)
		moment := func(k int) *Node { return Squeeze(Slice(moments, AxisRange(), AxisElem(k)), 1) }
		mean := moment(0)
		return Add(mean, Mul(moment(1), rng.Normal(mean.Shape()))), class
	}, hook
}

// batches returns a loader of batches from the cache: the moments of [latents.Set.Batch], and the
// labels if the network has classes. Memory is that of one batch and of the epoch's order.
func batches(l *latents.Set, c Config, workers int) train.Loader {
	order, batch := stream.NewOrder(l.N, uint64(c.Train.Seed)), c.Train.Batch
	return func(ctx context.Context, step int64) (train.HostBatch, error) {
		indices, flip := order.Batch(step, batch)
		if !c.Flip {
			clear(flip)
		}
		values, labels, err := l.Batch(ctx, indices, flip, workers)
		if err != nil {
			return train.HostBatch{}, fmt.Errorf("latents: %w", err)
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
