package alignment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Result is the quality of steered pictures beside that of as many unsteered ones, of the same
// class and guidance, in the same steps, with the same dynamics if the method follows any. The
// latter are independent of the run, so that the differences of a run of the method unsteered are
// the floor of all others.
type Result struct {
	steering.Result
	// SettingHash is the [sweep.Name] of the run's setting, reward and map included.
	SettingHash string `json:"setting_hash"`
	// MapNFE are the evaluations of the map for a sample, backward passes counted twice, and
	// RewardNFE those of the reward, each with the decoder. [steering.Result].NFE is their sum.
	MapNFE    float64 `json:"map_nfe"`
	RewardNFE float64 `json:"reward_nfe"`
	// Reward is the mean over the pictures that have one, undefined if none has, and RewardBase that
	// of the unsteered. Standard errors are undefined unless the samples are independent, see
	// [steering.Result.Independent], and for a single picture.
	Reward       metric.Optional `json:"reward,omitzero"`
	RewardSE     metric.Optional `json:"reward_se,omitzero"`
	RewardBase   metric.Optional `json:"reward_base,omitzero"`
	RewardBaseSE metric.Optional `json:"reward_base_se,omitzero"`
	Lost         int             `json:"lost,omitempty"` // pictures whose reward is -Inf or NaN
	// HeldOut is the mean of the held-out reward, and HeldOutBase that of the unsteered.
	HeldOut       metric.Optional `json:"held_out,omitzero"`
	HeldOutSE     metric.Optional `json:"held_out_se,omitzero"`
	HeldOutBase   metric.Optional `json:"held_out_base,omitzero"`
	HeldOutBaseSE metric.Optional `json:"held_out_base_se,omitzero"`
	// Comparison is that by the evaluator, and Second that by the second one, nil for none.
	Comparison
	Second *Comparison `json:"second_evaluator,omitempty"`
	// Diversity is the mean distance in pixels between two of the first 256 pictures, over that of the
	// unsteered ones.
	Diversity    metric.Optional `json:"diversity,omitzero"`
	Monitors     Monitors        `json:"monitors,omitzero"`
	MonitorsBase *Monitors       `json:"monitors_base,omitempty"`
	// SpectralDistance is that of the mean spectrum of at most 1,024 pictures from that of as many
	// unsteered ones, in decibels, see [monitor.SpectralDistance]: an exploited reward may add fine
	// patterns that no other monitor has. It is undefined for pictures without power at a frequency.
	SpectralDistance metric.Optional `json:"spectral_distance,omitzero"`
	// Pictures is a PNG of at most eight pictures of seed 0: unsteered ones in the first row, and
	// below them the steered ones from the same noise, or for Best-of-N the first candidates and the
	// best ones. A particle filter, and a search by several particles, have the second row alone.
	// There are fewer if a batch of the network has fewer samples, and none after an error, which is a
	// warning.
	Pictures []byte `json:"pictures,omitempty"`
}

// Comparison compares pictures with unsteered ones in the features of an evaluator.
type Comparison struct {
	// Frechet and Kernel are the squared Fréchet distance and the kernel distance to the unsteered
	// pictures, of at most the first 1,024 pictures of each. The former falls with the number of
	// pictures; see [metric.KernelStream] for the latter.
	Frechet  metric.Optional `json:"frechet,omitzero"`
	Kernel   metric.Optional `json:"kernel,omitzero"`
	KernelSE metric.Optional `json:"kernel_se,omitzero"`
	// FeatureDiversity is the mean distance between the features of two of the first 256 pictures,
	// over that of the unsteered ones.
	FeatureDiversity metric.Optional `json:"feature_diversity,omitzero"`
	// InReward reports that the evaluator's file is one of the reward's: the comparison is then not
	// independent of the steering.
	InReward bool `json:"evaluator_in_reward,omitempty"`
}

// mostCompared is the number of pictures whose features are compared.
const mostCompared = 1024

// Run draws the samples of a setting, and evaluates and compares their pictures; see [Result].
// Those of a setting with Pool have rewards alone.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c steering.Setting) (r Result, err error) {
	if r.SettingHash, err = sweep.Name(c); err != nil {
		return r, err
	}
	c = s.trained(c)
	s.running = ctx
	defer func() { s.running = nil }()
	if c.Pool {
		d, rewards, err := s.drawPool(ctx, b, c)
		if r.setDrawn(d); err != nil || r.Diverged {
			return r, err
		}
		r.setRewards(pictureValues{reward: rewards})
		r.PoolRewards = steering.PoolOf(rewards)
		return r, nil
	}
	var d drawn
	switch c.Method {
	case bestOfN:
		d, err = s.bestOf(ctx, b, c)
	case steering.Unsteered:
		d, err = s.drawUnsteered(ctx, b, c)
	default:
		var got *steer.Result
		d.result, d.latents, got, err = s.Base.Run(ctx, b, c, nil, rand.New(rand.NewPCG(uint64(c.Seed), 6)))
		if err == nil {
			d.counts, d.speed = got.Counts, speed(got.Series)
		}
	}
	if r.setDrawn(d); err != nil || r.Diverged {
		return r, err
	}
	values, pixels, err := s.evaluate(ctx, d.latents, s.Labels(c))
	if err != nil {
		return r, err
	}
	r.setRewards(values)
	size := s.model.Size()
	if r.Monitors, err = newMonitors(d.latents, pixels, size[0], size[1], size[2]); err != nil {
		return r, err
	}
	r.Monitors.Speed = d.speed
	if c.Seed == 0 {
		if r.Pictures, err = s.pair(ctx, b, c, d.first, pixels); err != nil {
			if ctx.Err() != nil {
				return r, err
			}
			// The samples are not lost with their pictures.
			r.Warnings = append(slices.Clip(r.Warnings), fmt.Sprintf("the result has no pictures: %v", err))
		}
	}
	err = s.compareWithBase(ctx, b, c, &r, pixels)
	return r, err
}

// setDrawn fills in what follows from drawing the samples.
func (r *Result) setDrawn(d drawn) {
	r.Result = d.result
	n := float64(max(d.result.Samples, 1))
	r.MapNFE, r.RewardNFE = float64(d.counts.Network+2*d.counts.NetworkBackward)/n, float64(d.counts.Reward)/n
}

// setRewards fills in what follows from the rewards of the pictures.
func (r *Result) setRewards(v pictureValues) {
	rewarded := usable(v.reward)
	r.Lost = len(v.reward) - len(rewarded)
	r.RewardQuantiles = steering.Quantiles(rewarded)
	r.Reward, r.RewardSE = meanSE(v.reward, r.Independent())
	r.HeldOut, r.HeldOutSE = meanSE(v.heldOut, r.Independent())
	if lost := len(v.heldOut) - len(usable(v.heldOut)); lost > 0 {
		text := fmt.Sprintf("%d of %d pictures have no held-out reward, or one of -Inf", lost, len(v.heldOut))
		r.Warnings = append(slices.Clip(r.Warnings), text)
	}
}

// meanSE returns the mean of the rewards of the samples that have one, undefined if none has, and
// its standard error, undefined unless two samples have one and all are independent.
func meanSE(rewards []float64, independent bool) (mean, se metric.Optional) {
	rewards = usable(rewards)
	if len(rewards) == 0 {
		return mean, se
	}
	m, e := metric.MeanSE(rewards)
	if independent && len(rewards) > 1 {
		se = metric.Some(e)
	}
	return metric.Some(m), se
}

// evaluate returns the rewards of latents that were generated under labels, and their pictures.
func (s *Steering) evaluate(ctx context.Context, latents []float32, labels []int32) (
	v pictureValues, pixels []float32, err error) {
	if pixels, err = s.model.decoder.decode(ctx, latents); err != nil {
		return v, nil, err
	}
	v, err = s.values(ctx, pixels, labels)
	return v, pixels, err
}

// values returns the rewards of pictures that were generated under labels.
func (s *Steering) values(ctx context.Context, pixels []float32, labels []int32) (v pictureValues, err error) {
	if v.reward, err = s.pictures.values(ctx, pixels, labels); err != nil {
		return v, err
	}
	v.heldOut, err = s.heldOut.values(ctx, pixels, labels)
	return v, err
}

// compareWithBase fills in the comparison with unsteered pictures.
func (s *Steering) compareWithBase(
	ctx context.Context, b compute.Backend, c steering.Setting, r *Result, pixels []float32,
) error {
	base, values, err := s.compare(ctx, b, c)
	if err != nil || base == nil {
		return err
	}
	return s.compareWith(ctx, r, pixels, base, values, c.Config.Lambda)
}

// compareWith fills in the comparison with given pictures, and the divergence of their distribution
// tilted with λ.
func (s *Steering) compareWith(
	ctx context.Context, r *Result, pixels []float32, base *base, values pictureValues, lambda float64,
) error {
	r.RewardBase, r.RewardBaseSE = meanSE(values.reward, true)
	r.HeldOutBase, r.HeldOutBaseSE = meanSE(values.heldOut, true)
	if weights, err := steering.TiltedWeights(values.reward, lambda, 0); err == nil {
		kl, effective := steering.Divergence(weights, len(weights))
		r.TargetKL, r.TargetEffective = metric.Some(kl), metric.Some(effective)
	}
	r.MonitorsBase = &base.monitors
	size := s.model.Size()
	r.SpectralDistance = spectralDistance(pixels, base.pixels, size[0], size[1], size[2])
	dim := len(pixels) / r.Samples
	r.Diversity = ratio(meanDistance(mfm.Rows(pixels, dim)), meanDistance(mfm.Rows(base.pixels, dim)))
	features, err := s.model.features(ctx, pixels)
	if err != nil {
		return err
	}
	for i, of := range features {
		to, name := &r.Comparison, "evaluator"
		if i > 0 {
			r.Second, name = new(Comparison), "second evaluator"
			to = r.Second
		}
		if err := to.compare(of, base.features[i], r.Independent()); err != nil {
			return err
		}
		if to.InReward = slices.Contains(s.networks, s.model.evaluators[i].hash); to.InReward {
			r.Warnings = append(slices.Clip(r.Warnings), fmt.Sprintf("the %s is a network of the reward: its distances to "+
				"unsteered pictures are not independent of the steering: use another evaluator beside it", name))
		}
	}
	return nil
}

// compare compares features with those of unsteered pictures.
func (c *Comparison) compare(features, base [][]float64, independent bool) error {
	c.FeatureDiversity = ratio(meanDistance(features), meanDistance(base))
	n := min(len(features), mostCompared)
	distance, err := metric.FrechetOfSamples(features[:n], base[:n])
	if err != nil {
		return err
	}
	c.Frechet = metric.Some(distance)
	if n < 4 {
		return nil
	}
	kernel, se, err := metric.KernelOfBatches(features[:n], base[:n])
	c.Kernel = metric.Some(kernel)
	if independent {
		c.KernelSE = metric.Some(se)
	}
	return err
}

// usable returns the rewards of samples that have one.
func usable(rewards []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(rewards), func(v float64) bool { return v < reward.Least })
}

// ratio returns a/b, undefined if b is 0.
func ratio(a, b float64) metric.Optional {
	if b == 0 {
		return metric.Optional{}
	}
	return metric.Some(a / b)
}
