package alignment

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Decoder returns the transform from latents [n, height, width, channels] to the pictures that an
// autoencoder decodes, [n, f height, f width, colors], clipped to [-1, 1] as [latent.Codec.Decode]
// clips them. The backward pass recomputes the activations of each stage of an [nn.Autoencoder].
// For MFM-G with four of the emoji and EfficientNet-Lite0, recomputed too, XLA plans 54 MB instead
// of 140 (mfm bench --case memory --network reward --batch 4, which also compares the gradients).
func Decoder(a latent.Autoencoder) reward.Transform {
	codec := a.LatentCodec
	if network, ok := codec.(nn.Autoencoder); ok {
		network.Checkpoint = true
		codec = network
	}
	return func(scope *model.Scope, z *Node) *Node {
		reward.SetWeights(scope, a.Weights)
		return ClipScalar(codec.Decode(scope, z), -1, 1)
	}
}

// decoded is a reward of pictures as one of latents. Rewards with different names have their
// weights in different scopes of a store, and share those of the decoder.
type decoded struct {
	of      reward.Reward
	decoder reward.Transform
	name    string
}

// OfLatents returns a reward of pictures as a reward of the latents that the decoder of an
// autoencoder decodes to them, differentiable through it; see [Decoder]. Rewards that share a store
// need different names of letters, digits and underscores.
func OfLatents(r reward.Reward, a latent.Autoencoder, name string) reward.Reward {
	return decoded{r, Decoder(a), name}
}

// Build implements [reward.Reward].
func (d decoded) Build(scope *model.Scope, z *Node, c reward.Condition) *Node {
	if scope == nil {
		panic(fmt.Errorf("a reward of decoded latents needs a graph with a store: use model.NewExec"))
	}
	return d.of.Build(scope.In("of_%s", d.name), d.decoder(scope.In("decoder"), z), c)
}
