package image

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// medianNearest returns the median over samples of the distance to the nearest reference image,
// root mean square per pixel. Both are flat, with size pixels in each image.
func medianNearest(samples, reference []float32, size int) float64 {
	a, b := dense(samples, size), dense(reference, size)
	n, m := len(samples)/size, len(reference)/size
	squares := func(x *mat.Dense, i int) float64 {
		row := x.RawRowView(i)
		return mat.Dot(mat.NewVecDense(size, row), mat.NewVecDense(size, row))
	}
	norms := make([]float64, m)
	for j := range norms {
		norms[j] = squares(b, j)
	}
	var products mat.Dense
	products.Mul(a, b.T())
	nearest := make([]float64, n)
	for i := range nearest {
		square, best := squares(a, i), math.Inf(1)
		for j, p := range products.RawRowView(i) {
			best = min(best, square+norms[j]-2*p)
		}
		nearest[i] = math.Sqrt(max(best, 0) / float64(size))
	}
	slices.Sort(nearest)
	return nearest[n/2]
}

func dense(flat []float32, size int) *mat.Dense {
	x := make([]float64, len(flat))
	for i, v := range flat {
		x[i] = float64(v)
	}
	return mat.NewDense(len(flat)/size, size, x)
}
