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
	States      int                    `json:"states"`  // number of x_t, [height, width, channels] each
	Samples     int                    `json:"samples"` // posterior samples of each method for each state
	N           []int                  `json:"n"`       // samples of an estimate, divisors of Samples
	// GLASS are numbers of Euler steps of the posterior's ODE by the map's drift.
	GLASS []int `json:"glass"`
	// Reference and ReferenceSteps are the number of samples for each state and the steps of the
	// reference, the posterior's SDE by the same drift. Both are even. A second reference of half
	// the steps shows the error of the discretization.
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
	for _, t := range []float64{0.1, 0.3, 0.6} {
		all = append(all, ValueSetting{
			Rewards: rewards, T: t, States: 24, Samples: 16, N: []int{1, 4, 16}, GLASS: []int{1, 2, 4, 8},
			Reference: 64, ReferenceSteps: 20,
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
	case c.ReferenceSteps < 6 || c.ReferenceSteps > 1<<12 || c.ReferenceSteps%2 != 0:
		return fmt.Errorf("reference_steps = %d: must be even, and lie in [6, 4096]", c.ReferenceSteps)
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

// ValueMethod is a method of estimating a value.
type ValueMethod string

// The methods of estimating a value. All but the last use posterior samples.
const (
	ByMap      ValueMethod = "map"      // one step of the map
	ByGLASS    ValueMethod = "glass"    // Euler steps of the posterior's ODE by the map's drift
	BySDE      ValueMethod = "sde"      // a second reference, of half the steps
	ByDenoiser ValueMethod = "denoiser" // the reward r(D_t(x)) of the denoiser
)

// ValueEstimate compares estimates of a value with those of the reference over the states.
// Correlation, bias and error are means over the Samples/N disjoint subsets of samples. An estimate
// is undefined if no sample of its subset has a finite reward. It and the states whose reference is
// undefined do not count.
type ValueEstimate struct {
	Method ValueMethod `json:"method"`
	N      int         `json:"n"`     // posterior samples
	Steps  int         `json:"steps"` // for each of them
	NFE    int         `json:"nfe"`   // evaluations of the map's network, without those of the reward
	// Pearson is the correlation with the reference, undefined if either is constant. PearsonSE is
	// its standard error over the states, by the bootstrap.
	Pearson   metric.Optional `json:"pearson,omitzero"`
	PearsonSE metric.Optional `json:"pearson_se,omitzero"`
	Bias      metric.Optional `json:"bias,omitzero"`      // mean of the difference from the reference
	RMS       metric.Optional `json:"rms,omitzero"`       // its root mean square
	Undefined float64         `json:"undefined,omitzero"` // share of undefined estimates
}

// RewardValues has the estimates for a reward.
type RewardValues struct {
	Reward string `json:"reward_name"`
	// Mean and SD are mean and standard deviation of the reference over the states.
	Mean metric.Optional `json:"reference_mean,omitzero"`
	SD   metric.Optional `json:"reference_sd,omitzero"`
	// Halves is the correlation h of the reference by the first half of its samples with that by
	// the second. A perfect estimate has about the correlation √(2h/(1+h)) with the reference.
	Halves metric.Optional `json:"reference_halves,omitzero"`
	// Effective is the smallest effective number of samples of the reference over the states,
	// (Σw)²/Σw² of the weights w = e^r. The logarithm of their mean is too low by about
	// (1/Effective - 1/Reference)/2, and by more if Effective is small. Halves does not show this.
	Effective float64         `json:"reference_effective"`
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
		rewards, err := v.posterior(ctx, sampler, samples)
		sampler.Finalize()
		if err != nil {
			return r, fmt.Errorf("%s, %d steps: %w", e.Method, e.Steps, err)
		}
		for _, n := range all {
			e.N, e.NFE = n, n*sampler.NFE()*calls
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

// valuesOf returns log mean e^r of each subset of n rewards of the given number for each state,
// [samples/n][states]. It is NaN if no reward of the subset is finite.
func valuesOf(rewards []float64, samples, n int) [][]float64 {
	subsets := make([][]float64, samples/n)
	for from := 0; from < len(rewards); from += n {
		value := math.NaN()
		if of := usable(rewards[from : from+n]); len(of) > 0 {
			value = floats.LogSumExp(of) - math.Log(float64(n))
		}
		i := from % samples / n
		subsets[i] = append(subsets[i], value)
	}
	return subsets
}

// effective returns the smallest effective number of samples over states of so many rewards each, 0
// if a state has no finite reward.
func effective(rewards []float64, samples int) float64 {
	least := math.Inf(1)
	for of := range slices.Chunk(rewards, samples) {
		number := 0.0
		if of = usable(of); len(of) > 0 {
			sum, square := floats.LogSumExp(of), 0.0
			for _, v := range of {
				square += math.Exp(2 * (v - sum))
			}
			number = 1 / square
		}
		least = min(least, number)
	}
	return least
}

// defined returns the pairs of numbers of which neither is NaN, and no weights.
func defined(a, b []float64) (x, y, weights []float64) {
	for i := range a {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			x, y = append(x, a[i]), append(y, b[i])
		}
	}
	return x, y, nil
}

// pearson returns the mean correlation of subsets of estimates with the reference at the given
// states, over the subsets for which it is defined; NaN if it is defined for none.
func pearson(subsets [][]float64, reference []float64, states []int) float64 {
	var all []float64
	for _, values := range subsets {
		a, b := make([]float64, len(states)), make([]float64, len(states))
		for i, s := range states {
			a[i], b[i] = values[s], reference[s]
		}
		x, y, _ := defined(a, b)
		if len(x) > 1 {
			if c := stat.Correlation(x, y, nil); !math.IsNaN(c) {
				all = append(all, c)
			}
		}
	}
	return stat.Mean(all, nil)
}

// bootstraps is the number of bootstrap samples of a standard error.
const bootstraps = 200

// compared returns e with the comparison of subsets of estimates with the reference. Bootstrap
// samples of the states come from rng.
func (e ValueEstimate) compared(subsets [][]float64, reference []float64, rng *rand.Rand) ValueEstimate {
	var differences []float64
	count := 0
	for _, values := range subsets {
		x, y, _ := defined(values, reference)
		for i := range x {
			differences = append(differences, x[i]-y[i])
		}
		for _, v := range values {
			if math.IsNaN(v) {
				count++
			}
		}
	}
	e.Undefined = float64(count) / float64(len(subsets)*len(reference))
	states := make([]int, len(reference))
	for i := range states {
		states[i] = i
	}
	e.Pearson = metric.Some(pearson(subsets, reference, states))
	var all []float64
	for range bootstraps {
		for i := range states {
			states[i] = rng.IntN(len(reference))
		}
		if p := pearson(subsets, reference, states); !math.IsNaN(p) {
			all = append(all, p)
		}
	}
	e.PearsonSE = metric.Some(stat.StdDev(all, nil))
	e.Bias = metric.Some(stat.Mean(differences, nil))
	e.RMS = metric.Some(floats.Norm(differences, 2) / math.Sqrt(float64(len(differences))))
	return e
}
