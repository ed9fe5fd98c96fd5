package sets

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// Truth samples the exact posteriors of a set whose columns are standardized, z = (x -
// shift)/scale. Those of a block without a closed form are samples of the generator, drawn again
// with the weights N(x_t; β_t z, α_t² I): two pools of them, so that two sets of posterior samples
// share none.
type Truth struct {
	blocks []truthBlock
}

type truthBlock struct {
	dim     int
	mixture *gmm.Mixture   // nil without a closed form
	pools   [2][][]float64 // samples of the block, standardized
}

// NewTruth returns the posteriors of a set with pools of n samples. shift and scale have one number
// for each column; a scale that is not positive is an error.
func NewTruth(s Set, shift, scale []float64, n int, rng *rand.Rand) (*Truth, error) {
	if len(shift) != s.Dim() || len(scale) != s.Dim() || n < 1 || !(floats.Min(scale) > 0) {
		return nil, fmt.Errorf("posteriors of %s with shift %v, scale %v and %d samples: "+
			"give %d of each, positive scales, and samples", s.Name, shift, scale, n, s.Dim())
	}
	t := new(Truth)
	for _, b := range s.Blocks {
		block := truthBlock{dim: b.Dim}
		if b.Mixture != nil {
			var err error
			if block.mixture, err = standardized(b.Mixture, shift, scale); err != nil {
				return nil, fmt.Errorf("posteriors of %s: %w", s.Name, err)
			}
		} else {
			for half := range block.pools {
				block.pools[half] = (Set{Blocks: []Block{b}}).Sample(rng, n)
				for _, x := range block.pools[half] {
					floats.Sub(x, shift[:b.Dim])
					floats.Div(x, scale[:b.Dim])
				}
			}
		}
		t.blocks = append(t.blocks, block)
		shift, scale = shift[b.Dim:], scale[b.Dim:]
	}
	return t, nil
}

// standardized returns the mixture of (X - shift)/scale.
func standardized(m *gmm.Mixture, shift, scale []float64) (*gmm.Mixture, error) {
	means, covariances := make([][]float64, m.Len()), make([][][]float64, m.Len())
	for k := range means {
		means[k], covariances[k] = m.Component(k)
		for i := range means[k] {
			means[k][i] = (means[k][i] - shift[i]) / scale[i]
			for j := range covariances[k][i] {
				covariances[k][i][j] /= scale[i] * scale[j]
			}
		}
	}
	return gmm.New(m.Weights(), means, covariances)
}

// Posterior is an exact posterior p_{1|t}(.|x).
type Posterior struct {
	blocks []posteriorBlock
	// Std is its standard deviation √(tr Cov/dim).
	Std float64
	// Effective is the smallest effective number of samples of a pool, (Σ w)²/Σ w², for each half
	// of [Posterior.Sample], and infinite if all blocks have closed forms.
	Effective [2]float64
}

type posteriorBlock struct {
	truthBlock
	mixture *gmm.Mixture
	sums    [2][]float64 // cumulative weights of the pools
}

// Posterior returns p_{1|t}(.|x) for a standardized state x, [dim], at a time t in [0, 1).
func (t *Truth) Posterior(ip interpolant.Schedule, time float64, x []float64) *Posterior {
	p := &Posterior{Effective: [2]float64{math.Inf(1), math.Inf(1)}}
	alpha, beta, _, _ := ip.At(time)
	variance := 0.0
	for _, b := range t.blocks {
		at := posteriorBlock{truthBlock: b}
		if b.mixture != nil {
			at.mixture = b.mixture.Posterior(ip, time, x[:b.dim])
			std := at.mixture.Std()
			variance += std * std * float64(b.dim)
		} else {
			for half, pool := range b.pools {
				weights := weigh(pool, x[:b.dim], alpha, beta)
				sum, square := floats.Sum(weights), floats.Dot(weights, weights)
				p.Effective[half] = min(p.Effective[half], sum*sum/square)
				variance += weightedVariance(pool, weights, sum) / 2
				at.sums[half] = floats.CumSum(weights, weights)
			}
		}
		p.blocks = append(p.blocks, at)
		x = x[b.dim:]
	}
	dim := 0
	for _, b := range t.blocks {
		dim += b.dim
	}
	p.Std = math.Sqrt(variance / float64(dim))
	return p
}

// weigh returns N(x; β z, α² I) for each z, up to a common factor.
func weigh(pool [][]float64, x []float64, alpha, beta float64) []float64 {
	weights := make([]float64, len(pool))
	for i, z := range pool {
		for j, v := range z {
			d := x[j] - beta*v
			weights[i] -= d * d
		}
	}
	largest := floats.Max(weights)
	for i, w := range weights {
		weights[i] = math.Exp((w - largest) / (2 * alpha * alpha))
	}
	return weights
}

// weightedVariance returns the sum over the columns of the variance of weighted samples.
func weightedVariance(pool [][]float64, weights []float64, sum float64) (variance float64) {
	for j := range pool[0] {
		mean, square := 0.0, 0.0
		for i, z := range pool {
			mean += weights[i] * z[j]
			square += weights[i] * z[j] * z[j]
		}
		mean /= sum
		variance += square/sum - mean*mean
	}
	return variance
}

// Sample returns n samples, [n][dim], from the pools numbered half, 0 or 1.
func (p *Posterior) Sample(rng *rand.Rand, n, half int) [][]float64 {
	out := make([][]float64, n)
	for _, b := range p.blocks {
		if b.mixture != nil {
			for i, z := range b.mixture.Sample(rng, n) {
				out[i] = append(out[i], z...)
			}
			continue
		}
		sums, pool := b.sums[half], b.pools[half]
		for i := range out {
			k := sort.SearchFloat64s(sums, rng.Float64()*sums[len(sums)-1])
			out[i] = append(out[i], pool[min(k, len(pool)-1)]...)
		}
	}
	return out
}
