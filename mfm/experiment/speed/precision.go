package speed

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// PrecisionConfig is a transformer that [Precision] evaluates and trains in bfloat16 and float32.
type PrecisionConfig struct {
	Network nn.DiTConfig `json:"network"`
	Batch   int          `json:"batch"`
	Steps   int64        `json:"steps"` // of training
}

// DefaultPrecision returns 200 steps of batch 16 of the transformer of [latent.DefaultConfig].
func DefaultPrecision() PrecisionConfig {
	network := latent.DefaultConfig().Network.Architecture.(nn.DiTConfig)
	return PrecisionConfig{Network: network, Batch: 16, Steps: 200}
}

// Validate returns an error that names the first invalid value.
func (c PrecisionConfig) Validate() error {
	if err := c.Network.Validate(); err != nil {
		return err
	}
	return c.config("").Validate()
}

// config is the configuration of the training.
func (c PrecisionConfig) config(compute nn.ComputeType) latent.Config {
	config := latent.DefaultConfig()
	config.Network = nn.Network{Architecture: c.Network, Compute: compute}
	config.Train.Batch, config.Train.Steps, config.Train.Optimizer.Warmup = c.Batch, c.Steps, int(c.Steps/10)
	return config
}

// PrecisionResult is the error of a transformer that computes in bfloat16, with weights of float32,
// against one that computes in float32.
type PrecisionResult struct {
	PrecisionConfig
	// Forward is the root mean square of the error of the network's output over that of the output,
	// at random weights.
	Forward float64 `json:"forward"`
	// Curve is the mean over the training steps of |l - l'|/l', with l' the loss in float32 at the
	// same step, data and noise.
	Curve float64 `json:"curve"`
	// Float32 and BFloat16 are the mean losses of the last quarter of the steps.
	Float32  float64 `json:"float32"`
	BFloat16 float64 `json:"bfloat16"`
}

// Precision measures the errors of computing in bfloat16. The backend must have that type for all
// operations, as XLA has.
func Precision(ctx context.Context, b compute.Backend, c PrecisionConfig) (PrecisionResult, error) {
	result := PrecisionResult{PrecisionConfig: c}
	if err := c.Validate(); err != nil {
		return result, err
	}
	var err error
	if result.Forward, err = c.forward(b); err != nil {
		return result, err
	}
	exact, err := c.losses(ctx, b, nn.Float32)
	if err != nil {
		return result, err
	}
	losses, err := c.losses(ctx, b, nn.BFloat16)
	if err != nil {
		return result, err
	}
	for i, l := range losses {
		result.Curve += math.Abs(l-exact[i]) / exact[i] / float64(len(losses))
	}
	last := len(losses) * 3 / 4
	result.Float32, result.BFloat16 = stat.Mean(exact[last:], nil), stat.Mean(losses[last:], nil)
	return result, nil
}

// losses returns the losses of a training that computes in a type.
func (c PrecisionConfig) losses(ctx context.Context, b compute.Backend, in nn.ComputeType) ([]float64, error) {
	p, err := latentProblem(c.config(in))
	if err != nil {
		return nil, err
	}
	t, err := mfm.NewTrainer(b, p.m, p.source, p.teacher, p.config)
	if err != nil {
		return nil, err
	}
	var losses []float64
	t.AddHook(train.Hook{Step: func(_ *train.Trainer, m train.Metrics) error {
		losses = append(losses, m.Loss)
		return nil
	}})
	err = t.Run(ctx)
	return losses, err
}

// forward returns the relative error of the network's output on random inputs.
func (c PrecisionConfig) forward(b compute.Backend) (float64, error) {
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return 0, err
	}
	exec, err := model.NewExec(b, store, func(scope *model.Scope, t, xbar, x, class *Node) []*Node {
		in := nn.Inputs{S: MulScalar(t, 0.5), U: OneMinus(MulScalar(t, 0.5)), T: t, Xbar: xbar, X: x, Fused: Sub(xbar, x),
			FusedT: t, Class: class}
		var out []*Node
		for _, backbone := range []nn.Backbone{c.Network.Backbone(), nn.Computing(dtypes.BFloat16, c.Network.Backbone())} {
			out = append(out, backbone(scope.ResetVisited(), in))
		}
		return out
	})
	if err != nil {
		return 0, fmt.Errorf("preparing the network: %w", err)
	}
	defer exec.Finalize()
	rng := rand.New(rand.NewPCG(1, 0))
	times, class := make([]float32, c.Batch), make([]int32, c.Batch)
	for i := range times {
		times[i], class[i] = rng.Float32(), rng.Int32N(int32(c.Network.Classes)+1)
	}
	call := func() (exact, got []float64, err error) {
		out, err := exec.Call(times, randomState(rng, c.Batch, emojiSide, emojiSide, emojiChannels),
			randomState(rng, c.Batch, emojiSide, emojiSide, emojiChannels), class)
		if err != nil {
			return nil, nil, err
		}
		var flat [2][]float64
		for i, y := range out {
			values, err := tensors.CopyFlatData[float32](y)
			if err != nil {
				return nil, nil, err
			}
			flat[i] = mfm.Rows(values, len(values))[0]
		}
		return flat[0], flat[1], nil
	}
	if _, _, err := call(); err != nil { // creates the weights
		return 0, err
	}
	if err := randomizeZeros(rng, store); err != nil {
		return 0, err
	}
	exact, got, err := call()
	if err != nil {
		return 0, err
	}
	return floats.Distance(got, exact, 2) / floats.Norm(exact, 2), nil
}

// randomizeZeros replaces matrices of zeros, with which the gates and the output of a transformer
// start, by random numbers that preserve the variance.
func randomizeZeros(rng *rand.Rand, store *model.Store) error {
	for v := range store.IterVariables() {
		value, err := v.Value()
		if err != nil {
			return err
		}
		d := value.Shape().Dimensions
		if len(d) != 2 || value.DType() != dtypes.Float32 {
			continue
		}
		flat, err := tensors.CopyFlatData[float32](value)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(flat, func(w float32) bool { return w != 0 }) {
			continue
		}
		for i := range flat {
			flat[i] = float32(rng.NormFloat64() / math.Sqrt(float64(d[0])))
		}
		if err := v.SetValue(tensors.FromFlatDataAndDimensions(flat, d...)); err != nil {
			return err
		}
	}
	return nil
}
