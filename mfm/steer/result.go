package steer

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"
)

// Result has the samples of a run and its statistics.
type Result struct {
	Samples    []float32 // [n, shape], flat
	LogWeights []float64 // logarithms of the samples' weights; nil means equal weights
	Rewards    []float64 // r of each sample, without λ; NaN and +Inf are kept
	// LogZ are estimates of log E[e^{λ r}], one for each particle filter; nil if the method has
	// none.
	LogZ []float64
	// Counts are the evaluations for all samples. If a microbatch has more samples than required,
	// its counts are scaled by the share that is used.
	Counts Counts
	Series Series
}

// add adds the outputs of a call, of which the first keep samples are used, and its series. After
// an error r and series are as before.
func (r *Result) add(out []*tensors.Tensor, keep, elements int, series *[]float64) error {
	flat := make(map[int][]float32)
	for i, x := range out {
		if i == 3 || i == 4 { // the counts, and the state of the generator
			continue
		}
		var err error
		if flat[i], err = tensors.CopyFlatData[float32](x); err != nil {
			return err
		}
	}
	counts, err := tensors.CopyFlatData[int64](out[3])
	if err != nil {
		return err
	}
	if weighted := len(out) > 5; len(r.Rewards) > 0 && weighted != (r.LogWeights != nil) {
		return fmt.Errorf("%w: samples so far and further ones must both have weights, or neither", ErrPartial)
	}
	r.Samples = append(r.Samples, flat[0][:keep*elements]...)
	r.Rewards = appendFloat64s(r.Rewards, flat[1][:keep])
	if *series == nil {
		*series = make([]float64, len(flat[2]))
	}
	for i, v := range flat[2] {
		(*series)[i] += float64(v)
	}
	drawn := int64(len(flat[1]))
	for i := range counts {
		counts[i] = counts[i] * int64(keep) / drawn
	}
	r.Counts = r.Counts.Add(Counts{counts[0], counts[1], counts[2], counts[3]})
	if len(out) > 5 {
		r.LogWeights = appendFloat64s(r.LogWeights, flat[5][:keep])
	}
	if len(out) > 6 {
		r.LogZ = appendFloat64s(r.LogZ, flat[6])
	}
	return nil
}

func appendFloat64s(to []float64, from []float32) []float64 {
	for _, v := range from {
		to = append(to, float64(v))
	}
	return to
}

// Bad returns the number of samples whose reward is NaN or +Inf, and the index of the first, -1 if
// there is none.
func (r *Result) Bad() (count, first int) {
	first = -1
	for i, v := range r.Rewards {
		if math.IsNaN(v) || math.IsInf(v, 1) {
			if count++; first < 0 {
				first = i
			}
		}
	}
	return count, first
}

// Resampled returns samples with equal weights, as many as there are. Weighted particles are
// resampled systematically, all particle filters together, where each filter has the weight of its
// Ẑ. Samples are returned as they are if they have no weights, or if the weights are not finite, as
// after the divergence of a particle.
func (r *Result) Resampled(rng *rand.Rand) []float32 {
	if r.LogWeights == nil {
		return r.Samples
	}
	n := len(r.LogWeights)
	elements, each := len(r.Samples)/n, n/max(len(r.LogZ), 1)
	weights, total := make([]float64, n), 0.0
	most := floats.Max(r.LogZ)
	for filter, z := range r.LogZ {
		row := r.LogWeights[filter*each : (filter+1)*each]
		sum := floats.LogSumExp(row)
		for i, w := range row {
			weights[filter*each+i] = math.Exp(z - most + w - sum)
			total += weights[filter*each+i]
		}
	}
	if !(total > 0) || math.IsInf(total, 1) {
		return r.Samples
	}
	out := make([]float32, 0, len(r.Samples))
	u, sum, i := rng.Float64(), weights[0], 0
	for k := range n {
		for at := (float64(k) + u) / float64(n) * total; sum < at && i < n-1; {
			i++
			sum += weights[i]
		}
		out = append(out, r.Samples[i*elements:(i+1)*elements]...)
	}
	return out
}

// Counts are numbers of evaluations of the network at one state, or of the reward at one sample: a
// batch counts once for each row. What a parametrization computes around the network is part of the
// evaluation: that of a map with a mixture prior includes the prior's flow, which is 13 denoisers
// in closed form for the six midpoint steps of the digits' prior.
type Counts struct {
	// Network counts evaluations of the map or of a drift, NetworkBackward their backward passes.
	Network         int64 `json:"network"`
	NetworkBackward int64 `json:"network_backward"`
	// Reward counts evaluations of the reward, RewardBackward their backward passes.
	Reward         int64 `json:"reward"`
	RewardBackward int64 `json:"reward_backward"`
}

// NFE returns the number of function evaluations as the paper counts them: a backward pass of the
// network counts twice, the reward once, with or without its gradient. With K steps and N posterior
// samples a sample costs K+4NK by MFM-G, K+2NK by MFM-GF, 4K+1 by DPS, KN+N by Best-of-N, 2N by
// Best-of-N from one-step samples, 3K or 5K by flow-map guidance, and 2MNK by search with M
// particles.
func (c Counts) NFE() int64 { return c.Network + 2*c.NetworkBackward + c.Reward }

// Add returns the sum of two counts.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Network:         c.Network + d.Network,
		NetworkBackward: c.NetworkBackward + d.NetworkBackward,
		Reward:          c.Reward + d.Reward,
		RewardBackward:  c.RewardBackward + d.RewardBackward,
	}
}

// Counter is an NFE counter: it counts evaluations while a graph runs. Like the state of a random
// number generator its counts are a node in the state of a loop, so what is built once and runs a
// thousand times counts a thousand times.
type Counter struct {
	counts *Node // int64 [4], in the order of Counts
}

// NewCounter returns a counter at zero.
func NewCounter(g *Graph) *Counter {
	return &Counter{counts: Zeros(g, shapes.Make(dtypes.Int64, 4))}
}

// Network adds evaluations of the network and backward passes.
func (c *Counter) Network(forward, backward int) { c.add(forward, backward, 0, 0) }

// Reward adds evaluations of the reward and backward passes.
func (c *Counter) Reward(forward, backward int) { c.add(0, 0, forward, backward) }

func (c *Counter) add(n ...int) {
	more := make([]int64, len(n))
	for i, v := range n {
		more[i] = int64(v)
	}
	c.counts = Add(c.counts, Const(c.counts.Graph(), more))
}

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
	// Speed is |base + steering|/|base|, a ratio of root mean squares as Ratio is: how long a step is
	// compared with one without steering. It is 1+Ratio if both terms have one direction.
	Speed []float64 `json:"speed"`
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
			valueColumn: &s.Value, badColumn: &s.Bad, particlesColumn: &s.Particles, speedColumn: &s.Speed,
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
