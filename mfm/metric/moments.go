package metric

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// MeanError returns the Euclidean distance of the samples' mean from the exact mean, [dim]. For n exact samples it is some
// √(trace of the covariance / n): see [Floor].
func MeanError(samples [][]float64, mean []float64) (float64, error) {
	dim, err := check("samples", samples, 1)
	if err != nil {
		return 0, err
	}
	if len(mean) != dim {
		return 0, fmt.Errorf("mean has %d entries, samples have %d", len(mean), dim)
	}
	return floats.Distance(sampleMean(samples), mean, 2), nil
}

// CovarianceError returns |S - C|/|C| in the Frobenius norm, for the covariance S of at least two samples and the exact one
// C, [dim][dim], not zero.
func CovarianceError(samples [][]float64, covariance [][]float64) (float64, error) {
	dim, err := check("samples", samples, 2)
	if err != nil {
		return 0, err
	}
	dimC, err := check("rows of the covariance", covariance, 1)
	if err != nil {
		return 0, err
	}
	if len(covariance) != dim || dimC != dim {
		return 0, fmt.Errorf("covariance is %d by %d, samples have dimension %d", len(covariance), dimC, dim)
	}
	x := mat.NewDense(len(samples), dim, nil)
	for i, row := range samples {
		x.SetRow(i, row)
	}
	var s mat.SymDense
	stat.CovarianceMatrix(&s, x, nil)
	square, squareC := 0.0, 0.0
	for i, row := range covariance {
		for j, c := range row {
			square += (s.At(i, j) - c) * (s.At(i, j) - c)
			squareC += c * c
		}
	}
	if squareC == 0 {
		return 0, fmt.Errorf("covariance is zero: there is no relative error")
	}
	return math.Sqrt(square / squareC), nil
}

// Spread returns the root-mean-square spread a coordinate of at least two samples about their mean, √(trace of their
// covariance / dim). Package gmm's Mixture.Spread is its exact value.
func Spread(samples [][]float64) (float64, error) {
	dim, err := check("samples", samples, 2)
	if err != nil {
		return 0, err
	}
	mean := sampleMean(samples)
	sum := 0.0
	for _, x := range samples {
		sum += squaredDistance(x, mean)
	}
	return math.Sqrt(sum / float64(dim*(len(samples)-1))), nil
}

// Diversity returns the ratio of the samples' [Spread] to the exact one: one for exact samples, less where a sampler drops
// modes or averages them.
func Diversity(samples [][]float64, spread float64) (float64, error) {
	if !(spread > 0) || math.IsInf(spread, 0) {
		return 0, fmt.Errorf("exact spread is %v: it must be positive and finite", spread)
	}
	s, err := Spread(samples)
	return s / spread, err
}

// Excess returns √(max(sw2² - floor², 0))/spread: what a distance has beyond its sampling floor, in units of the exact
// law's spread (see [Spread]), which is positive.
func Excess(sw2, floor, spread float64) float64 {
	return math.Sqrt(math.Max(sw2*sw2-floor*floor, 0)) / spread
}

func sampleMean(samples [][]float64) []float64 {
	mean := make([]float64, len(samples[0]))
	for _, x := range samples {
		floats.Add(mean, x)
	}
	floats.Scale(1/float64(len(samples)), mean)
	return mean
}
