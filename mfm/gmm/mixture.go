// Package gmm provides Gaussian mixtures, for which the densities, posteriors, drifts and scores of
// a stochastic interpolant, and those of the transport to its posteriors, have closed forms. The
// flow map has one for a single Gaussian, see [Mixture.FlowMap].
//
// For I_t = α_t I_0 + β_t I_1 with I_0 ~ N(0, I) and I_1 from a mixture of N(m_k, C_k) with weights
// w_k, the distribution of I_t is the mixture of N(β_t m_k, α_t² I + β_t² C_k). Given I_t = x,
// component k has the probability (its responsibility)
//
//	r_k ∝ w_k N(x; β_t m_k, α_t² I + β_t² C_k).
//
// Within a component everything is Gaussian. So the denoiser, the score and the drift are sums over
// k of r_k times a linear function of x, and the posterior p_{1|t}(.|x) is again a mixture.
// Covariances are stored by their eigenvectors, in whose basis α_t² I + β_t² C_k is diagonal at
// every t. Zero covariances are allowed: a data set is a mixture of points, see [Points].
//
// The methods of [Mixture] compute in float64 on the host; those of [GraphMixture] build the same
// on a graph, see [Mixture.Like]. Nothing here is trained or approximated: the tests of the project
// compare with this package.
package gmm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Mixture is a mixture of Gaussians in any dimension with full, possibly degenerate covariances. It
// is immutable and safe for concurrent use. Methods that take a point panic if its length is not
// [Mixture.Dim].
type Mixture struct {
	dim        int
	weights    []float64 // normalized
	logWeights []float64
	means      [][]float64   // [components][dim]
	covs       []*covariance // one per component; components may share one
}

// maxMagnitude bounds weights and the entries of means and covariances, so that their squares are
// finite in the float32 of graphs.
const maxMagnitude = 1e18

// New returns the mixture with the given weights, [components], means, [components][dim], and
// covariances, [components][dim][dim]. Weights are positive; New normalizes them. Covariances are
// symmetric and have no negative eigenvalue, both up to a relative 1e-9. No number exceeds 1e18 in
// magnitude, beyond which squares overflow in float32. New copies its arguments. It returns an
// error that names the first invalid entry.
func New(weights []float64, means [][]float64, covariances [][][]float64) (*Mixture, error) {
	if len(means) != len(weights) || len(covariances) != len(weights) {
		return nil, fmt.Errorf("mixture has %d weights, %d means and %d covariances: give one of each per component",
			len(weights), len(means), len(covariances))
	}
	m, err := newMixture(weights, means)
	if err != nil {
		return nil, err
	}
	for k, mean := range means {
		m.means[k] = append([]float64(nil), mean...)
		if m.covs[k], err = newCovariance(covariances[k], m.dim); err != nil {
			return nil, fmt.Errorf("covariance %d of the mixture %w", k, err)
		}
	}
	return m, nil
}

// Paper returns the two-dimensional mixture of the Meta Flow Maps paper (arXiv 2601.14430): means
// (-3, -3), (0, 0) and (3, 3), equal weights, covariance 0.5 I.
func Paper() *Mixture {
	m, err := newMixture([]float64{1, 1, 1}, [][]float64{{-3, -3}, {0, 0}, {3, 3}})
	if err != nil {
		panic(err) // constants
	}
	c := &covariance{variances: []float64{0.5, 0.5}}
	m.covs = []*covariance{c, c, c}
	return m
}

// Join returns the mixture of mixtures of one dimension with the given shares, each positive, which
// are normalized. It has the components of all of them, in their order. It returns an error if the
// mixtures and shares do not fit.
func Join(mixtures []*Mixture, shares []float64) (*Mixture, error) {
	if len(mixtures) != len(shares) {
		return nil, fmt.Errorf("joining %d mixtures with %d shares: give one each", len(mixtures), len(shares))
	}
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	for i, m := range mixtures {
		for k, w := range m.Weights() {
			mean, covariance := m.Component(k)
			weights = append(weights, w*shares[i])
			means, covariances = append(means, mean), append(covariances, covariance)
		}
	}
	return New(weights, means, covariances)
}

// Points returns the empirical distribution of data, [n][dim]: a mixture of n equally likely
// points. It keeps the rows of data without a copy, so they must not change. It returns an error if
// data is empty, ragged or not finite.
func Points(data [][]float64) (*Mixture, error) {
	ones := make([]float64, len(data))
	for i := range ones {
		ones[i] = 1
	}
	m, err := newMixture(ones, data)
	if err != nil {
		return nil, err
	}
	zero := &covariance{variances: make([]float64, m.dim)}
	for k := range m.covs {
		m.covs[k] = zero
	}
	return m, nil
}

// newMixture checks weights and means and returns a mixture without covariances.
func newMixture(weights []float64, means [][]float64) (*Mixture, error) {
	n := len(weights)
	if n == 0 {
		return nil, fmt.Errorf("mixture has no components")
	}
	m := &Mixture{
		dim:        len(means[0]),
		weights:    make([]float64, n),
		logWeights: make([]float64, n),
		means:      append([][]float64(nil), means...),
		covs:       make([]*covariance, n),
	}
	if m.dim == 0 {
		return nil, fmt.Errorf("mean 0 of the mixture is empty: its dimension must be at least 1")
	}
	for k, w := range weights {
		if !(w > 0 && w <= maxMagnitude) {
			return nil, fmt.Errorf("weight %d of the mixture is %v: weights must be positive and at most %g",
				k, w, maxMagnitude)
		}
		m.logWeights[k] = math.Log(w)
		if len(means[k]) != m.dim {
			return nil, fmt.Errorf("mean %d of the mixture has %d entries, mean 0 has %d", k, len(means[k]), m.dim)
		}
		for j, v := range means[k] {
			if !(math.Abs(v) <= maxMagnitude) {
				return nil, fmt.Errorf("entry %d of mean %d of the mixture is %v: it must be at most %g in magnitude",
					j, k, v, maxMagnitude)
			}
		}
	}
	top := floats.Max(weights) // prevents overflow of the sum
	total := 0.0
	for _, w := range weights {
		total += w / top
	}
	logTotal := math.Log(total) + math.Log(top)
	for k, w := range weights {
		m.weights[k] = w / top / total
		m.logWeights[k] -= logTotal
	}
	return m, nil
}

// Dim returns the dimension of the space.
func (m *Mixture) Dim() int { return m.dim }

// Len returns the number of components.
func (m *Mixture) Len() int { return len(m.weights) }

// Weights returns a copy of the weights, [components], which sum to one.
func (m *Mixture) Weights() []float64 { return append([]float64(nil), m.weights...) }

// Component returns copies of the mean, [dim], and the covariance, [dim][dim], of component k. It
// panics if k is out of range.
func (m *Mixture) Component(k int) (mean []float64, covariance [][]float64) {
	c := mat.NewSymDense(m.dim, nil)
	m.covs[k].addTo(c, 1)
	return append([]float64(nil), m.means[k]...), rows(c)
}

// Mean returns E[X], [dim].
func (m *Mixture) Mean() []float64 {
	mean := make([]float64, m.dim)
	for k, w := range m.weights {
		floats.AddScaled(mean, w, m.means[k])
	}
	return mean
}

// Covariance returns Cov[X], [dim][dim]: the mean of the covariances plus the covariance of the
// means.
func (m *Mixture) Covariance() [][]float64 {
	mean := m.Mean()
	cov := mat.NewSymDense(m.dim, nil)
	within := make(map[*covariance]float64) // weight of each distinct covariance
	deviations := mat.NewDense(m.dim, m.Len(), nil)
	for k, w := range m.weights {
		within[m.covs[k]] += w
		root := math.Sqrt(w)
		for j, v := range m.means[k] {
			deviations.Set(j, k, root*(v-mean[j]))
		}
	}
	cov.SymOuterK(1, deviations)
	for k := range m.covs { // in the order of the components, so that the sum is reproducible
		if w, left := within[m.covs[k]]; left {
			m.covs[k].addTo(cov, w)
			delete(within, m.covs[k])
		}
	}
	return rows(cov)
}

// Std returns the root mean square deviation per element, √(tr Cov[X]/dim): the unit of the
// errors of a sampler.
func (m *Mixture) Std() float64 {
	mean := m.Mean()
	trace := 0.0
	for k, w := range m.weights {
		d := floats.Distance(m.means[k], mean, 2)
		trace += w * (d*d + floats.Sum(m.covs[k].variances))
	}
	return math.Sqrt(trace / float64(m.dim))
}

// Sample returns n independent samples, [n][dim]. The same state of rng gives the same samples.
func (m *Mixture) Sample(rng *rand.Rand, n int) [][]float64 {
	cumulative := floats.CumSum(make([]float64, m.Len()), m.weights)
	flat := make([]float64, n*m.dim)
	out := make([][]float64, n)
	z := make([]float64, m.dim)
	for i := range out {
		// The last cumulative weight may fall short of one by rounding.
		k := min(sort.SearchFloat64s(cumulative, rng.Float64()), m.Len()-1)
		c := m.covs[k]
		for j, v := range c.variances {
			z[j] = math.Sqrt(v) * rng.NormFloat64()
		}
		out[i] = flat[i*m.dim : (i+1)*m.dim : (i+1)*m.dim]
		copy(out[i], m.means[k])
		c.addFromBasis(out[i], 1, z)
	}
	return out
}

// check panics if x has the wrong dimension.
func (m *Mixture) check(name string, x []float64) {
	if len(x) != m.dim {
		Panicf("%s has %d entries, the mixture has dimension %d", name, len(x), m.dim)
	}
}
