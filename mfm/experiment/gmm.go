// Package experiment puts the paper's experiments together from the parts of mfm: configuration, training, evaluation against closed forms. The notebooks and the
// command line call it, so that a figure in one is the figure in the other.
package experiment

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// GMMConfig is everything that a map of a Gaussian mixture depends on.
type GMMConfig struct {
	Mixture *gmm.Mixture `json:"mixture"`
	// Interpolant is "linear", "trigonometric" or "vp".
	Interpolant string `json:"interpolant"`
	// Parametrization is "gaussian" (full covariance of the mixture), "unfused" (the same with [mfm.Gaussian].NoFusion), "diagonal" (its variances alone), "plain"
	// or "anchored".
	Parametrization string          `json:"parametrization"`
	Network         nn.MLPConfig    `json:"network"`
	Train           mfm.TrainConfig `json:"train"`
}

// DefaultGMMConfig is the paper's mixture with an MLP of four layers of 256 and the semigroup loss from the analytic teacher.
func DefaultGMMConfig() GMMConfig {
	c := GMMConfig{Mixture: gmm.Paper(), Interpolant: "linear", Parametrization: "gaussian", Network: nn.DefaultMLP(), Train: mfm.DefaultTrainConfig()}
	c.Train.Steps = 5000
	c.SetLoss(mfm.Semigroup, mfm.Teacher)
	return c
}

// GMM is an experiment on a Gaussian mixture: its law, which is also the analytic teacher, and the map that learns its posteriors.
type GMM struct {
	Config GMMConfig
	Map    *mfm.Map

	distilled bool // from a tuned drift: the mixture is the law that was aimed at, not what the map learned from
}

// NewGMM returns the experiment that config describes, or an error that names the first value that makes no sense.
func NewGMM(config GMMConfig) (*GMM, error) {
	if config.Mixture == nil {
		return nil, fmt.Errorf("mixture is missing: give weights, means and covariances")
	}
	ip, err := interpolant.ByName(config.Interpolant)
	if err != nil {
		return nil, err
	}
	if err := config.Train.Validate(); err != nil {
		return nil, err
	}
	if err := config.Network.Validate(); err != nil {
		return nil, err
	}
	if n, g := config.Network.Classes, config.Train.Loss.Guidance.Classes; n != 0 || g != 0 {
		return nil, fmt.Errorf("network.classes = %d, train.loss.guidance.classes = %d: samples of a mixture have no classes", n, g)
	}
	p, err := mixtureParametrization(config)
	if err != nil {
		return nil, err
	}
	return &GMM{Config: config, Map: &mfm.Map{Interpolant: ip, Backbone: nn.MLP(config.Network), Parametrization: p}}, nil
}

func mixtureParametrization(config GMMConfig) (mfm.Parametrization, error) {
	mean, covariance := config.Mixture.Mean(), config.Mixture.Covariance()
	switch config.Parametrization {
	case "gaussian", "unfused":
		g, err := mfm.NewGaussian(mean, covariance)
		if err == nil {
			g.NoFusion = config.Parametrization == "unfused"
		}
		return g, err
	case "diagonal":
		variance := make([]float64, len(mean))
		for i := range variance {
			variance[i] = covariance[i][i]
		}
		g := &mfm.Gaussian{Mean: mean, Variance: variance}
		return g, g.Validate()
	case "plain":
		return mfm.Plain{}, nil
	case "anchored":
		if config.Interpolant != "linear" {
			return nil, fmt.Errorf("parametrization anchored is for the linear interpolant, not for %s", config.Interpolant)
		}
		return mfm.Anchored{}, nil
	}
	return nil, fmt.Errorf("parametrization %q is unknown: use gaussian, unfused, diagonal, plain or anchored", config.Parametrization)
}

// Shape returns the shape of one sample, [dim].
func (e *GMM) Shape() []int { return []int{e.Config.Mixture.Dim()} }

// Source draws from the mixture inside the training step.
func (e *GMM) Source() train.Source {
	return func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = e.Config.Mixture.SampleGraph(rng.State, dtypes.Float32, n)
		return data, nil
	}
}

// Teacher is the mixture's own drift b_t(x).
func (e *GMM) Teacher() interpolant.Drift {
	return func(t, x, _ *Node) *Node { return e.Config.Mixture.DriftGraph(e.Map.Interpolant, t, x) }
}

// Context draws a state x_t at time t: a sample of the mixture, noised.
func (e *GMM) Context(rng *rand.Rand, t float64) []float64 {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	x := e.Config.Mixture.Sample(rng, 1)[0]
	for i := range x {
		x[i] = alpha*rng.NormFloat64() + beta*x[i]
	}
	return x
}

// SetLoss chooses a loss with options that serve it on the paper's mixture: the two that follow the map's own drift get more rows of data, and the Eulerian one, whose
// target holds the product of that drift and its derivative, long steps that come late and large errors that weigh less. They were found by hand; notebook 02_gmm_posterior has what the chosen ones give.
func (c *GMMConfig) SetLoss(loss mfm.Consistency, distillation mfm.Distillation) {
	setLoss(&c.Train, loss, distillation)
}

// setLoss is SetLoss for any training, whose number of steps it reads.
func setLoss(c *mfm.TrainConfig, loss mfm.Consistency, distillation mfm.Distillation) {
	l, d := &c.Loss, mfm.DefaultLoss()
	l.Consistency, l.Distillation = loss, distillation
	l.DiagonalShare, l.AdaptivePower, l.GapWarmup = d.DiagonalShare, d.AdaptivePower, d.GapWarmup
	if distillation == mfm.Self && (loss == mfm.Lagrangian || loss == mfm.Eulerian) {
		l.DiagonalShare = 0.75
	}
	if distillation == mfm.Self && loss == mfm.Eulerian {
		l.AdaptivePower, l.GapWarmup = 0.5, int(c.Steps/2)
	}
}
