// Package half rounds numbers to float16.
package half

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes/float16"
)

// Round rounds v to the nearest float16, also below its smallest normal number, where the
// conversion of package float16 returns zero. It returns an error for a number that is not finite
// or beyond float16.
func Round(v float32) (float16.Float16, error) {
	const normal, step = 0x1p-14, 0x1p-24
	if a := math.Abs(float64(v)); a < normal {
		return float16.FromBits(uint16(math.RoundToEven(a/step)) | uint16(math.Float32bits(v)>>16&0x8000)), nil
	}
	h := float16.FromFloat32(v)
	if h.Bits()&0x7c00 == 0x7c00 {
		return h, fmt.Errorf("%g is not a finite number of float16", v)
	}
	return h, nil
}
