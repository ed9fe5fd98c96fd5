package half_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes/float16"

	"github.com/gomfm/gomfm/mfm/internal/half"
)

func bits16(t *testing.T, v float32) uint16 {
	t.Helper()
	h, err := half.Round(v)
	if err != nil {
		t.Fatal(err)
	}
	return h.Bits()
}

// Every number of float16 stays, numbers between two become the nearer one, or the even one of two
// as near, and numbers beyond them are errors.
func TestRound(t *testing.T) {
	for bits := range 0x7c00 {
		v := float16.FromBits(uint16(bits)).Float32()
		next := float16.FromBits(uint16(bits + 1)).Float32()
		if got := bits16(t, v); got != uint16(bits) {
			t.Fatalf("%g becomes %#x, want %#x", v, got, bits)
		}
		if got := bits16(t, -v); got != uint16(bits)|0x8000 {
			t.Fatalf("%g becomes %#x, want %#x", -v, got, bits|0x8000)
		}
		if bits+1 == 0x7c00 {
			break
		}
		for share, want := range map[float32]int{0.49: bits, 0.51: bits + 1, 0.5: bits + bits%2} {
			if got := bits16(t, v+share*(next-v)); got != uint16(want) {
				t.Fatalf("%g between %g and %g becomes %#x, want %#x", share, v, next, got, want)
			}
		}
	}
	for _, v := range []float64{1e5, math.Inf(-1), math.NaN()} {
		if h, err := half.Round(float32(v)); err == nil {
			t.Errorf("%g becomes %g", v, h.Float32())
		}
	}
}
