package speed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// PlanConfig is a step of MFM-G with one posterior sample that [Plan] plans, in float32 with
// checkpoints: the drift, and the gradient of a reward of the decoded one-step sample by its
// context.
type PlanConfig struct {
	// Scale is "paper": the transformer XL/2, the decoder of Stable Diffusion to 256x256 pixels and
	// CLIP ViT-H/14, the network of HPSv2 and PickScore; or "small": the networks of the shipped map
	// of emoji with EfficientNet-Lite0 at 128 pixels.
	Scale string `json:"scale"`
	Batch int    `json:"batch"` // number of pictures

	// The networks of Scale, see withNetworks.
	dit     nn.DiTConfig
	decoder nn.AutoencoderConfig
	tower   clip.Config // of "paper"
	side    int         // of latents
}

// PlanResult is what a step needs.
type PlanResult struct {
	PlanConfig
	// Parameters are the numbers of parameters of the map, the decoder and the reward's network.
	Parameters [3]int `json:"parameters"`
	// WeightsMB is their memory in float32, and TemporaryMB that of a call beyond inputs and outputs,
	// as XLA has planned it for the device that the step was compiled for.
	WeightsMB   float64 `json:"weights_mb"`
	TemporaryMB float64 `json:"temporary_mb"`
	// GFLOP are the floating-point operations of matrix products and convolutions for one picture, in
	// billions, those of the checkpoints included.
	GFLOP float64 `json:"gflop"`

	// Of "small", which runs: the time of a step, the rate of matrix products in the same process, and
	// the resident memory that the first call adds to that after the compilation, 0 if it stays below
	// the compiler's own.
	Seconds      float64 `json:"seconds,omitempty"`
	MatrixGFLOPS float64 `json:"matrix_gflops,omitempty"`
	AddedMB      float64 `json:"added_mb,omitempty"`
}

// Validate returns an error that names the first invalid value.
func (c PlanConfig) Validate() error {
	switch {
	case c.Scale != "paper" && c.Scale != "small":
		return fmt.Errorf("scale %q is unknown: use paper or small", c.Scale)
	case c.Batch < 1 || c.Batch > 4096:
		return fmt.Errorf("batch = %d: must lie in [1, 4096]", c.Batch)
	}
	return nil
}

// withNetworks returns c with the networks of its scale.
func (c PlanConfig) withNetworks() PlanConfig {
	if c.Scale == "paper" {
		c.dit = latent.ImageNetConfig("XL/2").Network.Architecture.(nn.DiTConfig)
		c.dit.Guidance = []float64{2.5} // that of the released map
		c.decoder, c.side, c.tower = nn.StableDiffusionAutoencoder(), 32, clip.ViTH14()
		c.tower.Checkpoint = true
		return c
	}
	c.dit = latent.DefaultConfig().Network.Architecture.(nn.DiTConfig)
	c.decoder, c.side = latent.DefaultAutoencoder().Network, emojiSide
	c.decoder.Checkpoint = true
	return c
}

// Plan compiles a step and returns what it needs. A step of the scale "paper" does not run, so that
// it needs its memory on no device; its weights take 5.5 GB of the host. That of "small" runs for
// about the given time, measured by now, which shows how good the plan is. Plan returns an error on
// a backend other than XLA.
func Plan(ctx context.Context, b compute.Backend, c PlanConfig, duration time.Duration, now func() time.Time) (PlanResult, error) {
	r := PlanResult{PlanConfig: c}
	if err := c.Validate(); err != nil {
		return r, err
	}
	c = c.withNetworks()
	g, store, outputs, err := c.build(b)
	if err != nil {
		return r, err
	}
	defer g.Finalize()
	defer store.Finalize()
	for i, name := range planScopes {
		r.Parameters[i] = store.Scope("/" + name).NumParameters()
		r.WeightsMB += float64(r.Parameters[i]) * 4 / (1 << 20)
	}
	r.GFLOP = operations(outputs...) / 1e9 / float64(c.Batch)
	if err := orEnded(ctx, g.Compile(outputs...)); err != nil {
		return r, fmt.Errorf("compiling the step: %w", err)
	}
	if r.TemporaryMB, err = temporaryMB(g); err != nil || c.Scale == "paper" {
		return r, err
	}
	inputs, err := c.inputs(g, store)
	if err != nil {
		return r, err
	}
	call := func() error { return orEnded(ctx, TryCatch[error](func() { finalizeAll(g.Run(inputs...)) })) }
	before, compiled := residentMB("VmRSS:"), peakRSS()
	if err := call(); err != nil {
		return r, err
	}
	if after := peakRSS(); after > compiled {
		r.AddedMB = after - before
	}
	if r.Seconds, err = secondsOf(call, duration, now); err != nil {
		return r, err
	}
	r.MatrixGFLOPS, err = matrixRate(b, duration, now)
	return r, err
}

// orEnded returns err, or else the reason why the context has ended.
func orEnded(ctx context.Context, err error) error {
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

func finalizeAll(outputs []*tensors.Tensor) {
	for _, t := range outputs {
		t.MustFinalizeAll()
	}
}

// planScopes are the scopes of the networks, in the order of [PlanResult].Parameters.
var planScopes = [3]string{"map", "decoder", "reward"}

// build returns the graph of a step, with its outputs: the steered drift and the rewards.
func (c PlanConfig) build(b compute.Backend) (g *Graph, store *model.Store, outputs []*Node, err error) {
	store, g = model.NewStore(), NewGraph(b, "step")
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, nil, nil, err
	}
	model.SetStore(g, store)
	decoder := nn.Autoencoder{AutoencoderConfig: c.decoder}
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: c.dit.Backbone(), Parametrization: mfm.Plain{}}
	err = TryCatch[error](func() {
		root := store.RootScope()
		scope := func(i int) *model.Scope { return root.In("%s", planScopes[i]) }
		weights := scope(0)
		state := shapes.Make(dtypes.Float32, c.Batch, c.side, c.side, c.decoder.Latents)
		x, eps := Parameter(g, "x", state), Parameter(g, "eps", state)
		class := Parameter(g, "class", shapes.Make(dtypes.Int32, c.Batch))
		t := MulScalar(OnesLike(ReduceMean(x, 1, 2, 3)), 0.5)
		drift := m.Drift(weights, t, x, class)
		images := ClipScalar(decoder.Decode(scope(1), m.Posterior(weights, eps, t, x, class)), -1, 1)
		reward := c.reward(scope(2), images)
		outputs = []*Node{Add(drift, Gradient(ReduceAllSum(reward), x)[0]), reward}
	})
	if err != nil {
		err = fmt.Errorf("building the step: %w", err)
	}
	return g, store, outputs, err
}

// reward returns the rewards [batch] of images: their cosine with the embedding of a prompt, or the
// log-probability of a class.
func (c PlanConfig) reward(scope *model.Scope, images *Node) *Node {
	if c.Scale == "paper" {
		prompt := Parameter(images.Graph(), "prompt", shapes.Make(dtypes.Float32, 1, c.tower.Embedding))
		images = layer.Resize(images, c.tower.Image.Size, c.tower.Image.Size)
		return Reshape(clip.Cosines(c.tower.EmbedImages(scope, images), prompt), -1)
	}
	classifier := nn.EfficientNet{EfficientNetConfig: nn.EfficientNetLite(0), Checkpoint: true}
	_, logits := classifier.Evaluate(scope, layer.Resize(images, 128, 128))
	return Reshape(SliceAxis(LogSoftmax(logits, 1), 1, AxisElem(0)), -1)
}

// inputs returns random values of the parameters of the graph of a small step, in their order.
func (c PlanConfig) inputs(g *Graph, store *model.Store) ([]any, error) {
	rng := rand.New(rand.NewPCG(1, 0))
	if err := randomizeZeros(rng, store); err != nil {
		return nil, err
	}
	values := map[*Node]any{
		g.GetParameterByName("class"): tensors.FromShape(shapes.Make(dtypes.Int32, c.Batch)),
	}
	for _, name := range []string{"x", "eps"} {
		values[g.GetParameterByName(name)] = randomState(rng, c.Batch, c.side, c.side, c.decoder.Latents)
	}
	for v := range store.IterVariables() {
		if !v.InUseByGraph(g) {
			continue
		}
		value, err := v.Value()
		if err != nil {
			return nil, err
		}
		values[v.NodeValue(g)] = value
	}
	inputs := make([]any, g.NumParameters())
	for i := range inputs {
		inputs[i] = values[g.GetParameterByHandle(ParameterHandle(i))]
	}
	return inputs, nil
}
