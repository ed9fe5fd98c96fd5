package inception_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn/inception"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

// The features of an image do not depend on the other images, and their number is that of the
// published network divided.
func TestEmbed(t *testing.T) {
	network := inception.Network{Divisor: 16}
	store := nntest.NewStore(t, 1)
	exec := nntest.Compile(t, store, func(scope *model.Scope, x []*Node) []*Node {
		return []*Node{network.Embed(scope, MulScalar(x[0], 0.5))}
	})
	defer exec.Finalize()
	x := nntest.Wave(dtypes.Float32, 0, 2, 9, 7, 3)
	both := nntest.Flat(t, nntest.Call(t, exec, x)[0])
	if network.Features() != 128 || len(both) != 2*128 || (inception.Network{Divisor: 1}).Features() != 2048 {
		t.Fatalf("%d features of two images", len(both))
	}
	swapped := append(nntest.Flat(t, x)[9*7*3:], nntest.Flat(t, x)[:9*7*3]...)
	other := nntest.Flat(t, nntest.Call(t, exec, nntest.TensorOf(dtypes.Float32, swapped, 2, 9, 7, 3))[0])
	nntest.Near(t, "features of swapped images", append(other[128:], other[:128]...), both, 1e-5)
	differ := false
	for i, v := range both[:128] {
		differ = differ || v != both[128+i]
	}
	if !differ {
		t.Error("two images have the same features")
	}
}

func TestErrors(t *testing.T) {
	for _, divisor := range []int{0, -1, 3, 32} {
		if err := (inception.Network{Divisor: divisor}).Validate(); err == nil || !strings.Contains(err.Error(), "divisor") {
			t.Errorf("divisor %d: error %v", divisor, err)
		}
	}
	nntest.Fails(t, func(scope *model.Scope, g *Graph) *Node {
		return inception.Network{Divisor: 16}.Embed(scope, nntest.WaveNode(g, dtypes.Float32, 0, 1, 4, 4, 1))
	}, "inception.Network", "[batch, height, width, 3]")
}
