package steer

import (
	"fmt"
	"math"
)

// Series are means over the particles at each step of a run. They show a failure of steering before
// the samples do.
type Series struct {
	// Times are those at which the steps begin.
	Times []float64 `json:"times"`
	// Ratio is |steering|/|base|, the ratio of root mean squares.
	Ratio []float64 `json:"ratio"`
	// Effective is the effective number of posterior samples of a particle: the exponential of the
	// entropy of their weights; 0 if none are drawn.
	Effective []float64 `json:"effective"`
	// Std is the root mean square deviation of a particle's posterior samples from their mean,
	// per element.
	Std []float64 `json:"std"`
	// Reward is the mean of λ_t r over a particle's posterior samples that have a reward, and over
	// the particles that have such samples; 0 if there are none.
	Reward []float64 `json:"reward"`
	// Lambda is λ_t.
	Lambda []float64 `json:"lambda"`
	// Value is the estimate of V_t.
	Value []float64 `json:"value"`
	// Bad is the number of rewards per particle that are NaN or +Inf.
	Bad []float64 `json:"bad"`
	// Particles is the effective sample size of a particle filter before resampling, as a share of
	// its particles; in the last step the smaller one of this and the share by the final weights.
	// Other methods have 0.
	Particles []float64 `json:"particles"`
}

// newSeries returns the means of series, [steps, columns], which is a sum over calls.
func newSeries(c Config, series []float64, calls int) Series {
	times := c.Times()
	s := Series{Times: times[:len(times)-1]}
	for k, t := range s.Times {
		s.Lambda = append(s.Lambda, c.lambda(max(t, c.Start)))
		row := series[k*columns : (k+1)*columns]
		for i, to := range []*[]float64{
			ratioColumn: &s.Ratio, effectiveColumn: &s.Effective, stdColumn: &s.Std, rewardColumn: &s.Reward,
			valueColumn: &s.Value, badColumn: &s.Bad, particlesColumn: &s.Particles,
		} {
			*to = append(*to, row[i]/float64(calls))
		}
	}
	return s
}

// Thresholds are those beyond which [Series.Warnings] reports a series.
type Thresholds struct {
	// Ratio is the largest ratio of the steering term to the base term.
	Ratio float64
	// Effective is the smallest effective number of posterior samples.
	Effective float64
	// Std is reported in the first half of the time, if it is at most this share of that in the
	// second step.
	Std float64
	// Fall is the largest decrease of the mean of λ r, in nats with the λ of the last step, from
	// its largest value so far. A tenth of that value is allowed in addition.
	Fall float64
	// Particles is the smallest share of a filter's particles that carry the weight. A filter with
	// at most 1/Particles particles never falls below it.
	Particles float64
}

// DefaultThresholds has Ratio 10, Effective 1.5, Std 0.02, Fall 3 and Particles 0.05.
func DefaultThresholds() Thresholds {
	return Thresholds{Ratio: 10, Effective: 1.5, Std: 0.02, Fall: 3, Particles: 0.05}
}

// Warnings returns a sentence for each series that is beyond its threshold. n is the number of
// posterior samples that the estimator draws for a state.
func (s Series) Warnings(t Thresholds, n int) []string {
	var out []string
	warn := func(values []float64, beyond func(i int) bool, text, advice string) {
		count, first := 0, -1
		for i := range values {
			if beyond(i) {
				if count++; first < 0 {
					first = i
				}
			}
		}
		if count > 0 {
			out = append(out, fmt.Sprintf("%s at %d of %d steps, first at t = %.3g (%.3g): %s",
				text, count, len(values), s.Times[first], values[first], advice))
		}
	}
	warn(s.Ratio, func(i int) bool { return s.Ratio[i] > t.Ratio },
		fmt.Sprintf("the steering is longer than %g times the base", t.Ratio),
		"use more steps, a smaller λ, or clipping")
	if n > 1 {
		warn(s.Effective, func(i int) bool { return s.Effective[i] > 0 && s.Effective[i] < t.Effective },
			fmt.Sprintf("fewer than %g of %d posterior samples carry the weight", t.Effective, n),
			"the estimate is that of the best sample; use more samples or a smaller λ")
	}
	if n > 1 && len(s.Std) > 1 && len(s.Std) <= len(s.Times) {
		second := s.Std[1] // a particle filter draws nothing in its first step
		warn(s.Std, func(i int) bool { return i > 0 && s.Times[i] < 0.5 && s.Std[i] <= t.Std*second },
			fmt.Sprintf("the standard deviation of a state's posterior samples is at most %g of that in the "+
				"second step",
				t.Std),
			"samples of the map may depend too weakly on its noise, see package diagnose")
	}
	fall := s.fall()
	warn(s.Reward, func(i int) bool { return fall[i] > t.Fall },
		fmt.Sprintf("the mean reward of the posterior samples is more than %g nats below its largest value so far",
			t.Fall),
		"the steering leads away from the reward; use more samples or more steps")
	warn(s.Particles, func(i int) bool { return s.Particles[i] > 0 && s.Particles[i] < t.Particles },
		fmt.Sprintf("less than %g of the particles carry the weight", t.Particles),
		"the twist is far from the value; use more posterior samples or more particles")
	warn(s.Bad, func(i int) bool { return s.Bad[i] > 0 },
		"rewards are NaN or +Inf and have no weight", "correct the reward")
	return out
}

// fall returns by how much the mean of λ r is below its largest value so far, less a tenth of that
// value; 0 if no posterior sample has a reward. Rewards are scaled to the last λ, so a schedule of
// λ has no effect.
func (s Series) fall() []float64 {
	most, fall := math.Inf(-1), make([]float64, len(s.Reward))
	for i, v := range s.Reward {
		if i < len(s.Lambda) && s.Lambda[i] != 0 {
			v *= s.Lambda[len(s.Lambda)-1] / s.Lambda[i]
		}
		if i < len(s.Effective) && s.Effective[i] > 0 && v != 0 {
			most = math.Max(most, v)
			fall[i] = most - v - math.Abs(most)/10
		}
	}
	return fall
}
