// Package metric compares sets of samples with each other and with exact distributions. For two
// sets of samples it has the sliced Wasserstein distance ([SlicedW2]), the maximum mean discrepancy
// ([MMD]), the Fréchet distance ([Frechet], [FrechetOfSamples]), the kernel distance
// ([KernelSubsets]), precision and recall ([PrecisionRecall]), and the distances to the nearest
// samples ([Nearest]).
// For samples against the exact distribution it has the standard deviation ([Std], [Diversity]) and
// the total variation of class frequencies ([TotalVariation]). Streams ([MomentStream],
// [KernelStream]) take samples in batches and merge over shards.
//
// A set of samples is a [][]float64 with one sample per row; all rows have the same length.
// Functions that take one return an error if it is empty, ragged or has non-finite values. Two
// finite sets from the same distribution never have distance zero: [Floor] measures the value of a
// metric for exact samples, as the reference for reading results.
package metric

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// check returns the dimension of a set of at least atLeast samples.
func check[T float32 | float64](name string, samples [][]T, atLeast int) (dim int, err error) {
	if len(samples) < atLeast {
		return 0, fmt.Errorf("%d %s, need at least %d", len(samples), name, atLeast)
	}
	dim = len(samples[0])
	if dim == 0 {
		return 0, fmt.Errorf("%s have no coordinates", name)
	}
	for i, row := range samples {
		if len(row) != dim {
			return 0, fmt.Errorf("row %d of the %s has %d entries, row 0 has %d", i, name, len(row), dim)
		}
		for j, v := range row {
			if v-v != 0 {
				return 0, fmt.Errorf("row %d of the %s has %v at %d: all entries must be finite", i, name, v, j)
			}
		}
	}
	return dim, nil
}

// checkPair returns the common dimension of two sets of samples.
func checkPair[T float32 | float64](a, b [][]T, atLeast int) (dim int, err error) {
	dimA, err := check("first samples", a, atLeast)
	if err != nil {
		return 0, err
	}
	dimB, err := check("second samples", b, atLeast)
	if err != nil {
		return 0, err
	}
	if dimA != dimB {
		return 0, fmt.Errorf("first samples have dimension %d, second samples %d", dimA, dimB)
	}
	return dimA, nil
}

// parallel calls work(i) once for each i < n, on GOMAXPROCS goroutines. Each goroutine creates its
// own work function with its own buffers.
func parallel(n int, newWork func() (work func(i int))) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			work := newWork()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				work(int(i))
			}
		})
	}
	group.Wait()
}
