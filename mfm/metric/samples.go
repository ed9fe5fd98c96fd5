// Package metric compares sets of samples: with each other (sliced Wasserstein distance, maximum mean discrepancy, class
// histograms) and with the exact moments of the law they should follow (mean, covariance, spread).
//
// A set of samples is [][]float64, a row a sample, and rows are of one length. Every function returns an error for sets
// that are empty, ragged or not finite. Two finite sets of the same law are never at distance zero: [Floor] measures what
// a metric gives for exact samples, and figures are to be read against that.
package metric

import (
	"fmt"
	"math"
)

// check returns the dimension of a set of at least atLeast samples.
func check(name string, samples [][]float64, atLeast int) (dim int, err error) {
	if len(samples) < atLeast {
		return 0, fmt.Errorf("%s are %d: at least %d are needed", name, len(samples), atLeast)
	}
	dim = len(samples[0])
	if dim == 0 {
		return 0, fmt.Errorf("%s have no coordinates", name)
	}
	for i, row := range samples {
		if len(row) != dim {
			return 0, fmt.Errorf("row %d of the %s has %d entries, row 0 has %d", i, name, len(row), dim)
		}
		for j, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return 0, fmt.Errorf("row %d of the %s has %v at %d: all entries must be finite", i, name, v, j)
			}
		}
	}
	return dim, nil
}

// checkPair returns the common dimension of two sets.
func checkPair(a, b [][]float64, atLeast int) (dim int, err error) {
	dimA, err := check("first samples", a, atLeast)
	if err != nil {
		return 0, err
	}
	dimB, err := check("second samples", b, atLeast)
	if err != nil {
		return 0, err
	}
	if dimA != dimB {
		return 0, fmt.Errorf("first samples have dimension %d, second samples %d", dimA, dimB)
	}
	return dimA, nil
}
