package steering

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Valued is a result with the value that it is compared by, such as a distance.
type Valued struct {
	Result
	Value float64
}

// CostPoint is the value of a method at a cost.
type CostPoint struct {
	N     int     // posterior samples or candidates
	Steps int     // of a sample
	NFE   float64 // per sample
	Value float64
	SE    float64 // standard error of Value over the seeds, 0 for one
}

// LeastByCost returns, for each N and each number of steps and of particles of a method, the mean
// value over the runs with the dynamics, renormalization, λ and SNR whose mean is least, in the
// order of their evaluations. The choice is made on the same runs, so that the error is that of
// one setting alone. It leaves out runs with PoolRewards, which are no runs of a method, runs
// without a Config, and settings whose mean is NaN.
func LeastByCost(runs []Valued, method string) []CostPoint {
	type cost struct{ n, steps, particles int }
	type group struct {
		cost
		dynamics           steer.Dynamics
		renormalization    steer.Renormalization
		lambda, ratio, snr float64
	}
	values, nfe := map[group][]float64{}, map[group]float64{}
	for _, r := range runs {
		if r.Method == method && r.PoolRewards == nil && r.Config != nil {
			g := group{
				cost{r.N, r.Steps, r.Particles}, r.Config.Dynamics, r.Config.Renormalization, r.Config.Lambda, r.Config.Ratio, r.SNR,
			}
			values[g], nfe[g] = append(values[g], r.Value), r.NFE
		}
	}
	least := map[cost]CostPoint{}
	for g, v := range values {
		p := CostPoint{N: g.n, Steps: g.steps, NFE: nfe[g]}
		p.Value, p.SE = metric.MeanSE(v)
		if old, found := least[g.cost]; !math.IsNaN(p.Value) && (!found || p.Value < old.Value) {
			least[g.cost] = p
		}
	}
	return slices.SortedFunc(maps.Values(least), func(a, b CostPoint) int {
		return cmp.Or(cmp.Compare(a.NFE, b.NFE), cmp.Compare(a.N, b.N))
	})
}

// BestOfPool returns the expected reward of Best-of-N from the pool of r for N = 1, 2, 4, ..., at
// most the given number and the size of the pool, as [metric.ExpectedMax]. A candidate costs the
// evaluations of a sample and of its reward. A result without PoolRewards has none.
func BestOfPool(r Result, most int) (points []CostPoint, err error) {
	pool := r.RewardsOfPool()
	for n := 1; n <= min(most, len(pool)); n *= 2 {
		mean, err := metric.ExpectedMax(pool, n)
		if err != nil {
			return nil, err
		}
		points = append(points, CostPoint{N: n, NFE: float64(n) * (r.NFE + 1), Value: mean})
	}
	return points, nil
}

// RewardsOfPool returns PoolRewards in float64.
func (r Result) RewardsOfPool() []float64 {
	pool := make([]float64, len(r.PoolRewards))
	for i, v := range r.PoolRewards {
		pool[i] = float64(v)
	}
	return pool
}

// JoinPools returns a result with the rewards of the pools of all results, such as those of several
// seeds, and the cost of the last. Results without a pool have no effect.
func JoinPools(results []Result) (joined Result) {
	for _, r := range results {
		if r.PoolRewards != nil {
			rewards := slices.Concat(joined.PoolRewards, r.PoolRewards)
			joined = r
			joined.PoolRewards = rewards
		}
	}
	slices.Sort(joined.PoolRewards)
	return joined
}
