package metric

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// MeanError returns the Euclidean distance between the samples' mean and the exact mean, [dim]. For
// n exact samples it is about √(trace of the covariance / n): see [Floor].
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

// CovarianceError returns |S - C|/|C| in the Frobenius norm, for the covariance S of at least two
// samples and the exact covariance C, [dim][dim], which is not zero.
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
	var s mat.SymDense
	stat.CovarianceMatrix(&s, dense(samples, dim), nil)
	square, squareC := 0.0, 0.0
	for i, row := range covariance {
		for j, c := range row {
			square += (s.At(i, j) - c) * (s.At(i, j) - c)
			squareC += c * c
		}
	}
	if squareC == 0 {
		return 0, errors.New("covariance is zero: the relative error is undefined")
	}
	return math.Sqrt(square / squareC), nil
}

// Spread returns the standard deviation of at least two samples, as the root mean square over their
// coordinates: √(trace of the covariance / dim). Its exact value for a Gaussian mixture is
// Mixture.Spread of package gmm.
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

// Diversity returns the ratio of the samples' [Spread] to the exact one, std: one for exact
// samples, less if a sampler drops or averages modes. std must be positive and finite.
func Diversity(samples [][]float64, std float64) (float64, error) {
	if !(std > 0) || math.IsInf(std, 0) {
		return 0, fmt.Errorf("exact standard deviation is %v: must be positive and finite", std)
	}
	s, err := Spread(samples)
	return s / std, err
}

// Excess returns √(max(sw2² - floor², 0))/std: the part of a distance that exceeds its sampling
// floor, in units of the exact distribution's [Spread], std, which must be positive.
func Excess(sw2, floor, std float64) float64 {
	return math.Sqrt(math.Max(sw2*sw2-floor*floor, 0)) / std
}

// dense returns samples as a matrix with one sample per row.
func dense(samples [][]float64, dim int) *mat.Dense {
	x := mat.NewDense(len(samples), dim, nil)
	for i, row := range samples {
		x.SetRow(i, row)
	}
	return x
}

func sampleMean(samples [][]float64) []float64 {
	mean := make([]float64, len(samples[0]))
	for _, x := range samples {
		floats.Add(mean, x)
	}
	floats.Scale(1/float64(len(samples)), mean)
	return mean
}
