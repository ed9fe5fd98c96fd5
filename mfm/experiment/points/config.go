package points

import (
	"cmp"
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Config is everything that a map of points depends on besides the points.
type Config struct {
	Interpolant interpolant.Name `json:"interpolant"`
	// Parametrization is [mfm.MixtureName] (a mixture fitted to the points), [mfm.GaussianName] or
	// [mfm.PlainName].
	Parametrization mfm.ParametrizationName `json:"parametrization"`
	// Prior is that of [mfm.MixtureName]; the others do not use it.
	Prior *PriorConfig `json:"prior,omitempty"`
	// Classes is the name of the column with the classes of the points, empty for none.
	Classes string          `json:"classes,omitempty"`
	Network nn.Network      `json:"network"`
	Train   mfm.TrainConfig `json:"train"`
}

// DefaultConfig is an MLP on top of a mixture fitted to the points. Half of each batch trains the
// drift, the other half one-step samples by the energy score: both have the data alone for a
// target, and not the map itself, as a consistency loss does. Steps between other times are not
// trained and stay close to those of the prior. It takes one to three and a half minutes on two
// CPU cores (figures/points.json), and more where the mixture has 256 components.
func DefaultConfig() Config {
	prior, network := DefaultPrior(), nn.DefaultMLP()
	network.Width, network.Depth = 128, 3
	c := Config{
		Interpolant: interpolant.LinearName, Parametrization: mfm.MixtureName, Prior: &prior,
		Network: nn.NewNetwork(network), Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Steps, c.Train.Batch = 4000, 512
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate = train.Muon, 0.005
	c.Train.Loss = mfm.Recipe(mfm.Energy, mfm.Self, c.Train.Steps)
	return c
}

// Preset returns the configuration at a scale of [config.Presets]: quick is [DefaultConfig], full
// has ten times the steps. Another name is an error.
func Preset(name string) (Config, error) {
	c := DefaultConfig()
	full, err := config.Full(name)
	if full {
		c.Train.Steps *= 10
	}
	return c, err
}

// SetClasses makes c that of points with a column of classes, count of them: its MLP is conditioned
// on them, with a tenth of the labels dropped so that the map also samples all classes together,
// unless the loss has another dropout or classes already.
func (c *Config) SetClasses(column string, count int) {
	c.Classes = column
	if network, is := c.Network.Architecture.(nn.MLPConfig); is && network.Classes == 0 {
		network.Classes = count
		c.Network.Architecture = network
	}
	g := &c.Train.Loss.Guidance
	if g.Classes == 0 && count > 0 {
		g.Classes, g.Dropout = count, cmp.Or(g.Dropout, 0.1)
	}
}

// Validate returns an error that names the first value that is invalid in itself or for points of a
// number of columns and classes.
func (c Config) Validate(columns, classes int) error {
	if _, err := c.Interpolant.Schedule(); err != nil {
		return err
	}
	if err := cmp.Or(c.Train.Validate(), c.Network.Validate()); err != nil {
		return err
	}
	if err := c.Network.CheckShape([]int{columns}); err != nil {
		return err
	}
	loss := c.Train.Loss
	if n := c.Network.ClassCount(); n != classes || loss.Guidance.Classes != classes {
		return fmt.Errorf("network.classes = %d and train.loss.guidance.classes = %d: the points have %d classes", n,
			loss.Guidance.Classes, classes)
	}
	if err := c.Network.CheckGuidance(loss.Guidance.Scales); err != nil {
		return fmt.Errorf("train.loss.guidance.scales: %w", err)
	}
	if loss.Distillation == mfm.Teacher {
		return fmt.Errorf("train.loss.distillation = %s: points have no drift to learn from, use %s", mfm.Teacher, mfm.Self)
	}
	switch c.Parametrization {
	case mfm.MixtureName:
		if c.Prior == nil {
			return fmt.Errorf("parametrization %s needs a prior: configure how it is fitted", mfm.MixtureName)
		}
		if columns > maxColumns {
			return fmt.Errorf("points of %d columns: a mixture is fitted to at most %d: use the parametrization %s, or fewer "+
				"columns", columns, maxColumns, mfm.GaussianName)
		}
		if err := c.Prior.Validate(); err != nil {
			return err
		}
		_, err := c.Prior.most(columns, classes)
		return err
	case mfm.GaussianName, mfm.PlainName:
		return nil
	}
	return fmt.Errorf("parametrization %q is unknown for points: use %s, %s or %s",
		c.Parametrization, mfm.MixtureName, mfm.GaussianName, mfm.PlainName)
}
