package steer

import "fmt"

// Series are means over the particles at each step of a run: what shows that steering fails before its samples do.
type Series struct {
	Times     []float64 `json:"times"`     // at which the steps begin
	Ratio     []float64 `json:"ratio"`     // |steering|/|base|, root mean squares
	Effective []float64 `json:"effective"` // how many of a particle's draws count: e to the entropy of their weights; 0 where nothing is drawn
	Spread    []float64 `json:"spread"`    // root mean square deviation of a particle's draws, per element
	Reward    []float64 `json:"reward"`    // mean of λ r over a particle's draws
	Value     []float64 `json:"value"`     // the estimate of V_t
	Bad       []float64 `json:"bad"`       // rewards that were NaN or +Inf, a particle
}

// newSeries returns the means of series, [steps, columns], that were summed over calls.
func newSeries(c Config, series []float64, calls int) Series {
	times := c.Times()
	s := Series{Times: times[:len(times)-1]}
	for k := range s.Times {
		row := series[k*columns : (k+1)*columns]
		for i, to := range []*[]float64{ratioColumn: &s.Ratio, effectiveColumn: &s.Effective, spreadColumn: &s.Spread, rewardColumn: &s.Reward, valueColumn: &s.Value, badColumn: &s.Bad} {
			*to = append(*to, row[i]/float64(calls))
		}
	}
	return s
}

// Thresholds say from where on a series is a warning.
type Thresholds struct {
	Ratio     float64 // steering is longer than this many times the base
	Effective float64 // fewer draws than this count
}

// DefaultThresholds warns of steering longer than ten times the base and of less than 1.5 draws that count.
func DefaultThresholds() Thresholds { return Thresholds{Ratio: 10, Effective: 1.5} }

// Warnings says in plain words what the series show of a run whose estimator draws n samples, at most one sentence for each kind.
func (s Series) Warnings(t Thresholds, n int) []string {
	var out []string
	warn := func(values []float64, wrong func(v float64) bool, text, advice string) {
		count, first := 0, -1
		for i, v := range values {
			if wrong(v) {
				if count++; first < 0 {
					first = i
				}
			}
		}
		if count > 0 {
			out = append(out, fmt.Sprintf("%s at %d of %d steps, first at t = %.3g (%.3g): %s", text, count, len(values), s.Times[first], values[first], advice))
		}
	}
	warn(s.Ratio, func(v float64) bool { return v > t.Ratio }, fmt.Sprintf("the steering is longer than %g times the base", t.Ratio), "more steps, a smaller λ, or clipping may help")
	if n > 1 {
		warn(s.Effective, func(v float64) bool { return v > 0 && v < t.Effective }, fmt.Sprintf("fewer than %g of %d draws carry the weight", t.Effective, n), "the estimate is that of its best draw, take more of them or a smaller λ")
	}
	warn(s.Bad, func(v float64) bool { return v > 0 }, "rewards are NaN or +Inf and have no weight", "mend the reward")
	return out
}
