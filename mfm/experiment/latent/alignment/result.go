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

// Result is the quality of steered pictures beside that of as many unsteered ones, of the same class
// and guidance, in the same steps, with the same dynamics if the method follows any. The latter are
// independent of the run, so that the differences of a run of the method unsteered are the floor of
// all others.
type Result struct {
	steering.Result
	// SettingHash is the [sweep.Name] of the run's setting, reward and map included.
	SettingHash string `json:"setting_hash"`
	// MapNFE are the evaluations of the map for a sample, backward passes counted twice, and
	// RewardNFE those of the reward, each with the decoder. [steering.Result].NFE is their sum.
	MapNFE    float64 `json:"map_nfe"`
	RewardNFE float64 `json:"reward_nfe"`
	// Reward is the mean over the pictures that have one, undefined if none has, and RewardBase that
	// of the unsteered. Standard errors are undefined for the particles of a filter, which share
	// ancestors, and for a single picture.
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
	// Frechet and Kernel are the squared Fréchet distance and the kernel distance to the unsteered
	// pictures in the features of the evaluator, of at most the first 1,024 pictures of each. The
	// former falls with the number of pictures; see [metric.KernelStream] for the latter.
	Frechet  metric.Optional `json:"frechet,omitzero"`
	Kernel   metric.Optional `json:"kernel,omitzero"`
	KernelSE metric.Optional `json:"kernel_se,omitzero"`
	// Diversity is the mean distance in pixels between two of the first 256 pictures, over that of the
	// unsteered ones, and FeatureDiversity the same in the features of the evaluator.
	Diversity        metric.Optional `json:"diversity,omitzero"`
	FeatureDiversity metric.Optional `json:"feature_diversity,omitzero"`
	Monitors         Monitors        `json:"monitors,omitzero"`
	MonitorsBase     *Monitors       `json:"monitors_base,omitempty"`
	// Pictures is a PNG of at most eight pictures of seed 0: unsteered ones in the first row, and below
	// them the steered ones from the same noise, or for Best-of-N the first candidates and the best ones.
	// A particle filter, and a search by several particles, have the second row alone.
	Pictures []byte `json:"pictures,omitempty"`
}

// mostCompared is the number of pictures whose features are compared.
const mostCompared = 1024

// Run draws the samples of a setting, and evaluates and compares their pictures; see [Result]. Those of
// a setting with Pool have rewards alone.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c steering.Setting) (r Result, err error) {
	if r.SettingHash, err = sweep.Name(c); err != nil {
		return r, err
	}
	c = s.trained(c)
	var latents, first []float32
	var counts steer.Counts
	switch c.Method {
	case bestOfN:
		r.Result, latents, first, counts, err = s.bestOf(ctx, b, c)
	case steering.Unsteered:
		r.Result, latents, counts, err = s.drawUnsteered(ctx, b, c)
	default:
		var got *steer.Result
		r.Result, latents, got, err = s.Base.Run(ctx, b, c, nil, rand.New(rand.NewPCG(uint64(c.Seed), 6)))
		if err == nil {
			counts = got.Counts
		}
	}
	if err != nil || r.Diverged {
		return r, err
	}
	r.MapNFE = float64(counts.Network+2*counts.NetworkBackward) / float64(c.Samples)
	r.RewardNFE = float64(counts.Reward) / float64(c.Samples)
	values, pixels, err := s.evaluate(ctx, latents, s.Labels(c), !c.Pool)
	if err != nil {
		return r, err
	}
	r.setRewards(values)
	if c.Pool {
		r.PoolRewards = steering.PoolOf(values.reward)
		return r, nil
	}
	size := s.model.Size()
	if r.Monitors, err = newMonitors(latents, pixels, size[0], size[1], size[2]); err != nil {
		return r, err
	}
	if c.Seed == 0 {
		if r.Pictures, err = s.pictures(ctx, b, c, first, pixels); err != nil {
			return r, err
		}
	}
	err = s.compareWithBase(ctx, b, c, &r, pixels)
	return r, err
}

// setRewards fills in what follows from the rewards of the pictures.
func (r *Result) setRewards(v pictureValues) {
	rewarded := usable(v.reward)
	r.Lost = len(v.reward) - len(rewarded)
	r.RewardQuantiles = steering.Quantiles(rewarded)
	r.Reward, r.RewardSE = meanSE(v.reward, r.independent())
	r.HeldOut, r.HeldOutSE = meanSE(v.heldOut, r.independent())
	if lost := len(v.heldOut) - len(usable(v.heldOut)); lost > 0 {
		text := fmt.Sprintf("%d of %d pictures have no held-out reward, or one of -Inf", lost, len(v.heldOut))
		r.Warnings = append(slices.Clip(r.Warnings), text)
	}
}

// independent reports whether the samples are independent, unlike the particles of a filter.
func (r *Result) independent() bool {
	entry, err := steer.Lookup(r.Method)
	return err != nil || !entry.Filter
}

// meanSE returns the mean of the rewards of the samples that have one, undefined if none has, and its
// standard error, undefined unless two samples have one and all are independent.
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

// evaluate returns the rewards of latents that were generated under labels, and their pictures if keep
// is set.
func (s *Steering) evaluate(ctx context.Context, latents []float32, labels []int32, keep bool) (
	all pictureValues, pictures []float32, err error) {
	size := s.model.Elements()
	const block = 16 * chunk
	for from := 0; from < len(latents)/size; from += block {
		to := min(from+block, len(latents)/size)
		pixels, err := s.model.decoder.decode(ctx, latents[from*size:to*size])
		if err != nil {
			return all, nil, err
		}
		var classes []int32
		if labels != nil {
			classes = labels[from:to]
		}
		v, err := s.rewards.values(ctx, pixels, classes)
		if err != nil {
			return all, nil, err
		}
		all.reward, all.heldOut = append(all.reward, v.reward...), append(all.heldOut, v.heldOut...)
		if keep {
			pictures = append(pictures, pixels...)
		}
	}
	return all, pictures, nil
}

// compareWithBase fills in the comparison with unsteered pictures.
func (s *Steering) compareWithBase(
	ctx context.Context, b compute.Backend, c steering.Setting, r *Result, pixels []float32,
) error {
	base, values, err := s.compare(ctx, b, c)
	if err != nil || base == nil {
		return err
	}
	r.RewardBase, r.RewardBaseSE = meanSE(values.reward, true)
	r.HeldOutBase, r.HeldOutBaseSE = meanSE(values.heldOut, true)
	if weights, err := steering.TiltedWeights(values.reward, c.Config.Lambda, 0); err == nil {
		kl, effective := steering.Divergence(weights, len(weights))
		r.TargetKL, r.TargetEffective = metric.Some(kl), metric.Some(effective)
	}
	r.MonitorsBase = &base.monitors
	dim := len(pixels) / c.Samples
	r.Diversity = ratio(meanDistance(mfm.Rows(pixels, dim)), meanDistance(mfm.Rows(base.pixels, dim)))
	features, err := s.model.features(ctx, pixels)
	if err != nil || features == nil {
		return err
	}
	r.FeatureDiversity = ratio(meanDistance(features), meanDistance(base.features))
	n := min(len(features), mostCompared)
	distance, err := metric.FrechetOfSamples(features[:n], base.features[:n])
	if err != nil {
		return err
	}
	r.Frechet = metric.Some(distance)
	if n < 4 {
		return nil
	}
	kernel, se, err := metric.KernelOfBatches(features[:n], base.features[:n])
	r.Kernel = metric.Some(kernel)
	if r.independent() {
		r.KernelSE = metric.Some(se)
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
