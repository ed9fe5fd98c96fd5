package stream

import (
	"fmt"
	"runtime"
	"testing"
)

// The error of the smallest index is returned, whichever comes first.
func TestParallelError(t *testing.T) {
	for round := range 200 {
		var began [2]chan struct{}
		for i := range began {
			began[i] = make(chan struct{})
		}
		err := parallel(t.Context(), 9, 2, func(i int) error {
			if i >= 2 {
				return nil
			}
			close(began[i])
			<-began[1-i] // both fail at the same time, or one of them a little later
			if i == round%2 {
				for range 50 {
					runtime.Gosched()
				}
			}
			return fmt.Errorf("index %d", i)
		})
		if err == nil || err.Error() != "index 0" {
			t.Fatalf("error %v, want that of index 0", err)
		}
	}
}
