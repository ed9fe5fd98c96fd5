package metric

import (
	"runtime"
	"sync"
	"sync/atomic"
)

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
