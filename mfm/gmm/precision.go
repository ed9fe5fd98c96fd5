package gmm

import (
	"math"

	"github.com/gomlx/compute/dtypes"
)

// The variance α² + β² λ of I_t along an eigenvector is zero at t = 1 if λ = 0. It is bounded from
// below by the square of a tenth of 1 - t at the last t before one of the float type. Schedules
// fall to zero no faster than that, so no other value changes, and at t = 1 a mixture of points has
// its limit, the nearest point.
const (
	floor64 = 0x1p-106 / 100
	floor32 = 0x1p-48 / 100
)

func marginalVariance(alpha, beta, variance float64) float64 {
	return math.Max(alpha*alpha+beta*beta*variance, floor64)
}

// varianceFloor returns the lower bound for a float type.
func varianceFloor(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return floor64
	}
	return floor32
}

// epsilon returns the spacing at one of a float type.
func epsilon(dtype dtypes.DType) float64 {
	if dtype == dtypes.Float64 {
		return 0x1p-52
	}
	return 0x1p-23
}
