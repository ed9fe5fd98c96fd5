package distance

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/metric"
)

// Statistics are the moments of features and their number, 0 if it is unknown.
type Statistics struct {
	metric.Moments
	N int
}

// maxDim is the largest number of features of a picture.
const maxDim = 1 << 14

// ReadStatistics reads a file of numpy.savez with the arrays "mu", [dim], and "sigma", [dim, dim],
// of floating-point numbers, as pytorch-fid and others publish them; other arrays have no effect,
// but for "n", the number of pictures. An error names the file.
func ReadStatistics(path string) (s Statistics, err error) {
	read := func(name string, rank int) (values []float64, shape []int64, err error) {
		a, err := npy.Open(path, name)
		if err != nil {
			return nil, nil, err
		}
		defer a.Close()
		size := 1
		if len(a.Shape) != rank || slices.Min(a.Shape) < 1 || slices.Max(a.Shape) > maxDim {
			return nil, nil, fmt.Errorf("%s: %q has shape %v, want %d axes of 1 to %d features", path, name, a.Shape, rank, maxDim)
		}
		for _, d := range a.Shape {
			size *= int(d)
		}
		values, err = a.Floats(size)
		return values, a.Shape, err
	}
	if s.Mean, _, err = read("mu", 1); err != nil {
		return s, err
	}
	sigma, shape, err := read("sigma", 2)
	if err != nil {
		return s, err
	}
	d := len(s.Mean)
	if shape[0] != int64(d) || shape[1] != int64(d) {
		return s, fmt.Errorf("%s: \"sigma\" has shape %v beside %d features in \"mu\": want [%[3]d, %[3]d]", path, shape, d)
	}
	s.Covariance = mat.NewSymDense(d, nil)
	for i := range d {
		for j := range i + 1 {
			a, b := sigma[i*d+j], sigma[j*d+i]
			// The bound of a covariance is the product of deviations.
			if !(math.Abs(a-b) <= 1e-3*math.Sqrt(math.Abs(sigma[i*d+i]*sigma[j*d+j]))) {
				return s, fmt.Errorf("%s: \"sigma\" has %v at [%d, %d] and %v at [%[4]d, %[3]d]: want a symmetric matrix of finite numbers",
					path, a, i, j, b)
			}
			s.Covariance.SetSym(i, j, (a+b)/2)
		}
	}
	for i, m := range s.Mean {
		if m-m != 0 {
			return s, fmt.Errorf("%s: \"mu\" has %v at %d: want finite numbers", path, m, i)
		}
	}
	if n, err := npy.Open(path, "n"); err == nil {
		defer n.Close()
		if raw, err := n.Bytes(1); err == nil && n.Type == "<i8" {
			s.N = max(int(binary.LittleEndian.Uint64(raw)), 0)
		}
	}
	return s, nil
}

// WriteStatistics writes a file for [ReadStatistics], which pytorch-fid also reads. The file is
// replaced in one step.
func WriteStatistics(path string, s Statistics) error {
	d := len(s.Mean)
	sigma := make([]float64, 0, d*d)
	for i := range d {
		for j := range d {
			sigma = append(sigma, s.Covariance.At(i, j))
		}
	}
	var content bytes.Buffer
	z := zip.NewWriter(&content)
	err := errors.Join(entry(z, "mu", s.Mean, d), entry(z, "sigma", sigma, d, d), entry(z, "n", []int64{int64(s.N)}), z.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return run.ReplaceFile(path, content.Bytes())
}

// entry adds an array to a file of numpy.savez.
func entry[T uint8 | int64 | float32 | float64](z *zip.Writer, name string, values []T, shape ...int) error {
	w, err := npy.Entry(z, name)
	if err != nil {
		return err
	}
	return npy.Write(w, values, shape...)
}
