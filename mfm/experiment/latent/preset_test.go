package latent_test

import (
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// The configurations for ImageNet have the numbers of table 5 of the paper and of conf/ in the
// authors' repository.
func TestImageNetConfig(t *testing.T) {
	for size, want := range map[string]struct {
		batch, width, depth, encoder, heads int
		reversed                            bool
	}{
		"B/2":  {batch: 512, width: 768, depth: 12, encoder: 8, heads: 12},
		"XL/2": {batch: 360, width: 1152, depth: 28, encoder: 20, heads: 16, reversed: true},
	} {
		c := latent.ImageNetConfig(size)
		n := c.Network.Architecture.(nn.DiTConfig)
		if n.Width != want.width || n.Depth != want.depth || n.Encoder != want.encoder || n.Heads != want.heads ||
			n.Patch != 2 || n.Classes != 1000 || n.QKNorm || n.BlindAtZero || n.Reversed != want.reversed {
			t.Errorf("%s: network %+v", size, n)
		}
		o, loss := c.Train.Optimizer, c.Train.Loss
		if c.Train.Batch != want.batch || c.Train.Steps != 100_000 || len(c.Train.EMA) != 1 || c.Train.EMA[0] != 0.9999 ||
			o.Method != train.RAdam || o.Rate != 1e-4 || o.Warmup != 2000 || o.Cosine || o.WeightDecay != 0 || c.Flip {
			t.Errorf("%s: training %+v, flip %t", size, c.Train, c.Flip)
		}
		// The authors' loss is a sum over two losses and 4,096 elements.
		if o.Clip*2*4096 != 1.5 || o.Epsilon*2*4096 != 1e-8 {
			t.Errorf("%s: clip %g, epsilon %g", size, o.Clip, o.Epsilon)
		}
		times := mfm.TimeSampling{ContextPower: 2, ContextZero: 0.1, StartPower: 1}
		if loss.Consistency != mfm.MeanFlow || !loss.Sum || loss.DiagonalShare != 0.5 || loss.AdaptivePower != 1 ||
			loss.AdaptiveFloor != 0.01 || loss.DiagonalSteps != 0 || loss.GapWarmup != 0 || loss.Times != times {
			t.Errorf("%s: loss %+v", size, loss)
		}
		// ω/(1-κ) is the scale of guidance, model_guidance_class_ws.
		if g := loss.Guidance; g.Dropout != 0.2 || g.Mix != 0.6 || g.Scale/(1-g.Mix) != 2.5 || len(g.Scales) > 0 {
			t.Errorf("%s: guidance %+v", size, g)
		}
	}
}
