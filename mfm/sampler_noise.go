package mfm

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/solver"
)

// FromNoise returns the posterior samples to which the map, or the ODE, carries the given noise,
// [contexts, shape], X_{0,1}(noise; t, x). Noise from N(0, I) gives the samples of
// [Sampler.Posterior]; the same noise for other contexts, classes or weights shows what they change.
// The method must be [MapSampling] or [ODESampling], which are functions of their first noise. Other
// arguments and errors are those of [Sampler.Posterior].
func (s *Sampler) FromNoise(
	ctx context.Context, noise *tensors.Tensor, t float64, x *tensors.Tensor, class []int32,
) (*tensors.Tensor, error) {
	if s.config.Method != MapSampling && s.config.Method != ODESampling {
		return nil, fmt.Errorf("sampling from given noise: method %q draws more of it: use map or ode", s.config.Method)
	}
	return s.evaluate(ctx, "posterior from noise", func(_ *solver.RNG, times, states []*Node, class *Node) *Node {
		return s.transport(nil, states[0], times[0], states[1], class)
	}, []float64{t}, []*tensors.Tensor{noise, x}, class)
}

// transport returns the sample to which noise is carried. rng is for methods that draw more noise.
func (s *Sampler) transport(rng *solver.RNG, noise, t, x, class *Node) *Node {
	common, grid := Slice(t, AxisRange(0, 1)), s.config.times()
	switch s.config.Method {
	case MapSampling:
		return s.m.PosteriorSteps(s.weights, grid, noise, common, x, class)
	case RefineSampling:
		return s.m.PosteriorRefined(s.weights, rng, grid, noise, common, x, class)
	default:
		return s.integrate(rng, s.field(t, x, class), noise)
	}
}
