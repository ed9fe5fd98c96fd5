package speed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// MemoryConfig is a gradient whose memory [Memory] measures.
type MemoryConfig struct {
	// Network is "dit", a training step of the transformer, or "decoder", the gradient of a reward of
	// decoded images by the latents, with random weights.
	Network string `json:"network"`
	// Batch is the number of latents, and Side the number of their rows and columns; 8 for "dit".
	Batch int `json:"batch"`
	Side  int `json:"side"`
	// Checkpoint recomputes activations in the backward pass instead of keeping them.
	Checkpoint bool `json:"checkpoint"`
	// DiT and Autoencoder are the networks, whose own option Checkpoint does not count.
	DiT         nn.DiTConfig         `json:"-"`
	Autoencoder nn.AutoencoderConfig `json:"-"`
}

// DefaultMemory returns a training step of [latent.DefaultConfig], and for the decoder
// [nn.StableDiffusionAutoencoder] with images of 64x64 pixels.
func DefaultMemory() MemoryConfig {
	network := latent.DefaultConfig().Network.Architecture.(nn.DiTConfig)
	return MemoryConfig{Network: "dit", Batch: 64, Side: emojiSide, DiT: network,
		Autoencoder: nn.StableDiffusionAutoencoder()}
}

// MemoryResult is the memory of one call of a compiled graph.
type MemoryResult struct {
	MemoryConfig
	// CallMB is the largest resident memory of the process during a call less that before it, which
	// includes the weights. It is negative if the system does not report them.
	CallMB float64 `json:"call_mb"`
	// PeakRSSMB is the largest resident memory during the call.
	PeakRSSMB float64 `json:"peak_rss_mb"`
}

// Validate returns an error that names the first invalid value.
func (c MemoryConfig) Validate() error {
	switch {
	case c.Network != "dit" && c.Network != "decoder":
		return fmt.Errorf("network %q is unknown: use dit or decoder", c.Network)
	case c.Batch < 2 || c.Batch > 4096:
		return fmt.Errorf("batch = %d: must lie in [2, 4096]", c.Batch)
	case c.Side < 1 || c.Side > 256 || c.Network == "dit" && c.Side != emojiSide:
		return fmt.Errorf("side = %d: must lie in [1, 256], and be %d for dit", c.Side, emojiSide)
	}
	return errors.Join(c.DiT.Validate(), c.Autoencoder.Validate())
}

// Memory measures the memory of a call after the first, which compiles. It needs Linux, which resets
// the largest resident memory on request. Each measurement should have a process of its own, whose
// heap no other has enlarged.
func Memory(ctx context.Context, b compute.Backend, c MemoryConfig) (MemoryResult, error) {
	result := MemoryResult{MemoryConfig: c}
	if err := c.Validate(); err != nil {
		return result, err
	}
	call, err := c.decoding(b)
	if c.Network == "dit" {
		call, err = c.training(b)
	}
	if err != nil {
		return result, err
	}
	if err := call(); err != nil {
		return result, err
	}
	if err := ctx.Err(); err != nil {
		return result, context.Cause(ctx)
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		return result, fmt.Errorf("resetting the largest resident memory: %w", err)
	}
	before := statusMB(presentRSS)
	if err := call(); err != nil {
		return result, err
	}
	result.PeakRSSMB = statusMB(peakRSS)
	result.CallMB = result.PeakRSSMB - before
	return result, nil
}

// training returns a call of a training step of the transformer.
func (c MemoryConfig) training(b compute.Backend) (func() error, error) {
	config := latent.DefaultConfig()
	c.DiT.Checkpoint = c.Checkpoint
	config.Network.Architecture, config.Train.Batch = c.DiT, c.Batch
	p, err := latentProblem(config)
	if err != nil {
		return nil, err
	}
	t, err := mfm.NewTrainer(b, p.m, p.source, p.teacher, p.config)
	return func() error {
		_, err := t.Step()
		return err
	}, err
}

// decoding returns a call of the gradient of the mean square of decoded images.
func (c MemoryConfig) decoding(b compute.Backend) (func() error, error) {
	a := nn.Autoencoder{AutoencoderConfig: c.Autoencoder}
	a.Checkpoint = c.Checkpoint
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(root *model.Scope, z *Node) *Node {
		images := a.Decode(root.Store().Scope(train.WeightsScope), z)
		return Gradient(ReduceAllMean(Square(images)), z)[0]
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the decoder: %w", err)
	}
	z := randomState(rand.New(rand.NewPCG(1, 0)), c.Batch, c.Side, c.Side, a.Latents)
	return func() error {
		_, err := mfm.Flat(exec.Call1(z))
		return err
	}, nil
}

// randomState returns standard normal numbers.
func randomState(rng *rand.Rand, dims ...int) *tensors.Tensor {
	flat := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
	for i := range flat {
		flat[i] = float32(rng.NormFloat64())
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}
