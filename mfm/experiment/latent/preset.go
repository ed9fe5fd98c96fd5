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
// classes for none: the network, its guidance and ClassNames. It returns an error for another network
// than a transformer.
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

// ImageNetConfig is the transformer of a size of [nn.DiTSizes], such as "XL/2", for the latents
// [32, 32, 4] of the 1,000 classes of ImageNet at 256x256 pixels, trained by mean flow from the data
// alone with the paper's options: RAdam, an adaptive weight of power 1, a class dropout of 0.1 and
// model guidance. Queries and keys are not normalized, as in the configuration of XL/2 of the paper's
// code. It computes in bfloat16 with float32 weights. It panics for an unknown size.
func ImageNetConfig(size string) Config {
	network, known := nn.DiTSizes()[size]
	if !known {
		panic(fmt.Errorf("latent: size %q of a transformer is unknown", size))
	}
	network.Classes, network.Checkpoint = 1000, true
	c := Config{
		Interpolant: interpolant.LinearName, Parametrization: mfm.PlainName,
		Network: nn.Network{Architecture: network, Compute: nn.BFloat16}, Flip: true, Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Batch, c.Train.Steps = 256, 400_000
	c.Train.Optimizer.Rate, c.Train.Optimizer.Warmup, c.Train.Optimizer.Cosine = 1e-4, 1000, false
	c.Train.EMA = []float64{0.9999}
	c.Train.Loss = mfm.Recipe(mfm.MeanFlow, mfm.Self, c.Train.Steps)
	c.Train.Loss.AdaptivePower = 1
	c.Train.Loss.Guidance = mfm.Guidance{Classes: network.Classes, Dropout: 0.1, Scale: 1, Mix: 0.5}
	return c
}
