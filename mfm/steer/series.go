package steer

import (
	"fmt"
	"math"
)

// Series are means over the particles at each step of a run: what shows that steering fails before its samples do.
type Series struct {
	Times     []float64 `json:"times"`     // at which the steps begin
	Ratio     []float64 `json:"ratio"`     // |steering|/|base|, root mean squares
	Effective []float64 `json:"effective"` // how many of a particle's draws count: e to the entropy of their weights; 0 where nothing is drawn
	Spread    []float64 `json:"spread"`    // root mean square deviation of a particle's draws, per element
	Reward    []float64 `json:"reward"`    // mean of λ_t r over a particle's draws that have a reward, and over the particles that have such draws; 0 where there are none
	Lambda    []float64 `json:"lambda"`    // λ_t
	Value     []float64 `json:"value"`     // the estimate of V_t
	Bad       []float64 `json:"bad"`       // rewards that were NaN or +Inf, a particle
	Particles []float64 `json:"particles"` // of a filter: effective sample size of a set before it is resampled, of the last step the smaller one of that and the final weights', as a share of its particles; 0 otherwise
}

// newSeries returns the means of series, [steps, columns], that were summed over calls.
func newSeries(c Config, series []float64, calls int) Series {
	times := c.Times()
	s := Series{Times: times[:len(times)-1]}
	for k, t := range s.Times {
		s.Lambda = append(s.Lambda, c.lambda(max(t, c.Start)))
		row := series[k*columns : (k+1)*columns]
		for i, to := range []*[]float64{ratioColumn: &s.Ratio, effectiveColumn: &s.Effective, spreadColumn: &s.Spread, rewardColumn: &s.Reward, valueColumn: &s.Value, badColumn: &s.Bad, particlesColumn: &s.Particles} {
			*to = append(*to, row[i]/float64(calls))
		}
	}
	return s
}

// Thresholds say from where on a series is a warning.
type Thresholds struct {
	Ratio     float64 // steering is longer than this many times the base
	Effective float64 // fewer draws than this count
	Spread    float64 // in the first half of the time draws spread by no more than this share of what they did in the second step, or not at all
	Fall      float64 // the mean of λ r over the draws, in nats and with the last step's λ, falls below what it was by more than this and a tenth of what it was
	Particles float64 // fewer than this share of a filter's particles carry the weight; sets of no more than its inverse cannot show it
}

// DefaultThresholds warns of steering longer than ten times the base, of less than 1.5 draws that count, of draws that spread by less than a fiftieth of what they did, of a mean reward that falls by more than 3 nats and a tenth, and of less than a
// twentieth of a filter's particles that count.
func DefaultThresholds() Thresholds {
	return Thresholds{Ratio: 10, Effective: 1.5, Spread: 0.02, Fall: 3, Particles: 0.05}
}

// Warnings says in plain words what the series show of a run whose estimator draws n samples, at most one sentence for each kind.
func (s Series) Warnings(t Thresholds, n int) []string {
	var out []string
	warn := func(values []float64, wrong func(i int) bool, text, advice string) {
		count, first := 0, -1
		for i := range values {
			if wrong(i) {
				if count++; first < 0 {
					first = i
				}
			}
		}
		if count > 0 {
			out = append(out, fmt.Sprintf("%s at %d of %d steps, first at t = %.3g (%.3g): %s", text, count, len(values), s.Times[first], values[first], advice))
		}
	}
	warn(s.Ratio, func(i int) bool { return s.Ratio[i] > t.Ratio }, fmt.Sprintf("the steering is longer than %g times the base", t.Ratio), "more steps, a smaller λ, or clipping may help")
	if n > 1 {
		warn(s.Effective, func(i int) bool { return s.Effective[i] > 0 && s.Effective[i] < t.Effective }, fmt.Sprintf("fewer than %g of %d draws carry the weight", t.Effective, n), "the estimate is that of its best draw, take more of them or a smaller λ")
	}
	if n > 1 && len(s.Spread) > 1 && len(s.Spread) <= len(s.Times) {
		first := s.Spread[1] // in its first step a filter draws nothing
		warn(s.Spread, func(i int) bool { return i > 0 && s.Times[i] < 0.5 && s.Spread[i] <= t.Spread*first }, fmt.Sprintf("a state's draws spread by no more than %g of what they did at first", t.Spread), "the map may ignore its noise, see package diagnose")
	}
	most, fell := math.Inf(-1), make([]float64, len(s.Reward))
	for i, v := range s.Reward {
		if i < len(s.Lambda) && s.Lambda[i] != 0 { // what a schedule of λ does is not the draws' doing
			v *= s.Lambda[len(s.Lambda)-1] / s.Lambda[i]
		}
		if i < len(s.Effective) && s.Effective[i] > 0 && v != 0 { // something is drawn that has a reward
			most = math.Max(most, v)
			fell[i] = most - v - math.Abs(most)/10
		}
	}
	warn(s.Reward, func(i int) bool { return fell[i] > t.Fall }, fmt.Sprintf("the draws' mean reward is more than %g nats below what it was", t.Fall), "the steering leads away from the reward, take more draws or more steps")
	warn(s.Particles, func(i int) bool { return s.Particles[i] > 0 && s.Particles[i] < t.Particles }, fmt.Sprintf("less than %g of the particles carry the weight", t.Particles), "the twist is far from the value, give it more draws, or the set more particles")
	warn(s.Bad, func(i int) bool { return s.Bad[i] > 0 }, "rewards are NaN or +Inf and have no weight", "mend the reward")
	return out
}
