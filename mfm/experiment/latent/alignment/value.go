package alignment

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// ValueTest is the test of results of [Model.Values].
const ValueTest = "picture value"

// ValueSetting says at which states x_t the values V_t(x) = log E[e^{r(X_1)} | X_t = x] of rewards
// are estimated, and how. All rewards evaluate the same samples.
type ValueSetting struct {
	// Fingerprint is that of [Model.CheckValues]. It keeps results of different maps apart.
	Fingerprint string                 `json:"fingerprint,omitempty"`
	Rewards     []steering.NamedReward `json:"rewards"`
	T           float64                `json:"t"`       // in (0, 1)
	States      int                    `json:"states"`  // x_t
	Samples     int                    `json:"samples"` // posterior samples of each method for each state
	N           []int                  `json:"n"`       // samples of an estimate, divisors of Samples
	// GLASS are numbers of Euler steps of the posterior's ODE by the map's drift.
	GLASS []int `json:"glass"`
	// Reference and ReferenceSteps are the number of samples for each state and the steps of the
	// reference, the posterior's SDE by the same drift.
	Reference      int   `json:"reference"`
	ReferenceSteps int   `json:"reference_steps"`
	Seed           int64 `json:"seed"`
}

// ValueGrid are the settings for the shipped map: rewards without files, each as steep as in the
// grid imagenet_small.json and a fifth of it, whose values need fewer samples.
func ValueGrid() (all []ValueSetting) {
	var rewards []steering.NamedReward
	for _, r := range []struct{ name, reward string }{
		{"blue, weight 10", `{"kind":"color","hue":240,"weight":10}`},
		{"blue, weight 50", `{"kind":"color","hue":240,"weight":50}`},
		{"symmetry", `{"kind":"symmetry"}`},
		{"symmetry, weight 5", `{"kind":"scaled","factor":5,"of":{"kind":"symmetry"}}`},
	} {
		rewards = append(rewards, steering.NamedReward{Name: r.name, Reward: json.RawMessage(r.reward)})
	}
	for _, t := range []float64{0.1, 0.2, 0.4, 0.6} {
		all = append(all, ValueSetting{
			Rewards: rewards, T: t, States: 32, Samples: 32, N: []int{1, 4, 16, 32}, GLASS: []int{1, 2, 4, 8},
			Reference: 128, ReferenceSteps: 30,
		})
	}
	return all
}

// Validate returns an error that names the first value out of range.
func (c ValueSetting) Validate() error {
	switch {
	case len(c.Rewards) == 0:
		return fmt.Errorf("rewards: none: give at least one")
	case !(c.T > 0 && c.T < 1):
		return fmt.Errorf("t = %g: must lie in (0, 1)", c.T)
	case c.States < 3 || c.States > 1<<12:
		return fmt.Errorf("states = %d: must lie in [3, 4096]", c.States)
	case c.Samples < 1 || c.Samples > 1<<12:
		return fmt.Errorf("samples = %d: must lie in [1, 4096]", c.Samples)
	case c.Reference < 2 || c.Reference > 1<<14 || c.Reference%2 != 0:
		return fmt.Errorf("reference = %d samples: must be even, and lie in [2, 16384]", c.Reference)
	case c.ReferenceSteps < 3 || c.ReferenceSteps > 1<<12:
		return fmt.Errorf("reference_steps = %d: must lie in [3, 4096]", c.ReferenceSteps)
	case len(c.N) == 0:
		return fmt.Errorf("n: none: give at least one number of samples")
	}
	for _, n := range c.N {
		if n < 1 || c.Samples%n != 0 {
			return fmt.Errorf("n = %d: must be a divisor of samples = %d", n, c.Samples)
		}
	}
	for _, steps := range c.GLASS {
		if steps < 1 || steps > 1<<12 {
			return fmt.Errorf("glass = %d steps: must lie in [1, 4096]", steps)
		}
	}
	for _, r := range c.Rewards {
		if r.Name == "" || r.Reward == nil || r.HeldOut != nil {
			return fmt.Errorf("reward %q: give each a name and a reward, and no held-out reward", r.Name)
		}
	}
	return nil
}

// ValueMethod is a way to estimate a value.
type ValueMethod string

// The ways to estimate a value. All but the last use posterior samples.
const (
	ByMap      ValueMethod = "map"      // one step of the map
	ByGLASS    ValueMethod = "glass"    // Euler steps of the posterior's ODE by the map's drift
	ByDenoiser ValueMethod = "denoiser" // the reward r(D_t(x)) of the denoiser
)

// ValueEstimate compares estimates of a value with those of the reference over the states.
// Correlation, bias and error are means over the Samples/N disjoint sets of samples.
type ValueEstimate struct {
	Method ValueMethod `json:"method"`
	N      int         `json:"n"`     // posterior samples
	Steps  int         `json:"steps"` // for each of them
	NFE    int         `json:"nfe"`   // evaluations of the map's network, without those of the reward
	// Pearson is the correlation with the reference, undefined if either is constant.
	Pearson metric.Optional `json:"pearson,omitzero"`
	Bias    float64         `json:"bias"` // mean of the difference from the reference
	RMS     float64         `json:"rms"`  // its root mean square
}

// RewardValues has the estimates for a reward.
type RewardValues struct {
	Reward string `json:"reward_name"`
	// Mean and SD are mean and standard deviation of the reference over the states.
	Mean float64 `json:"reference_mean"`
	SD   float64 `json:"reference_sd"`
	// Halves is the correlation h of the reference by the first half of its samples with that by
	// the second. A perfect estimate has about the correlation √(2h/(1+h)) with the reference.
	Halves    metric.Optional `json:"reference_halves,omitzero"`
	Estimates []ValueEstimate `json:"estimates"`
}

// ValueResult compares estimates of values at one time.
type ValueResult struct {
	Test           string         `json:"test"` // [ValueTest]
	T              float64        `json:"t"`
	States         int            `json:"states"`
	Samples        int            `json:"samples"`
	Reference      int            `json:"reference"`
	ReferenceSteps int            `json:"reference_steps"`
	Seed           int64          `json:"seed"`
	Rewards        []RewardValues `json:"rewards"`
}

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
	states  []float32 // flat
	labels  []int32   // of the states, that of no class; nil for a map without classes
	rng     *rand.Rand
}

// Values compares estimates of values with a reference at noised samples of the map, which have no
// class. All draw posterior samples of the same map: its own in one step, those of the posterior's
// ODE by its drift, and for the reference those of the posterior's SDE. Errors are those of
// [Model.CheckValues], and that no sample of an estimate has a reward.
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
		values, err := valuesOf(of, c.Reference, c.Reference)
		if err != nil {
			return r, fmt.Errorf("reference of %s: %w", c.Rewards[k].Name, err)
		}
		halves, err := valuesOf(of, c.Reference, c.Reference/2)
		if err != nil {
			return r, fmt.Errorf("reference of %s: %w", c.Rewards[k].Name, err)
		}
		reference[k] = values[0]
		one := RewardValues{Reward: c.Rewards[k].Name, Halves: metric.Some(stat.Correlation(halves[0], halves[1], nil))}
		one.Mean, one.SD = stat.MeanStdDev(values[0], nil)
		r.Rewards = append(r.Rewards, one)
	}
	add := func(e ValueEstimate, rewards [][]float64, samples int) error {
		for k, of := range rewards {
			sets, err := valuesOf(of, samples, e.N)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", e.Method, c.Rewards[k].Name, err)
			}
			r.Rewards[k].Estimates = append(r.Rewards[k].Estimates, e.compared(sets, reference[k]))
		}
		return nil
	}
	if err := add(ValueEstimate{Method: ByDenoiser, N: 1, Steps: 1, NFE: m.Map.NFE()}, denoised, 1); err != nil {
		return r, err
	}
	for _, steps := range append([]int{0}, c.GLASS...) {
		e := ValueEstimate{Method: ByMap, Steps: 1}
		if steps == 0 {
			sampler, err = mfm.NewSampler(b, m.Model, config)
		} else {
			e.Method, e.Steps = ByGLASS, steps
			sampler, err = teacher(mfm.ODESampling, steps)
		}
		if err != nil {
			return r, err
		}
		rewards, err := v.posterior(ctx, sampler, c.Samples)
		sampler.Finalize()
		if err != nil {
			return r, fmt.Errorf("%s, %d steps: %w", e.Method, e.Steps, err)
		}
		for _, n := range c.N {
			e.N, e.NFE = n, n*e.Steps*m.Map.NFE()
			if err := add(e, rewards, c.Samples); err != nil {
				return r, err
			}
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

// valuesOf returns log mean e^r of each set of n rewards of the given number for each state,
// [samples/n][states].
func valuesOf(rewards []float64, samples, n int) ([][]float64, error) {
	sets := make([][]float64, samples/n)
	for from := 0; from < len(rewards); from += n {
		of := usable(rewards[from : from+n])
		if len(of) == 0 {
			return nil, fmt.Errorf("none of the %d samples of state %d has a reward: use more samples, or another reward",
				n, from/samples)
		}
		set := from % samples / n
		sets[set] = append(sets[set], floats.LogSumExp(of)-math.Log(float64(n)))
	}
	return sets, nil
}

// compared returns e with the comparison of sets of estimates with the reference.
func (e ValueEstimate) compared(sets [][]float64, reference []float64) ValueEstimate {
	var pearson, square float64
	for _, values := range sets {
		pearson += stat.Correlation(values, reference, nil) / float64(len(sets))
		for i, v := range values {
			d := v - reference[i]
			e.Bias += d / float64(len(sets)*len(values))
			square += d * d / float64(len(sets)*len(values))
		}
	}
	e.Pearson, e.RMS = metric.Some(pearson), math.Sqrt(square)
	return e
}
