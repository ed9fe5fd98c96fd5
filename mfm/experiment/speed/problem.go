package speed

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// problem is what a case trains.
type problem struct {
	m       *mfm.Map
	source  train.Source
	teacher interpolant.Drift
	shape   []int // of a sample
	classes int
	config  mfm.TrainConfig
}

// newProblem returns the problem of [MLP], [UNet] or [DiT] with a consistency loss.
func newProblem(ctx context.Context, of Case, loss mfm.Consistency) (p problem, err error) {
	p.config = mfm.DefaultTrainConfig()
	switch of {
	case MLP:
		e, err := mixture.New(mixture.DefaultConfig())
		if err != nil {
			return p, err
		}
		p.m, p.source, p.shape = e.Map, e.Source(), e.Shape()
	case UNet:
		train, _, err := data.MNIST()
		if err != nil {
			return p, err
		}
		digits := image.DefaultConfig()
		digits.Parametrization = mfm.GaussianName // that of scripts/jax
		e, err := image.New(ctx, digits, train)
		if err != nil {
			return p, err
		}
		if p.source, err = e.Source(); err != nil {
			return p, err
		}
		p.m, p.shape, p.config.Batch = e.Map, e.Shape(), 64
	case DiT:
		if p, err = latentProblem(latent.DefaultConfig()); err != nil {
			return p, err
		}
	default:
		return p, fmt.Errorf("case %q is unknown: use %s, %s or %s", of, MLP, UNet, DiT)
	}
	p.config.Loss.Consistency, p.config.Steps = loss, 1_000_000
	return p, nil
}

// latentProblem returns the problem of a configuration on latents of the size of the emoji's.
func latentProblem(c latent.Config) (p problem, err error) {
	latents := randomLatents(c.Network.ClassCount())
	e, err := latent.New(c, latents)
	if err != nil {
		return p, err
	}
	p = problem{m: e.Map, teacher: e.Teacher(), shape: latents.Shape(), classes: c.Network.ClassCount(), config: c.Train}
	p.source, _, err = e.Source() // in memory, without a hook
	return p, err
}

// The size of the emoji's data set and of its latents.
const (
	emojiImages   = 1906
	emojiSide     = 8
	emojiChannels = 8
)

// randomLatents returns latents of about unit variance, each a pattern of its class plus noise.
func randomLatents(classes int) *latents.Set {
	rng := rand.New(rand.NewPCG(1, 0))
	l := &latents.Set{N: emojiImages, Height: emojiSide, Width: emojiSide, Channels: emojiChannels}
	patterns := make([]float32, classes*l.Size())
	for i := range patterns {
		patterns[i] = float32(rng.NormFloat64())
	}
	for i := range l.N {
		class := i % classes
		l.Labels = append(l.Labels, int32(class))
		for range 2 { // the image and its mirror image
			for _, v := range patterns[class*l.Size() : (class+1)*l.Size()] {
				l.Mean, l.Std = append(l.Mean, 0.7*(v+float32(rng.NormFloat64()))), append(l.Std, 0.1)
			}
		}
	}
	return l
}
