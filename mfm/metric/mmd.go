package metric

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// MMD returns the unbiased estimate of the squared maximum mean discrepancy of two sets of at least
// two samples each (Gretton et al., A Kernel Two-Sample Test, JMLR 2012, eq. 3),
//
//	mean over i≠j of k(a_i, a_j) + mean over i≠j of k(b_i, b_j) - 2 mean over i, j of k(a_i, b_j)
//
// where k(x, y) is the mean of the Gaussian kernels exp(-|x - y|²/(2 h²)) over the bandwidths h.
// Its mean is zero for samples of the same distribution, so it can be negative. Without bandwidths
// it uses 1/4, 1/2, 1, 2 and 4 times [MedianBandwidth]. Memory is linear in the numbers of samples;
// time grows with their product.
func MMD(a, b [][]float64, bandwidths []float64) (float64, error) {
	if _, err := checkPair(a, b, 2); err != nil {
		return 0, err
	}
	if len(bandwidths) == 0 {
		median, err := MedianBandwidth(a, b)
		if err != nil {
			return 0, err
		}
		bandwidths = []float64{median / 4, median / 2, median, 2 * median, 4 * median}
	}
	k, err := newKernel(bandwidths)
	if err != nil {
		return 0, err
	}
	n, m := float64(len(a)), float64(len(b))
	within := 2*k.sumPairs(a)/(n*(n-1)) + 2*k.sumPairs(b)/(m*(m-1))
	return within - 2*k.sum(a, b)/(n*m), nil
}

// medianRows is the number of samples of each set that the median distance uses.
const medianRows = 1000

// MedianBandwidth returns the median distance between two samples of the pooled sets, the usual
// unit of bandwidths. From a set with more than 1,000 samples it uses 1,000, evenly spaced, so that
// the result depends on their order.
func MedianBandwidth(a, b [][]float64) (float64, error) {
	if _, err := checkPair(a, b, 1); err != nil {
		return 0, err
	}
	pooled := append(subsample(a, medianRows), subsample(b, medianRows)...)
	distances := make([]float64, 0, len(pooled)*(len(pooled)-1)/2)
	for i, x := range pooled {
		for _, y := range pooled[:i] {
			distances = append(distances, squaredDistance(x, y))
		}
	}
	slices.Sort(distances)
	median := math.Sqrt(distances[len(distances)/2])
	if median == 0 {
		return 0, errors.New("median distance of the samples is zero: give bandwidths")
	}
	return median, nil
}

// subsample returns at most n samples, evenly spaced.
func subsample(samples [][]float64, n int) [][]float64 {
	n = min(n, len(samples))
	out := make([][]float64, n)
	for i := range out {
		out[i] = samples[i*len(samples)/n]
	}
	return out
}

// kernel is a mean of Gaussian kernels exp(-c |x - y|²).
type kernel struct {
	precisions []float64 // c, ascending
	fourfold   []bool    // whether c is four times the previous one
}

func newKernel(bandwidths []float64) (*kernel, error) {
	k := new(kernel)
	for i, h := range bandwidths {
		c := 1 / (2 * h * h)
		if !(h > 0) || !(c > 0) || math.IsInf(c, 0) {
			return nil, fmt.Errorf("bandwidth %d is %v: must be positive and finite", i, h)
		}
		k.precisions = append(k.precisions, c)
	}
	slices.Sort(k.precisions)
	k.fourfold = make([]bool, len(k.precisions))
	for i := 1; i < len(k.precisions); i++ {
		k.fourfold[i] = k.precisions[i] == 4*k.precisions[i-1]
	}
	return k, nil
}

func (k *kernel) at(squaredDistance float64) float64 {
	sum, e := 0.0, 0.0
	for i, c := range k.precisions {
		if k.fourfold[i] { // the exponential is the fourth power of the previous one
			e *= e
			e *= e
		} else {
			e = math.Exp(-c * squaredDistance)
		}
		sum += e
	}
	return sum / float64(len(k.precisions))
}

// sum returns the sum of k(x, y) over all rows x of a and y of b.
func (k *kernel) sum(a, b [][]float64) float64 {
	return k.sumRows(a, func(int) [][]float64 { return b })
}

// sumPairs returns the sum of k(x, y) over all pairs of rows of a, each counted once.
func (k *kernel) sumPairs(a [][]float64) float64 {
	return k.sumRows(a, func(i int) [][]float64 { return a[:i] })
}

// sumRows returns the sum over i of k(a_i, y) over the rows y of others(i). It adds the rows in
// order, so that the result does not depend on the number of goroutines.
func (k *kernel) sumRows(a [][]float64, others func(i int) [][]float64) float64 {
	sums := make([]float64, len(a))
	parallel(len(a), func() func(i int) {
		return func(i int) {
			for _, y := range others(i) {
				sums[i] += k.at(squaredDistance(a[i], y))
			}
		}
	})
	return floats.Sum(sums)
}

func squaredDistance(x, y []float64) float64 {
	sum := 0.0
	for j, v := range x {
		d := v - y[j]
		sum += d * d
	}
	return sum
}
