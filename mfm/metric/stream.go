package metric

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

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
