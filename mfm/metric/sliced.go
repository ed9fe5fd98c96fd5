package metric

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
)

// SlicedW2 returns the sliced 2-Wasserstein distance of two sets of samples,
//
//	√( mean over projections θ of W₂²(θ·a, θ·b) )
//
// where W₂² in one dimension is the integral of the squared difference of the quantile functions
// (Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015). The sets may differ
// in size. Projections have the dimension of the samples, and unit length for the usual distance:
// see [Projections2D] and [RandomProjections]. Projections are processed in parallel; the result
// does not depend on the number of goroutines.
func SlicedW2(a, b, projections [][]float64) (float64, error) {
	dim, err := checkPair(a, b, 1)
	if err != nil {
		return 0, err
	}
	dimP, err := check("projections", projections, 1)
	if err != nil {
		return 0, err
	}
	if dimP != dim {
		return 0, fmt.Errorf("projections have dimension %d, samples %d", dimP, dim)
	}
	squares := make([]float64, len(projections))
	parallel(len(projections), func() func(i int) {
		var pa, pb sorter
		return func(i int) { squares[i] = squaredW2(pa.project(a, projections[i]), pb.project(b, projections[i])) }
	})
	return math.Sqrt(floats.Sum(squares) / float64(len(squares))), nil
}

// squaredW2 returns W₂² of two sorted sets of numbers, the integral of (a(q) - b(q))² over q in [0,
// 1]. The quantile functions are step functions with steps of 1/len(a) and 1/len(b), so it counts
// in multiples of 1/(len(a) len(b)), which is exact.
func squaredW2(a, b []float64) float64 {
	n, m := len(a), len(b)
	sum, at := 0.0, 0
	for i, j := 0, 0; i < n && j < m; {
		next := min((i+1)*m, (j+1)*n)
		d := a[i] - b[j]
		sum += float64(next-at) * d * d
		at = next
		if at == (i+1)*m {
			i++
		}
		if at == (j+1)*n {
			j++
		}
	}
	return sum / (float64(n) * float64(m))
}

// Projections2D returns n unit vectors in the plane, [n][2], at the angles kπ/n, k = 0 ... n-1.
func Projections2D(n int) [][]float64 {
	out := make([][]float64, n)
	for k := range out {
		sin, cos := math.Sincos(math.Pi * float64(k) / float64(n))
		out[k] = []float64{cos, sin}
	}
	return out
}

// RandomProjections returns n unit vectors, [n][dim], uniformly distributed on the sphere.
func RandomProjections(rng *rand.Rand, n, dim int) [][]float64 {
	out := make([][]float64, n)
	for k := range out {
		out[k] = make([]float64, dim)
		for norm := 0.0; norm == 0 && dim > 0; norm = floats.Norm(out[k], 2) {
			for j := range out[k] {
				out[k][j] = rng.NormFloat64()
			}
		}
		floats.Scale(1/floats.Norm(out[k], 2), out[k])
	}
	return out
}
