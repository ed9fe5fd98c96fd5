package steer

import (
	"math"
	"math/rand/v2"

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

// add adds the outputs of a call, of which the first keep samples are used, and its series.
func (r *Result) add(out []*tensors.Tensor, keep, elements int, series *[]float64) error {
	samples, err := tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return err
	}
	r.Samples = append(r.Samples, samples[:keep*elements]...)
	rewards, err := tensors.CopyFlatData[float32](out[1])
	if err != nil {
		return err
	}
	r.Rewards = appendFloat64s(r.Rewards, rewards[:keep])
	means, err := tensors.CopyFlatData[float32](out[2])
	if err != nil {
		return err
	}
	if *series == nil {
		*series = make([]float64, len(means))
	}
	for i, v := range means {
		(*series)[i] += float64(v)
	}
	counts, err := tensors.CopyFlatData[int64](out[3])
	if err != nil {
		return err
	}
	drawn := int64(len(rewards))
	for i := range counts {
		counts[i] = counts[i] * int64(keep) / drawn
	}
	r.Counts = r.Counts.Add(Counts{counts[0], counts[1], counts[2], counts[3]})
	if len(out) > 5 {
		logWeights, err := tensors.CopyFlatData[float32](out[5])
		if err != nil {
			return err
		}
		r.LogWeights = appendFloat64s(r.LogWeights, logWeights[:keep])
	}
	if len(out) > 6 {
		logZ, err := tensors.CopyFlatData[float32](out[6])
		if err != nil {
			return err
		}
		r.LogZ = appendFloat64s(r.LogZ, logZ)
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
