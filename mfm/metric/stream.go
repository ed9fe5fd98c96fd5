package metric

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
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

// SlicedStream accumulates the projections of samples for [SlicedW2]. It keeps one number for each
// sample and projection instead of the sample.
type SlicedStream struct {
	projections [][]float64
	values      [][]float64 // [projections][samples]
}

// NewSlicedStream returns an empty stream for the given projections, [n][dim]. Streams to compare
// or merge must have the same ones.
func NewSlicedStream(projections [][]float64) (*SlicedStream, error) {
	if _, err := check("projections", projections, 1); err != nil {
		return nil, err
	}
	return &SlicedStream{projections: projections, values: make([][]float64, len(projections))}, nil
}

// Add adds a batch of samples, [n][dim].
func (s *SlicedStream) Add(samples [][]float64) error {
	dim, err := check("samples", samples, 1)
	if err != nil {
		return err
	}
	if want := len(s.projections[0]); dim != want {
		return fmt.Errorf("projections have dimension %d, samples %d", want, dim)
	}
	parallel(len(s.projections), func() func(i int) {
		return func(i int) {
			for _, x := range samples {
				s.values[i] = append(s.values[i], floats.Dot(x, s.projections[i]))
			}
		}
	})
	return nil
}

// Merge adds the samples of another stream, which it does not change.
func (s *SlicedStream) Merge(other *SlicedStream) error {
	if err := s.match(other); err != nil {
		return err
	}
	for i, v := range other.values {
		s.values[i] = append(s.values[i], v...)
	}
	return nil
}

// Distance returns the sliced W₂ distance of the samples of two streams, as [SlicedW2] does.
func (s *SlicedStream) Distance(other *SlicedStream) (float64, error) {
	if err := s.match(other); err != nil {
		return 0, err
	}
	if len(s.values[0]) == 0 || len(other.values[0]) == 0 {
		return 0, errors.New("sliced W2 of a stream without samples")
	}
	squares := make([]float64, len(s.values))
	parallel(len(squares), func() func(i int) {
		return func(i int) { squares[i] = squaredW2(sorted(s.values[i]), sorted(other.values[i])) }
	})
	return math.Sqrt(floats.Sum(squares) / float64(len(squares))), nil
}

func sorted(values []float64) []float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values
}

func (s *SlicedStream) match(other *SlicedStream) error {
	if len(s.projections) != len(other.projections) || len(s.projections[0]) != len(other.projections[0]) {
		return errors.New("streams with different projections")
	}
	for i, p := range s.projections {
		for j, v := range p {
			if v != other.projections[i][j] {
				return errors.New("streams with different projections")
			}
		}
	}
	return nil
}
