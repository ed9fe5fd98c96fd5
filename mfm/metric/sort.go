package metric

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// sorter projects samples and sorts the projections, reusing its buffers. It uses a radix sort,
// which takes 0.4 of the time of slices.Sort for some thousands of numbers; sorting takes nearly
// all the time of [SlicedW2].
type sorter struct {
	keys, spare []uint64
	values      []float64
}

const (
	digits = 6 // of radix 2^11: 66 bits, enough for a float64
	radix  = 1 << 11
)

// project returns the sorted inner products of samples and direction, valid until the next call.
func (s *sorter) project(samples [][]float64, direction []float64) []float64 {
	if n := len(samples); len(s.keys) != n {
		s.keys, s.spare, s.values = make([]uint64, n), make([]uint64, n), make([]float64, n)
	}
	var counts [digits][radix]int
	for i, x := range samples {
		k := key(floats.Dot(x, direction))
		s.keys[i] = k
		for d := range counts {
			counts[d][k>>(11*d)%radix]++
		}
	}
	from, to := s.keys, s.spare
	for d := range counts {
		start := &counts[d]
		sum := 0
		for b, n := range start {
			start[b] = sum
			sum += n
		}
		for _, k := range from {
			bucket := k >> (11 * d) % radix
			to[start[bucket]] = k
			start[bucket]++
		}
		from, to = to, from
	}
	for i, k := range from { // s.keys, since the number of digits is even
		s.values[i] = value(k)
	}
	return s.values
}

// key maps a number to an integer with the same order: it flips all bits of negative numbers and
// the sign bit of others.
func key(v float64) uint64 {
	bits := math.Float64bits(v)
	return bits ^ (uint64(int64(bits)>>63) | 1<<63)
}

// value inverts key.
func value(k uint64) float64 {
	return math.Float64frombits(k ^ (uint64(^int64(k)>>63) | 1<<63))
}
