package latent

import (
	"fmt"
	"strings"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Presets returns the names of the configurations of [Preset].
func Presets() []string { return []string{"emoji", "b2", "xl2"} }

// Preset returns a configuration by its name: "emoji" is [DefaultConfig], "b2" and "xl2" are
// [ImageNetConfig] of the sizes B/2 and XL/2. Another name is an error.
func Preset(name string) (Config, error) {
	switch name {
	case "emoji":
		return DefaultConfig(), nil
	case "b2":
		return ImageNetConfig("B/2"), nil
	case "xl2":
		return ImageNetConfig("XL/2"), nil
	}
	return Config{}, fmt.Errorf("preset %q is unknown: use %s", name, strings.Join(Presets(), ", "))
}

// DefaultConfig is a small transformer for the latents of emoji with their nine categories, trained
// by the semigroup loss with the drift of the data's closed form as the teacher.
func DefaultConfig() Config {
	network := nn.DefaultDiT()
	network.Width, network.Heads, network.Classes = 128, 4, len(data.EmojiCategories())
	c := Config{
		Interpolant: interpolant.LinearName, Parametrization: mfm.GaussianName, Network: nn.NewNetwork(network),
		Flip: true, ClassNames: data.EmojiCategories(), Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Batch, c.Train.Steps = 64, 8000
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup = train.Muon, 3e-3, 200
	c.Train.EMA = []float64{0.999}
	c.Train.Loss = mfm.Recipe(mfm.Semigroup, mfm.Teacher, c.Train.Steps)
	c.Train.Loss.Times = mfm.TimeSampling{ContextPower: 2, ContextZero: 0.2, StartPower: 1, WholeGap: 0.2}
	c.Train.Loss.Guidance = mfm.Guidance{Classes: network.Classes, Dropout: 0.1}
	return c
}

// WithClasses returns c for images of the classes with the given names, or of images without
// classes for none: the network, its guidance and ClassNames. It returns an error for another
// network than a transformer.
func (c Config) WithClasses(names []string) (Config, error) {
	network, ok := c.Network.Architecture.(nn.DiTConfig)
	if !ok {
		return c, fmt.Errorf("network %s: set its classes to %d", c.Network.Kind(), len(names))
	}
	network.Classes, c.ClassNames = len(names), names
	c.Network.Architecture = network
	c.Train.Loss.Guidance.Classes = len(names)
	if len(names) == 0 {
		c.Train.Loss.Guidance = mfm.Guidance{}
	}
	return c, nil
}

// ImageNetConfig is the map of the latents [32, 32, 4] of the 1,000 classes of ImageNet at 256x256
// pixels, with the transformer of a size of [nn.DiTSizes], such as "XL/2": the configuration that
// the paper trains from data (arXiv 2601.14430v2, table 5 and appendix F.3) with what the authors'
// repository github.com/adh1s/mfm adds (conf/config_train.yaml, conf/model/sit_xl_2.yaml). The
// autoencoder is sd-vae-ft-mse.
//
//   - Table 5: 100,000 steps of batch 360 for XL and 512 for the others, RAdam with a constant rate
//     of 1e-4 after 2,000 steps of warm-up, a moving average of decay 0.9999, a class dropout of
//     0.2, model guidance with ω = 0.6 at all times, which is Mix (2.5 is the scale of guidance),
//     and no norm of queries and keys.
//   - Table 4: mean flow with the adaptive power 1 and the floor 0.01 for both losses.
//   - Repository: both losses on each row; contexts at U², a tenth of them at 0, other times
//     uniform, without a warm-up of their gaps; no mirror images; clipping at the norm 1.5 and
//     bfloat16 with float32 weights. The gate of the context need not close at t = 0
//     (preserve_t_cond_0: false). The time of XL is that of the flow map of Decoupled MeanFlow from
//     which it starts (is_zero_data: true), that of the others the time of SiT: a map that starts
//     from another file may need another network.reversed. Their earlier repository,
//     github.com/PeterPotaptchik/mfm-v2, has a warm-up of 1,000 steps, a decay of 0.9995 and
//     contexts at U^1.25 instead.
//
// A loss of the authors is a sum over the 4,096 elements, and the total is the sum of both losses.
// Ours is the mean over elements and losses, so that Clip and Epsilon are theirs, 1.5 and 1e-8,
// over 8,192.
//
// It differs from the authors' configuration where this package has no such option: their warm-up
// begins at a tenth of the rate, ours at zero; their moving average begins at step 100; and their
// network has a second embedding of whether a row is guided (model_guidance_class_ws: [2.5]), which
// is whether it has a class. Their repository distills XL/2 from DMF-XL/2+: distillation_type
// esd_teacher with adaptive powers of 0.5 for the diagonal and 1 for the other loss, of which
// [mfm.Loss] has one for both. With its file as the teacher ([OpenTeacher]) and as the initial
// weights, that is the loss [mfm.Eulerian] of [mfm.Teacher] with Mix 0, since that flow map is
// guided by ω = 0.6. B/2 starts from SiT-B/2. Checkpoint, which changes no number, is ours.
//
// It panics for an unknown size.
func ImageNetConfig(size string) Config {
	network, known := nn.DiTSizes()[size]
	if !known {
		panic(fmt.Errorf("latent: size %q of a transformer is unknown", size))
	}
	network.Classes, network.Checkpoint, network.BlindAtZero = 1000, true, false
	c := Config{
		Interpolant: interpolant.LinearName, Parametrization: mfm.PlainName, Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Batch, c.Train.Steps = 512, 100_000
	if strings.HasPrefix(size, "XL/") {
		c.Train.Batch, network.Reversed = 360, true
	}
	c.Network = nn.Network{Architecture: network, Compute: nn.BFloat16}
	const summed = 2 * 32 * 32 * 4 // losses and elements
	c.Train.Optimizer = train.Optimizer{
		Method: train.RAdam, Rate: 1e-4, Warmup: 2000, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8 / summed,
		Clip: 1.5 / summed,
	}
	c.Train.EMA = []float64{0.9999}
	c.Train.Loss = mfm.Loss{
		Consistency: mfm.MeanFlow, Distillation: mfm.Self, DiagonalShare: 0.5, Sum: true,
		AdaptivePower: 1, AdaptiveFloor: 0.01,
		Times:    mfm.TimeSampling{ContextPower: 2, ContextZero: 0.1, StartPower: 1},
		Guidance: mfm.Guidance{Classes: network.Classes, Dropout: 0.2, Scale: 1, Mix: 0.6},
	}
	return c
}
