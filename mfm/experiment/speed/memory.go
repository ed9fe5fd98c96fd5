package speed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/train"
)

// MemoryConfig is a gradient whose memory [Memory] measures.
type MemoryConfig struct {
	// Network is "dit", a training step of the transformer, "decoder", the gradient of a reward of
	// decoded images by the latents, or "reward", the gradient of MFM-G with one posterior sample: of
	// the log-probability of a class by EfficientNet-Lite0, of the decoded one-step sample of the
	// transformer, by its context. Weights are random. The autoencoder of "reward" is that of
	// [latent.DefaultAutoencoder].
	Network string `json:"network"`
	// Batch is the number of latents, and Side the number of their rows and columns; 8 but for
	// "decoder".
	Batch int `json:"batch"`
	Side  int `json:"side"`
	// Checkpoint recomputes activations in the backward pass instead of keeping them; for "reward"
	// those of decoder and classifier.
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
	// TemporaryMB is the memory of a call beyond inputs and outputs, as XLA has planned it: all
	// activations and gradients that exist at a time.
	TemporaryMB float64 `json:"temporary_mb"`
	// PeakRSSMB is the largest resident memory of the process so far, compilation included, 0 if the
	// system does not report it.
	PeakRSSMB float64 `json:"peak_rss_mb"`
	// Difference is |g - h|/|h| for the gradient g of "reward" with checkpoints and h without them, at
	// the same weights; 0, and left out, for others. A kink of ReLU6 across which rounding moves an
	// activation can make it larger than the errors of rounding.
	Difference float64 `json:"difference,omitempty"`
}

// Validate returns an error that names the first invalid value.
func (c MemoryConfig) Validate() error {
	switch {
	case c.Network != "dit" && c.Network != "decoder" && c.Network != "reward":
		return fmt.Errorf("network %q is unknown: use dit, decoder or reward", c.Network)
	case c.Batch < 2 || c.Batch > 4096:
		return fmt.Errorf("batch = %d: must lie in [2, 4096]", c.Batch)
	case c.Side < 1 || c.Side > 256 || c.Network != "decoder" && c.Side != emojiSide:
		return fmt.Errorf("side = %d: must lie in [1, 256], and be %d but for the decoder", c.Side, emojiSide)
	}
	return errors.Join(c.DiT.Validate(), c.Autoencoder.Validate())
}

// Memory measures the memory of a call of the compiled graph. It returns an error on a backend
// other than XLA, which alone reports the memory that it plans.
func Memory(ctx context.Context, b compute.Backend, c MemoryConfig) (MemoryResult, error) {
	result := MemoryResult{MemoryConfig: c}
	if err := c.Validate(); err != nil {
		return result, err
	}
	var g *Graph
	var gradient []float32
	var err error
	switch c.Network {
	case "dit":
		g, err = c.training(b)
	case "decoder":
		g, err = c.decoding(b)
	case "reward":
		g, gradient, err = c.steering(b)
	}
	if err != nil {
		return result, err
	}
	result.TemporaryMB, err = temporaryMB(g)
	result.PeakRSSMB = peakRSS()
	if err != nil || c.Network != "reward" || !c.Checkpoint {
		return result, err
	}
	c.Checkpoint = false
	_, without, err := c.steering(b)
	if err != nil {
		return result, err
	}
	var difference, norm float64
	for i, h := range without {
		d := float64(gradient[i] - h)
		difference, norm = difference+d*d, norm+float64(h)*float64(h)
	}
	result.Difference = math.Sqrt(difference / norm)
	return result, nil
}

// temporaryMB returns the size of the temporary buffers of a compiled graph. It reads PJRT's report
// by reflection, because go-xla does not export it.
func temporaryMB(g *Graph) (float64, error) {
	if name := g.Backend().Name(); name != "xla" {
		return 0, fmt.Errorf("memory of backend %q: only XLA reports it", name)
	}
	loaded := reflect.ValueOf(g.Executable()).Elem().FieldByName("exec").Elem()
	return float64(loaded.FieldByName("OnDeviceMemoryUsageStats").FieldByName("Temporary").Int()) / (1 << 20), nil
}

// training returns the graph of a training step of the transformer, which has run once.
func (c MemoryConfig) training(b compute.Backend) (*Graph, error) {
	config := latent.DefaultConfig()
	c.DiT.Checkpoint = c.Checkpoint
	config.Network.Architecture, config.Train.Batch = c.DiT, c.Batch
	p, err := latentProblem(config)
	if err != nil {
		return nil, err
	}
	source := &counted{source: p.source}
	t, err := mfm.NewTrainer(b, p.m, source.build, p.teacher, p.config)
	if err != nil {
		return nil, err
	}
	_, err = t.Step()
	return source.graph, err
}

// decoding returns the graph of the gradient of the mean square of decoded images, which has run
// once.
func (c MemoryConfig) decoding(b compute.Backend) (g *Graph, err error) {
	a := nn.Autoencoder{AutoencoderConfig: c.Autoencoder}
	a.Checkpoint = c.Checkpoint
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(root *model.Scope, z *Node) *Node {
		g = z.Graph()
		images := a.Decode(root.Store().Scope(train.WeightsScope), z)
		return Gradient(ReduceAllMean(Square(images)), z)[0]
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the decoder: %w", err)
	}
	_, err = exec.Call1(randomState(rand.New(rand.NewPCG(1, 0)), c.Batch, c.Side, c.Side, a.Latents))
	return g, err
}

// steering returns the graph of the gradient of MFM-G, which has run once, and the gradient, flat.
// The same random weights and states belong to all configurations.
func (c MemoryConfig) steering(b compute.Backend) (g *Graph, gradient []float32, err error) {
	decoder := nn.Autoencoder{AutoencoderConfig: latent.DefaultAutoencoder().Network}
	classifier := nn.EfficientNet{EfficientNetConfig: nn.EfficientNetLite(0), Checkpoint: c.Checkpoint}
	decoder.Checkpoint, c.DiT.Checkpoint = c.Checkpoint, false
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: c.DiT.Backbone(), Parametrization: mfm.Plain{}}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, nil, err
	}
	exec, err := model.NewExec(b, store, func(scope *model.Scope, eps, x *Node) *Node {
		g = x.Graph()
		t := MulScalar(OnesLike(ReduceMean(x, 1, 2, 3)), 0.5)
		z := m.Posterior(scope.In("map"), eps, t, x, nil)
		images := layer.Resize(decoder.Decode(scope.In("decoder"), z), 128, 128)
		_, logits := classifier.Evaluate(scope.In("classifier"), images)
		return Gradient(ReduceAllSum(SliceAxis(LogSoftmax(logits, 1), 1, AxisElem(0))), x)[0]
	})
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the gradient: %w", err)
	}
	rng := rand.New(rand.NewPCG(1, 0))
	eps := randomState(rng, c.Batch, c.Side, c.Side, decoder.Latents)
	x := randomState(rng, c.Batch, c.Side, c.Side, decoder.Latents)
	if _, err := exec.Call1(eps, x); err != nil { // which draws the weights
		return nil, nil, err
	}
	// The output of a new transformer is zero, and so is the gradient by its context.
	if err := randomizeZeros(rng, store); err != nil {
		return nil, nil, err
	}
	out, err := exec.Call1(eps, x)
	if err != nil {
		return nil, nil, err
	}
	gradient, err = tensors.CopyFlatData[float32](out)
	return g, gradient, err
}

// randomState returns standard normal numbers.
func randomState(rng *rand.Rand, dims ...int) *tensors.Tensor {
	flat := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
	for i := range flat {
		flat[i] = float32(rng.NormFloat64())
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}
