package gmm

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
)

// Schedule gives I_t = α_t I_0 + β_t I_1 between noise at t = 0 and data at t = 1. Every interpolant of package mfm is
// one. Values and derivatives are finite for t in [0, 1].
type Schedule interface {
	// At returns α_t, β_t and their time derivatives.
	At(t float64) (alpha, beta, dAlpha, dBeta float64)
	// Graph does the same on a node of times of any shape.
	Graph(t *graph.Node) (alpha, beta, dAlpha, dBeta *graph.Node)
}

// The variance α² + β² λ of I_t along an eigenvector is zero where a component has no variance there and t = 1. It is
// kept above the square of a tenth of 1 - t at the last t before one that the float type has. Schedules fall to zero no
// faster than that, so no other value changes, and at t = 1 a mixture of points has its limit, the nearest point.
const (
	floor64 = 0x1p-106 / 100
	floor32 = 0x1p-48 / 100
)

func marginalVariance(alpha, beta, variance float64) float64 {
	return math.Max(alpha*alpha+beta*beta*variance, floor64)
}

// varianceFloor is the floor for a graph's float type.
func varianceFloor(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return floor64
	}
	return floor32
}

// epsilon is the spacing at one of a graph's float type.
func epsilon(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return 0x1p-52
	}
	return 0x1p-23
}
