package metric

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Std returns the standard deviation of at least two samples, as the root mean square over their
// coordinates: √(trace of the covariance / dim). Its exact value for a Gaussian mixture is
// Mixture.Std of package gmm.
func Std(samples [][]float64) (float64, error) {
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

// Diversity returns the ratio of the samples' [Std] to the exact one, std: one for exact
// samples, less if a sampler drops or averages modes. std must be positive and finite.
func Diversity(samples [][]float64, std float64) (float64, error) {
	if !(std > 0) || math.IsInf(std, 0) {
		return 0, fmt.Errorf("exact standard deviation is %v: must be positive and finite", std)
	}
	s, err := Std(samples)
	return s / std, err
}

// Resolution is the ratio of a distribution's standard deviation to that of the data up to which
// float32 samples do not resolve it: it counts as a point.
const Resolution = 1e-6

// Excess returns √(max(sw2² - floor², 0))/std: the part of a distance that exceeds its sampling
// floor, in units of the exact distribution's [Std], std, which must be positive.
func Excess(sw2, floor, std float64) float64 {
	return math.Sqrt(math.Max(sw2*sw2-floor*floor, 0)) / std
}

// MeanSE returns the mean of independent values and its standard error, which is 0 for a single
// value.
func MeanSE(v []float64) (mean, se float64) {
	n := float64(len(v))
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		se += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(se / max(n*(n-1), 1))
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

// MomentStream accumulates [Moments] of features that arrive in batches, in memory that does not
// grow with their number. Streams over parts of the data, such as shards, merge. The zero value is
// an empty stream.
type MomentStream struct {
	n       float64
	mean    *mat.VecDense
	scatter *mat.SymDense // sum of (x - mean)(x - mean)ᵀ
}

// N returns the number of features so far.
func (s *MomentStream) N() int { return int(s.n) }

// Add adds a batch of at least one feature, [n][dim]. After an error the stream is unchanged.
func (s *MomentStream) Add(features [][]float64) error {
	dim, err := check("features", features, 1)
	if err != nil {
		return err
	}
	x := dense(features, dim)
	part := MomentStream{n: float64(len(features)), mean: mat.NewVecDense(dim, sampleMean(features)),
		scatter: mat.NewSymDense(dim, nil)}
	for i := range features {
		row := x.RowView(i).(*mat.VecDense)
		row.SubVec(row, part.mean)
	}
	part.scatter.SymOuterK(1, x.T())
	return s.Merge(&part)
}

// Merge adds the features of another stream, which it does not change, by the update of Chan, Golub
// and LeVeque (1979). It returns an error if the dimensions differ.
func (s *MomentStream) Merge(other *MomentStream) error {
	switch {
	case other.n == 0:
		return nil
	case s.n == 0:
		*s = MomentStream{n: other.n, mean: mat.VecDenseCopyOf(other.mean),
			scatter: mat.NewSymDense(other.mean.Len(), nil)}
		s.scatter.CopySym(other.scatter)
		return nil
	case s.mean.Len() != other.mean.Len():
		return fmt.Errorf("features of dimension %d and %d", s.mean.Len(), other.mean.Len())
	}
	n := s.n + other.n
	var difference mat.VecDense
	difference.SubVec(other.mean, s.mean)
	s.scatter.AddSym(s.scatter, other.scatter)
	s.scatter.SymRankOne(s.scatter, s.n*other.n/n, &difference)
	s.mean.AddScaledVec(s.mean, other.n/n, &difference)
	s.n = n
	return nil
}

// Moments returns the moments of all features so far, of which there must be two. Up to rounding
// they are those of [NewMoments] on the whole set.
func (s *MomentStream) Moments() (Moments, error) {
	if s.n < 2 {
		return Moments{}, fmt.Errorf("moments of %d features, need at least 2", s.N())
	}
	m := Moments{Mean: make([]float64, s.mean.Len()), Covariance: mat.NewSymDense(s.mean.Len(), nil)}
	copy(m.Mean, s.mean.RawVector().Data)
	m.Covariance.ScaleSym(1/(s.n-1), s.scatter)
	return m, nil
}
