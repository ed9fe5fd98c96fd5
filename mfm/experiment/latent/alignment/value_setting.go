package alignment

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
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
	// the second. See [RewardValues.Reachable].
	Halves metric.Optional `json:"reference_halves,omitzero"`
	// Effective is the smallest effective number of samples of the reference over the states,
	// (Σw)²/Σw² of the weights w = e^r. The logarithm of their mean is too low by about
	// (1/Effective - 1/Reference)/2, and by more if Effective is small. Halves does not show this.
	Effective float64         `json:"reference_effective"`
	Estimates []ValueEstimate `json:"estimates"`
}

// Reachable returns √(2h/(1+h)) for h = Halves, about the correlation that a perfect estimate has
// with the reference. A negative h counts as 0. It is undefined if Halves is.
func (r RewardValues) Reachable() metric.Optional {
	if r.Halves.IsZero() {
		return metric.Optional{}
	}
	h := max(r.Halves.Float(), 0)
	return metric.Some(math.Sqrt(2 * h / (1 + h)))
}

// By returns the estimates of a method with the given steps for each sample, in the order of their
// evaluations, and without those whose correlation is undefined.
func (r RewardValues) By(method ValueMethod, steps int) (of []ValueEstimate) {
	for _, e := range r.Estimates {
		if e.Method == method && e.Steps == steps && !e.Pearson.IsZero() {
			of = append(of, e)
		}
	}
	slices.SortFunc(of, func(a, b ValueEstimate) int { return cmp.Compare(a.NFE, b.NFE) })
	return of
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

// Of returns the estimates for the reward with a name, without estimates if there is none.
func (r ValueResult) Of(name string) RewardValues {
	for _, of := range r.Rewards {
		if of.Reward == name {
			return of
		}
	}
	return RewardValues{Reward: name}
}
