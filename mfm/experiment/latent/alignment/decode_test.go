package alignment_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
)

// autoencoder returns a small autoencoder with random weights in a type.
func autoencoder(t *testing.T, dtype dtypes.DType) latent.Autoencoder {
	t.Helper()
	a := nn.Autoencoder{AutoencoderConfig: nn.AutoencoderConfig{
		Images: 3, Latents: 2, Channels: []int{4, 8}, Blocks: 1, Groups: 2, Scale: 0.5,
	}}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(2); err != nil {
		t.Fatal(err)
	}
	model.MustNewExec(backendtest.New(t), store, func(scope *model.Scope, g *Graph) *Node {
		return a.Decode(scope, Zeros(g, shapes.Make(dtype, 1, 2, 2, 2)))
	}).MustCall1()
	weights := make(checkpoint.Tensors)
	for v := range store.IterVariables() {
		if v.DType() == dtype {
			weights[strings.TrimPrefix(v.Path(), "/")] = v.MustValue()
		}
	}
	return latent.Autoencoder{LatentCodec: a, Images: 3, Weights: weights}
}

// gradient returns a function with the sum of r and its gradient at latents [2, 3, 3, 2].
func gradient[T float32 | float64](t *testing.T, r reward.Reward) func(z []T) (sum float64, slopes []T) {
	t.Helper()
	exec, err := model.NewExec(backendtest.New(t), model.NewStore(), func(_ *model.Scope, z *Node) []*Node {
		v := ReduceAllSum(reward.Values(r, z, reward.Condition{}))
		return []*Node{v, Gradient(v, z)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return func(z []T) (sum float64, slopes []T) {
		t.Helper()
		out, err := exec.Call(tensors.FromFlatDataAndDimensions(z, 2, 3, 3, 2))
		if err != nil {
			t.Fatal(err)
		}
		return float64(tensors.ToScalar[T](out[0])), tensors.MustCopyFlatData[T](out[1])
	}
}

// plain is a reward of decoded latents without checkpoints.
type plain struct {
	of reward.Reward
	a  latent.Autoencoder
}

func (p plain) Build(scope *model.Scope, z *Node, c reward.Condition) *Node {
	reward.SetWeights(scope, p.a.Weights)
	return p.of.Build(scope, ClipScalar(p.a.Decode(scope, z), -1, 1), c)
}

// The gradient of a reward through the decoder is that of finite differences in float64, and in
// float32 the one without checkpoints to 1e-5.
func TestOfLatents(t *testing.T) {
	r := reward.Sum(reward.Symmetry{}.Reward(),
		reward.Brightness{Level: reward.Level{Target: 0.7, Width: 0.1}}.Reward())
	rng := rand.New(rand.NewPCG(1, 0))
	z, direction, single := make([]float64, 36), make([]float64, 36), make([]float32, 36)
	for i := range z {
		z[i], direction[i] = rng.NormFloat64(), rng.NormFloat64()
		single[i] = float32(z[i])
	}
	double := gradient[float64](t, alignment.OfLatents(r, autoencoder(t, dtypes.Float64), "sum"))
	const h = 1e-6
	var slope, finite float64
	_, g := double(z)
	for _, sign := range []float64{1, -1} {
		moved := make([]float64, len(z))
		for i := range z {
			moved[i] = z[i] + sign*h*direction[i]
		}
		v, _ := double(moved)
		finite += sign * v / (2 * h)
	}
	for i := range g {
		slope += g[i] * direction[i]
	}
	if !(math.Abs(slope-finite) <= 1e-5*math.Abs(finite)) || slope == 0 {
		t.Errorf("the slope is %g, by finite differences %g", slope, finite)
	}
	a := autoencoder(t, dtypes.Float32)
	value, checkpointed := gradient[float32](t, alignment.OfLatents(r, a, "sum"))(single)
	want, without := gradient[float32](t, plain{r, a})(single)
	if math.Abs(value-want) > 1e-5*math.Abs(want) {
		t.Errorf("%g with checkpoints, %g without", value, want)
	}
	var difference, norm float64
	for i := range without {
		d := float64(checkpointed[i] - without[i])
		difference, norm = difference+d*d, norm+float64(without[i])*float64(without[i])
	}
	if !(math.Sqrt(difference) <= 1e-5*math.Sqrt(norm)) || norm == 0 {
		t.Errorf("the gradients with and without checkpoints differ by %g of %g", math.Sqrt(difference),
			math.Sqrt(norm))
	}
}
