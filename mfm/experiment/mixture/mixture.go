// Package mixture is the experiment on Gaussian mixtures, where everything that a meta flow map
// learns is a closed form: drift, posteriors, value, and the distribution tilted by a
// linear-Gaussian reward.
//
// A [Config] describes mixture, network and training. [New] returns the [Experiment], its method
// Train trains the map with the mixture's own drift as the teacher, and [Open] opens a trained one.
// [Experiment.Evaluate] compares posterior samples with exact ones by sliced W2, and [SweepLosses]
// does so for every loss. On a trained map, [NewSteering] steers samples to a reward, and
// [NewTuning] fine-tunes the drift to it; [Tuning.Distill] makes a new map of the tuned drift. All
// results are compared with the exact target.
//
// Start with [DefaultConfig], the paper's mixture, and the example of [Experiment.Evaluate].
package mixture

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Config is everything that a map of a Gaussian mixture depends on.
type Config struct {
	Mixture     *gmm.Mixture     `json:"mixture"`
	Interpolant interpolant.Name `json:"interpolant"`
	// Parametrization is any name but [mfm.MixtureName]. The data are the mixture, whose mean,
	// covariance and variances are closed forms.
	Parametrization mfm.ParametrizationName `json:"parametrization"`
	Network         nn.Network              `json:"network"`
	Train           mfm.TrainConfig         `json:"train"`
}

// DefaultConfig is the paper's mixture with an MLP of four layers of 256 units, trained for 5,000
// steps by the semigroup loss with the mixture's drift as the teacher.
func DefaultConfig() Config {
	c := Config{
		Mixture: gmm.Paper(), Interpolant: interpolant.LinearName, Parametrization: mfm.GaussianName,
		Network: nn.NewNetwork(nn.DefaultMLP()), Train: mfm.DefaultTrainConfig(),
	}
	c.Train.Steps = 5000
	c.SetLoss(mfm.Semigroup, mfm.Teacher)
	return c
}

// Experiment is a Gaussian mixture, which is also the exact teacher, and the map that learns its
// posteriors.
type Experiment struct {
	Config Config
	Map    *mfm.Map

	// distilled says that the map was distilled from a tuned drift. The mixture is then the exact
	// target, which the map did not learn from.
	distilled bool
}

// New returns the experiment of a configuration, with an untrained map, or an error that names the
// first invalid value.
func New(config Config) (*Experiment, error) {
	if config.Mixture == nil {
		return nil, fmt.Errorf("mixture is missing: give weights, means and covariances")
	}
	ip, err := config.Interpolant.Schedule()
	if err != nil {
		return nil, err
	}
	if err := config.Train.Validate(); err != nil {
		return nil, err
	}
	if err := config.Network.Validate(); err != nil {
		return nil, err
	}
	if n, g := config.Network.ClassCount(), config.Train.Loss.Guidance.Classes; n != 0 || g != 0 {
		return nil, fmt.Errorf("network.classes = %d, train.loss.guidance.classes = %d: "+
			"samples of a mixture have no classes, use 0", n, g)
	}
	if err := config.Network.CheckShape([]int{config.Mixture.Dim()}); err != nil {
		return nil, err
	}
	p, err := parametrization(config)
	if err != nil {
		return nil, err
	}
	m := &mfm.Map{Interpolant: ip, Backbone: config.Network.Backbone(), Parametrization: p}
	return &Experiment{Config: config, Map: m}, nil
}

func parametrization(config Config) (mfm.Parametrization, error) {
	mean, covariance := config.Mixture.Mean(), config.Mixture.Covariance()
	switch config.Parametrization {
	case mfm.GaussianName, mfm.UnfusedName:
		g, err := mfm.NewGaussian(mean, covariance)
		if err == nil {
			g.NoFusion = config.Parametrization == mfm.UnfusedName
		}
		return g, err
	case mfm.DiagonalName:
		variance := make([]float64, len(mean))
		for i := range variance {
			variance[i] = covariance[i][i]
		}
		g := &mfm.Gaussian{Mean: mean, Variance: variance}
		return g, g.Validate()
	case mfm.PlainName:
		return mfm.Plain{}, nil
	case mfm.AnchoredName:
		if config.Interpolant != interpolant.LinearName {
			return nil, fmt.Errorf("parametrization %s is for the %s interpolant, not for %s",
				mfm.AnchoredName, interpolant.LinearName, config.Interpolant)
		}
		return mfm.Anchored{}, nil
	}
	return nil, fmt.Errorf("parametrization %q is unknown: use %s, %s, %s, %s or %s", config.Parametrization,
		mfm.GaussianName, mfm.UnfusedName, mfm.DiagonalName, mfm.PlainName, mfm.AnchoredName)
}

// Shape returns the shape of one sample, [dim].
func (e *Experiment) Shape() []int { return []int{e.Config.Mixture.Dim()} }

// Model returns the map with the weights that store has in [train.WeightsScope].
func (e *Experiment) Model(store *model.Store) mfm.Model {
	return mfm.Model{Map: e.Map, Weights: store.Scope(train.WeightsScope), Shape: e.Shape()}
}

// Source returns a source that samples the mixture inside the training step.
func (e *Experiment) Source() train.Source {
	return func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = e.Config.Mixture.OnGraph(rng.State.Graph(), dtypes.Float32).Sample(rng.State, n)
		return data, nil
	}
}

// Teacher returns the mixture's exact drift b_t(x), of states [batch, dim].
func (e *Experiment) Teacher() interpolant.Drift {
	return func(t, x, _ *Node) *Node { return e.Config.Mixture.Like(x).Drift(e.Map.Interpolant, t, x) }
}

// Context returns a state x_t = α_t I_0 + β_t I_1, [dim], with I_0 standard normal noise and I_1 a
// sample of the mixture.
func (e *Experiment) Context(rng *rand.Rand, t float64) []float64 {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	x := e.Config.Mixture.Sample(rng, 1)[0]
	for i := range x {
		x[i] = alpha*rng.NormFloat64() + beta*x[i]
	}
	return x
}

// SetLoss is the function [SetLoss] for the training of c.
func (c *Config) SetLoss(loss mfm.Consistency, distillation mfm.Distillation) {
	SetLoss(&c.Train, loss, distillation)
}

// SetLoss sets the loss of a training to [mfm.Recipe] for its number of steps. It keeps the time
// sampling, the guidance and the other options that a recipe does not choose.
func SetLoss(c *mfm.TrainConfig, loss mfm.Consistency, distillation mfm.Distillation) {
	l, r := &c.Loss, mfm.Recipe(loss, distillation, c.Steps)
	l.Consistency, l.Distillation = r.Consistency, r.Distillation
	l.DiagonalShare, l.AdaptivePower, l.GapWarmup = r.DiagonalShare, r.AdaptivePower, r.GapWarmup
}

// Preset returns the configuration of a map at a scale of [config.Presets]: quick is
// [DefaultConfig], full has 20,000 steps in batches of 4,096. Another name is an error.
func Preset(name string) (Config, error) {
	c := DefaultConfig()
	full, err := config.Full(name)
	if full {
		c.Train.Steps, c.Train.Batch = 20_000, 4096
	}
	return c, err
}
