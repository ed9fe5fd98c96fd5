package gmm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// FitConfig says how [Fit] fits.
type FitConfig struct {
	Components int
	// Steps of expectation-maximisation, after as many of k-means.
	Steps int
	// Floor is added to the variances along all directions, so that a component of few samples has a density.
	Floor float64
}

// Fit returns a mixture fitted to samples, [n][dim], by expectation-maximisation (Dempster, Laird and Rubin 1977), which starts from k-means with the seeding of Arthur and Vassilvitskii (k-means++, 2007).
// Components that lose all samples are left out. The same samples, configuration and state of rng give the same mixture.
func Fit(samples [][]float64, c FitConfig, rng *rand.Rand) (*Mixture, error) {
	if c.Components < 1 || c.Components > len(samples) {
		return nil, fmt.Errorf("fitting a mixture of %d components to %d samples: give at least 1, and no more than samples", c.Components, len(samples))
	}
	if c.Steps < 1 || !(c.Floor > 0) || math.IsInf(c.Floor, 0) {
		return nil, fmt.Errorf("fitting a mixture with %d steps and floor %g: both must be positive and finite", c.Steps, c.Floor)
	}
	if _, err := Points(samples); err != nil {
		return nil, fmt.Errorf("fitting a mixture: %w", err)
	}
	x := mat.NewDense(len(samples), len(samples[0]), nil)
	for i, row := range samples {
		x.SetRow(i, row)
	}
	shares := kMeans(x, c.Components, c.Steps, rng)
	for i := 1; ; i++ {
		m, err := maximize(x, shares, c.Floor)
		if err != nil {
			return nil, fmt.Errorf("fitting a mixture: %w", err)
		}
		if i == c.Steps {
			return m, nil
		}
		shares = m.expect(x)
	}
}

// Refit returns the mixture after one step of expectation-maximisation on samples, [n][dim], that count as weights w, [n], say: a step toward the mixture of the law p(x) w(x)/Z, if samples are of p and m was fitted to it, with floor added
// to the variances as in [Fit].
//
// Samples of unequal weights are fewer than they seem. With s the samples' posterior shares of a component (π, m, C), a = s w, N = (Σ a)²/Σ a w of them count for it altogether; m̂ and Ŝ are mean and covariance of the samples counted a times,
// δ = m̂ - m. Against them the component's mean counts as one more sample, its covariance as dim more:
//
//	π ∝ max(Σ a, 10⁻⁶ Σ w),   m ← m + N/(N+1) δ,   C ← (N (Ŝ + floor I) + N/(N+1) δδᵀ + dim C)/(N + dim),
//
// so that a component that the weights leave stays as it is. Refit returns an error for weights that are negative, not finite, all zero or not one a sample, for samples of another dimension or not finite, for no samples, for a floor that is
// negative or not finite, and where a component of m has no density.
func (m *Mixture) Refit(samples [][]float64, weights []float64, floor float64) (*Mixture, error) {
	if len(weights) != len(samples) {
		return nil, fmt.Errorf("refitting a mixture: %d weights for %d samples: there must be one for each", len(weights), len(samples))
	}
	if _, err := Points(samples); err != nil {
		return nil, fmt.Errorf("refitting a mixture: %w", err)
	}
	if len(samples[0]) != m.dim {
		return nil, fmt.Errorf("refitting a mixture: samples of %d elements: want %d", len(samples[0]), m.dim)
	}
	for k, c := range m.covs {
		if floats.Min(c.variances) == 0 {
			return nil, fmt.Errorf("refitting a mixture: component %d has no density", k)
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
	shares, least := m.expect(x), leastShare*floats.Sum(relative)
	masses, means, covariances := make([]float64, m.Len()), make([][]float64, m.Len()), make([][][]float64, m.Len())
	inParallel(m.Len(), func(k int) {
		floats.Mul(shares[k], relative)
		mass := floats.Sum(shares[k])
		masses[k] = max(mass, least)
		means[k], covariances[k] = m.Component(k)
		squares := floats.Dot(shares[k], relative)
		if squares == 0 {
			return
		}
		count, dim := mass*(mass/squares), float64(m.dim)
		mean, sym := moments(x, shares[k])
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

// leastShare keeps a component that the weights leave in the law.
const leastShare = 1e-6

// kMeans returns the samples' shares of the clusters, [clusters][n], 0 or 1.
func kMeans(x *mat.Dense, clusters, steps int, rng *rand.Rand) [][]float64 {
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
			if n > 0 { // a cluster without samples stays where it is
				floats.ScaleTo(centers[k], 1/n, sums[k])
			}
		}
	}
	shares := make([][]float64, clusters)
	for k := range shares {
		shares[k] = make([]float64, n)
	}
	for i, k := range cluster {
		shares[k][i] = 1
	}
	return shares
}

// maximize returns the mixture that is likeliest where the samples' shares of the components are given, [components][n], its variances floor larger.
func maximize(x *mat.Dense, shares [][]float64, floor float64) (*Mixture, error) {
	_, dim := x.Dims()
	var weights []float64
	var kept [][]float64
	for _, share := range shares {
		if w := floats.Sum(share); w > 1e-6 {
			weights, kept = append(weights, w), append(kept, share)
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

// moments returns mean and covariance of the samples, as often each as shares say.
func moments(x *mat.Dense, shares []float64) ([]float64, *mat.SymDense) {
	n, dim := x.Dims()
	total := floats.Sum(shares)
	mean := make([]float64, dim)
	for i, w := range shares {
		floats.AddScaled(mean, w/total, x.RawRowView(i))
	}
	deviations := mat.NewDense(dim, n, nil)
	for i, w := range shares {
		root := math.Sqrt(w / total)
		for j, v := range x.RawRowView(i) {
			deviations.Set(j, i, root*(v-mean[j]))
		}
	}
	sym := mat.NewSymDense(dim, nil)
	sym.SymOuterK(1, deviations)
	return mean, sym
}

// expect returns the posterior probabilities of the components for each sample, [components][n].
func (m *Mixture) expect(x *mat.Dense) [][]float64 {
	n, dim := x.Dims()
	shares := make([][]float64, m.Len())
	inParallel(m.Len(), func(k int) {
		c := m.covs[k]
		norm := m.logWeights[k]
		for _, v := range c.variances {
			norm -= math.Log(2*math.Pi*v) / 2
		}
		deviations := mat.NewDense(n, dim, nil)
		for i := range n {
			floats.SubTo(deviations.RawRowView(i), x.RawRowView(i), m.means[k])
		}
		rotated := deviations
		if c.basis != nil {
			rotated = new(mat.Dense)
			rotated.Mul(deviations, c.basis)
		}
		shares[k] = make([]float64, n)
		for i := range n {
			shares[k][i] = norm
			for j, y := range rotated.RawRowView(i) {
				shares[k][i] -= y * y / c.variances[j] / 2
			}
		}
	})
	joint := make([]float64, m.Len())
	for i := range n {
		for k := range joint {
			joint[k] = shares[k][i]
		}
		total := floats.LogSumExp(joint)
		for k := range joint {
			shares[k][i] = math.Exp(joint[k] - total)
		}
	}
	return shares
}

// inParallel calls f with 0 to n-1 on all processors.
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
