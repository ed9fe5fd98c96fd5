package diagnose

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// If the data have each rank among n samples once, as ranks of exact samples do in the mean, the
// shares are those of the intervals for every n.
func TestCoveredByRanks(t *testing.T) {
	b := backendtest.New(t)
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 3, 4, 64} {
		var data, samples []float32
		for rank := range n + 1 {
			data = append(data, float32(rank)-0.5)
			for i := range n {
				samples = append(samples, float32(i))
			}
		}
		out, err := CallOnce(b, func(data, samples *Node) *Node {
			return covered(state, Reshape(data, n+1, 1), Reshape(samples, -1, 1), n)
		}, tensors.FromValue(data), tensors.FromValue(samples))
		if err != nil {
			t.Fatal(err)
		}
		c := newCoverage(tensors.MustCopyFlatData[float32](out))
		if math.Abs(c.Half-0.5) > 1e-6 || math.Abs(c.Most-0.9) > 1e-6 {
			t.Errorf("%d samples: shares %g and %g, want 0.5 and 0.9", n, c.Half, c.Most)
		}
	}
}
