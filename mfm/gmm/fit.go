package gmm

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// FitConfig configures [Fit].
type FitConfig struct {
	Components int // number of components, in [1, number of samples]
	// Steps is the number of steps of k-means, and of expectation-maximization after them.
	Steps int
	// Floor is added to the variances in all directions, so that a component with few samples has a
	// density. It is positive.
	Floor float64
}

// Fit returns a mixture fitted to samples, [n][dim], by expectation-maximization (Dempster, Laird
// and Rubin 1977). It starts from k-means with k-means++ seeding (Arthur and Vassilvitskii 2007)
// and drops components that lose all their samples. The same samples, configuration and state of
// rng give the same mixture. It returns an error for a configuration out of range, for samples that
// [Points] refuses, and if ctx ends, which it checks before each step.
func Fit(ctx context.Context, samples [][]float64, c FitConfig, rng *rand.Rand) (*Mixture, error) {
	if c.Components < 1 || c.Components > len(samples) {
		return nil, fmt.Errorf("fitting a mixture of %d components to %d samples: give from 1 to %[2]d components",
			c.Components, len(samples))
	}
	if c.Steps < 1 || !(c.Floor > 0) || math.IsInf(c.Floor, 0) {
		return nil, fmt.Errorf("fitting a mixture with %d steps and floor %g: both must be positive and finite",
			c.Steps, c.Floor)
	}
	if _, err := Points(samples); err != nil {
		return nil, fmt.Errorf("fitting a mixture: %w", err)
	}
	x := mat.NewDense(len(samples), len(samples[0]), nil)
	for i, row := range samples {
		x.SetRow(i, row)
	}
	resp, err := kMeans(ctx, x, c.Components, c.Steps, rng)
	if err != nil {
		return nil, err
	}
	for i := 1; ; i++ {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		m, err := maximize(x, resp, c.Floor)
		if err != nil {
			return nil, fmt.Errorf("fitting a mixture: %w", err)
		}
		if i == c.Steps {
			return m, nil
		}
		resp = m.expect(x)
	}
}

// ended returns an error if ctx has ended.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("fitting a mixture: stopped: %w", context.Cause(ctx))
}

// Refit returns the mixture after one step of expectation-maximization on weighted samples,
// [n][dim]. For samples of a distribution p, and m fitted to p, it is a step toward the mixture of
// p(x) w(x)/Z, where weights holds w(x), [n]. floor is added to the variances as in [Fit].
//
// Weighted samples are regularized by their effective number. Let s be the samples'
// responsibilities for a component (π, m, C), a = s w, N = (Σ a)²/Σ a w its effective number of
// samples, m̂ and Ŝ the mean and covariance of the samples with weights a, and δ = m̂ - m. The old
// mean counts as one more sample, the old covariance as dim more:
//
//	π ∝ max(Σ a, 10⁻⁶ Σ w),   m ← m + N/(N+1) δ,
//	C ← (N (Ŝ + floor I) + N/(N+1) δδᵀ + dim C)/(N + dim).
//
// So a component without weight keeps its mean and covariance. Refit returns an error if the
// weights are negative, not finite, all zero or not one per sample, if there are no samples or they
// are not finite or of another dimension, if floor is negative or not finite, and if a component of
// m has no density.
func (m *Mixture) Refit(samples [][]float64, weights []float64, floor float64) (*Mixture, error) {
	if len(weights) != len(samples) {
		return nil, fmt.Errorf("refitting a mixture: %d weights for %d samples: give one each",
			len(weights), len(samples))
	}
	if _, err := Points(samples); err != nil {
		return nil, fmt.Errorf("refitting a mixture: %w", err)
	}
	if len(samples[0]) != m.dim {
		return nil, fmt.Errorf("refitting a mixture: samples have %d elements, want %d", len(samples[0]), m.dim)
	}
	for k, c := range m.covs {
		if floats.Min(c.variances) == 0 {
			return nil, fmt.Errorf("refitting a mixture: component %d has a zero variance and no density", k)
		}
	}
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("refitting a mixture: weight %d is %v: must be finite and not negative", i, w)
		}
	}
	largest := floats.Max(weights)
	if largest == 0 {
		return nil, fmt.Errorf("refitting a mixture: the weights are all zero")
	}
	if !(floor >= 0) || math.IsInf(floor, 0) {
		return nil, fmt.Errorf("refitting a mixture: floor %g: must be finite and not negative", floor)
	}
	x := mat.NewDense(len(samples), m.dim, nil)
	relative := make([]float64, len(weights))
	for i, row := range samples {
		x.SetRow(i, row)
		relative[i] = weights[i] / largest
	}
	resp, least := m.expect(x), minWeight*floats.Sum(relative)
	masses, means, covariances := make([]float64, m.Len()), make([][]float64, m.Len()), make([][][]float64, m.Len())
	inParallel(m.Len(), func(k int) {
		floats.Mul(resp[k], relative)
		mass := floats.Sum(resp[k])
		masses[k] = max(mass, least)
		means[k], covariances[k] = m.Component(k)
		squares := floats.Dot(resp[k], relative)
		if squares == 0 {
			return
		}
		count, dim := mass*(mass/squares), float64(m.dim)
		mean, sym := moments(x, resp[k])
		floats.Sub(mean, means[k])
		sym.SymRankOne(sym, 1/(count+1), mat.NewVecDense(m.dim, mean))
		for i, row := range covariances[k] {
			for j := range i + 1 {
				sym.SetSym(i, j, (count*sym.At(i, j)+dim*row[j])/(count+dim))
			}
			sym.SetSym(i, i, sym.At(i, i)+count*floor/(count+dim))
		}
		floats.AddScaled(means[k], count/(count+1), mean)
		covariances[k] = rows(sym)
	})
	return New(masses, means, covariances)
}

// minWeight is the least relative weight of a component after [Mixture.Refit].
const minWeight = 1e-6

// kMeans returns the samples' responsibilities for the clusters, [clusters][n], each 0 or 1, or an
// error if ctx ends.
func kMeans(ctx context.Context, x *mat.Dense, clusters, steps int, rng *rand.Rand) ([][]float64, error) {
	n, dim := x.Dims()
	square := func(i int, center []float64) float64 {
		d := floats.Distance(x.RawRowView(i), center, 2)
		return d * d
	}
	nearest := make([]float64, n)
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	var centers [][]float64
	for next := rng.IntN(n); len(centers) < clusters; {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		center := append([]float64(nil), x.RawRowView(next)...)
		centers = append(centers, center)
		for i := range nearest {
			nearest[i] = min(nearest[i], square(i, center))
		}
		next = 0
		for u := rng.Float64() * floats.Sum(nearest); next < n-1; next++ {
			if u -= nearest[next]; u < 0 {
				break
			}
		}
	}
	cluster := make([]int, n)
	for range steps {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		inParallel(n, func(i int) {
			best := math.Inf(1)
			for k, center := range centers {
				if d := square(i, center); d < best {
					best, cluster[i] = d, k
				}
			}
		})
		counts, sums := make([]float64, clusters), make([][]float64, clusters)
		for k := range sums {
			sums[k] = make([]float64, dim)
		}
		for i, k := range cluster {
			floats.Add(sums[k], x.RawRowView(i))
			counts[k]++
		}
		for k, n := range counts {
			if n > 0 { // an empty cluster keeps its center
				floats.ScaleTo(centers[k], 1/n, sums[k])
			}
		}
	}
	resp := make([][]float64, clusters)
	for k := range resp {
		resp[k] = make([]float64, n)
	}
	for i, k := range cluster {
		resp[k][i] = 1
	}
	return resp, nil
}

// maximize returns the mixture of maximum likelihood for given responsibilities, [components][n],
// with floor added to its variances.
func maximize(x *mat.Dense, resp [][]float64, floor float64) (*Mixture, error) {
	_, dim := x.Dims()
	var weights []float64
	var kept [][]float64
	for _, r := range resp {
		if w := floats.Sum(r); w > 1e-6 {
			weights, kept = append(weights, w), append(kept, r)
		}
	}
	means, covariances := make([][]float64, len(kept)), make([][][]float64, len(kept))
	inParallel(len(kept), func(k int) {
		mean, sym := moments(x, kept[k])
		for j := range dim {
			sym.SetSym(j, j, sym.At(j, j)+floor)
		}
		means[k], covariances[k] = mean, rows(sym)
	})
	return New(weights, means, covariances)
}

// moments returns the mean and covariance of samples with the given weights. In many dimensions
// most samples have hardly any weight in a component; it leaves out those below rounding.
func moments(x *mat.Dense, weights []float64) ([]float64, *mat.SymDense) {
	n, dim := x.Dims()
	total := floats.Sum(weights)
	var kept []int
	for i, w := range weights {
		if w*float64(n) > total*1e-16 {
			kept = append(kept, i)
		}
	}
	mean := make([]float64, dim)
	for _, i := range kept {
		floats.AddScaled(mean, weights[i]/total, x.RawRowView(i))
	}
	deviations := mat.NewDense(len(kept), dim, nil)
	for k, i := range kept {
		row := deviations.RawRowView(k)
		floats.SubTo(row, x.RawRowView(i), mean)
		floats.Scale(math.Sqrt(weights[i]/total), row)
	}
	sym := mat.NewSymDense(dim, nil)
	sym.SymOuterK(1, deviations.T())
	return mean, sym
}

// expectBlock is the number of samples of which expect has the coordinates at a time.
const expectBlock = 512

// expect returns the responsibilities of the components for each sample, [components][n].
func (m *Mixture) expect(x *mat.Dense) [][]float64 {
	n, dim := x.Dims()
	resp := make([][]float64, m.Len())
	inParallel(m.Len(), func(k int) {
		c := m.covs[k]
		norm, precisions := m.logWeights[k], make([]float64, dim)
		for j, v := range c.variances {
			norm -= math.Log(2*math.Pi*v) / 2
			precisions[j] = 1 / v
		}
		center := m.means[k]
		if c.basis != nil {
			var mean mat.Dense
			mean.Mul(mat.NewDense(1, dim, center), c.basis)
			center = mean.RawRowView(0)
		}
		resp[k] = make([]float64, n)
		block := mat.NewDense(min(n, expectBlock), dim, nil)
		for from := 0; from < n; from += expectBlock {
			rotated := x.Slice(from, min(from+expectBlock, n), 0, dim).(*mat.Dense)
			if c.basis != nil {
				part := block.Slice(0, rotated.RawMatrix().Rows, 0, dim).(*mat.Dense)
				part.Mul(rotated, c.basis)
				rotated = part
			}
			for i := range rotated.RawMatrix().Rows {
				square := 0.0
				for j, y := range rotated.RawRowView(i) {
					d := y - center[j]
					square += d * d * precisions[j]
				}
				resp[k][from+i] = norm - square/2
			}
		}
	})
	joint := make([]float64, m.Len())
	for i := range n {
		for k := range joint {
			joint[k] = resp[k][i]
		}
		total := floats.LogSumExp(joint)
		for k := range joint {
			resp[k][i] = math.Exp(joint[k] - total)
		}
	}
	return resp
}

// inParallel calls f(0), ..., f(n-1) on all processors.
func inParallel(n int, f func(i int)) {
	var wait sync.WaitGroup
	workers := min(n, runtime.GOMAXPROCS(0))
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wait.Wait()
}
