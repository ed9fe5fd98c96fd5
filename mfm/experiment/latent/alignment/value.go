package alignment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// CheckValues returns the fingerprint of a setting: a hash of the model and of the rewards, with
// the content of the files that they name. It returns an error that says why the setting cannot be
// run: values out of range, a reward that is unknown or does not fit the pictures, or a map with
// classes that was trained without dropout.
func (m *Model) CheckValues(b compute.Backend, c ValueSetting) (fingerprint string, err error) {
	rewards, err := m.rewardsOf(b, c)
	if err != nil {
		return "", err
	}
	all, size := []string{m.hash}, m.Size()
	var labels []int32
	if m.Classes > 0 {
		labels = []int32{int32(m.Classes)}
	}
	for i, r := range rewards {
		if _, err := r.values(context.Background(), make([]float32, size[0]*size[1]*size[2]), labels); err != nil {
			return "", fmt.Errorf("reward %q does not fit pictures of shape %v: %w", c.Rewards[i].Name, size, err)
		}
		all = append(all, r.text)
	}
	return hashJSON(all)
}

// rewardsOf opens the rewards of a setting.
func (m *Model) rewardsOf(b compute.Backend, c ValueSetting) (all []*pictureReward, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if m.Classes > 0 && m.Config.Train.Loss.Guidance.Dropout == 0 {
		return nil, fmt.Errorf("the map was trained with dropout = 0, so that it has no samples without a class: use " +
			"another map")
	}
	for _, named := range c.Rewards {
		r, err := m.open(b, named.Reward)
		if err != nil {
			return nil, fmt.Errorf("reward %q: %w", named.Name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// valuation draws the rewards of posterior samples at states.
type valuation struct {
	*Model
	setting ValueSetting
	rewards []*pictureReward
	states  []float32 // flat [states, height, width, channels]
	labels  []int32   // of the states, that of no class; nil for a map without classes
	rng     *rand.Rand
}

// Values compares estimates of values with a reference at noised samples of the map, without a
// class. The posterior samples are those of the map in one step, those of the posterior's ODE by
// the map's drift, and for the reference those of the posterior's SDE. Errors are those of
// [Model.CheckValues].
func (m *Model) Values(ctx context.Context, b compute.Backend, c ValueSetting) (r ValueResult, err error) {
	v, err := m.valuation(ctx, b, c)
	if err != nil {
		return r, err
	}
	r = ValueResult{Test: ValueTest, T: c.T, States: c.States, Samples: c.Samples, Reference: c.Reference,
		ReferenceSteps: c.ReferenceSteps, Seed: c.Seed}
	config := mfm.DefaultSamplerConfig()
	config.Chunk, config.Classes = m.rows(b), m.Classes
	teacher := func(method mfm.Sampling, steps int) (*mfm.Sampler, error) {
		config := config
		config.Method, config.Solver, config.Steps = method, solver.Euler, steps
		return mfm.NewTeacherSampler(b, m.Store(), m.Map.Interpolant, m.Drift(), m.Shape, config)
	}
	sampler, err := teacher(mfm.SDESampling, c.ReferenceSteps)
	if err != nil {
		return r, err
	}
	rewards, err := v.posterior(ctx, sampler, c.Reference)
	if err != nil {
		sampler.Finalize()
		return r, fmt.Errorf("reference: %w", err)
	}
	denoised, err := v.denoised(ctx, sampler)
	sampler.Finalize()
	if err != nil {
		return r, err
	}
	reference := make([][]float64, len(rewards))
	for k, of := range rewards {
		reference[k] = valuesOf(of, c.Reference, c.Reference)[0]
		halves := valuesOf(of, c.Reference, c.Reference/2)
		one := RewardValues{Reward: c.Rewards[k].Name, Halves: metric.Some(stat.Correlation(defined(halves[0], halves[1])))}
		one.Effective = effective(of, c.Reference)
		of, _, _ := defined(reference[k], reference[k])
		mean, sd := stat.MeanStdDev(of, nil)
		one.Mean, one.SD = metric.Some(mean), metric.Some(sd)
		r.Rewards = append(r.Rewards, one)
	}
	add := func(e ValueEstimate, rewards [][]float64, samples int) {
		for k, of := range rewards {
			rng := rand.New(rand.NewPCG(uint64(c.Seed), 33))
			r.Rewards[k].Estimates = append(r.Rewards[k].Estimates, e.compared(valuesOf(of, samples, e.N), reference[k], rng))
		}
	}
	add(ValueEstimate{Method: ByDenoiser, N: 1, Steps: 1, NFE: m.Map.NFE()}, denoised, 1)
	estimates := []ValueEstimate{{Method: ByMap, Steps: 1}}
	for _, steps := range c.GLASS {
		estimates = append(estimates, ValueEstimate{Method: ByGLASS, Steps: steps})
	}
	for _, e := range append(estimates, ValueEstimate{Method: BySDE, Steps: c.ReferenceSteps / 2}) {
		all, samples, calls := c.N, c.Samples, m.Map.NFE()
		switch e.Method {
		case ByMap:
			sampler, err = mfm.NewSampler(b, m.Model, config)
			calls = 1 // which are those of its network
		case ByGLASS:
			sampler, err = teacher(mfm.ODESampling, e.Steps)
		default:
			sampler, err = teacher(mfm.SDESampling, e.Steps)
			all, samples = []int{c.Reference}, c.Reference
		}
		if err != nil {
			return r, err
		}
		calls *= sampler.NFE()
		rewards, err := v.posterior(ctx, sampler, samples)
		sampler.Finalize()
		if err != nil {
			return r, fmt.Errorf("%s, %d steps: %w", e.Method, e.Steps, err)
		}
		for _, n := range all {
			e.N, e.NFE = n, n*calls
			add(e, rewards, samples)
		}
	}
	return r, nil
}

// valuation returns the states of a setting.
func (m *Model) valuation(ctx context.Context, b compute.Backend, c ValueSetting) (*valuation, error) {
	rewards, err := m.rewardsOf(b, c)
	if err != nil {
		return nil, err
	}
	v := &valuation{Model: m, setting: c, rewards: rewards, rng: rand.New(rand.NewPCG(uint64(c.Seed), 31))}
	config := mfm.DefaultSamplerConfig()
	config.Steps, config.Chunk = stateSteps, m.rows(b)
	sampler, err := mfm.NewSampler(b, m.Model, config)
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	each := c.States
	if m.Classes > 0 {
		each, v.labels = 1, slices.Repeat([]int32{int32(m.Classes)}, c.States)
	}
	if v.states, err = mfm.Flat(sampler.Unconditional(ctx, v.rng.Int64(), each, v.labels)); err != nil {
		return nil, fmt.Errorf("samples for the states: %w", err)
	}
	alpha, beta, _, _ := m.Map.Interpolant.At(c.T)
	for i, z := range v.states {
		v.states[i] = float32(alpha*v.rng.NormFloat64() + beta*float64(z))
	}
	return v, nil
}

// posterior returns the rewards of n posterior samples of each state, [rewards][states·n].
func (v *valuation) posterior(ctx context.Context, s *mfm.Sampler, n int) ([][]float64, error) {
	flat, err := mfm.Flat(s.Posterior(ctx, v.rng.Int64(), v.setting.T, latent.States(v.states, v.Shape), n, v.labels))
	if err != nil {
		return nil, err
	}
	return v.evaluate(ctx, flat)
}

// denoised returns the rewards of the denoiser at each state, [rewards][states].
func (v *valuation) denoised(ctx context.Context, s *mfm.Sampler) ([][]float64, error) {
	flat, err := mfm.Flat(s.Denoiser(ctx, v.setting.T, latent.States(v.states, v.Shape), v.labels))
	if err != nil {
		return nil, err
	}
	return v.evaluate(ctx, flat)
}

// evaluate returns the rewards of latents, [rewards][latents].
func (v *valuation) evaluate(ctx context.Context, latents []float32) ([][]float64, error) {
	all := make([][]float64, len(v.rewards))
	for part := range slices.Chunk(latents, 16*chunk*v.Elements()) { // as many pictures are in memory
		pixels, err := v.decoder.decode(ctx, part)
		if err != nil {
			return nil, err
		}
		var labels []int32
		if v.labels != nil {
			labels = slices.Repeat(v.labels[:1], len(part)/v.Elements())
		}
		for k, r := range v.rewards {
			values, err := r.values(ctx, pixels, labels)
			if err != nil {
				return nil, fmt.Errorf("reward %q: %w", v.setting.Rewards[k].Name, err)
			}
			all[k] = append(all[k], values...)
		}
	}
	return all, nil
}
