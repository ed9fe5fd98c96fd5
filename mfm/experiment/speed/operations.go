package speed

import (
	"reflect"
	"slices"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// operations returns the number of floating-point operations of the matrix products and
// convolutions that the outputs depend on, a product and a sum for each pair of elements. XLA's own
// count is not available through PJRT's Go bindings. A convolution counts the zeros of its padding
// and dilation, which makes the UNet's count an upper bound. Bodies of loops do not count.
func operations(outputs ...*Node) (total float64) {
	seen := make(map[*Node]bool)
	for pending := slices.Clone(outputs); len(pending) > 0; {
		n := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if !seen[n] {
			seen[n] = true
			total += 2 * pairs(n)
			pending = append(pending, n.Inputs()...)
		}
	}
	return total
}

// pairs returns the number of pairs of elements that a matrix product or a convolution multiplies,
// and 0 for other nodes. It reads axes by reflection, because GoMLX does not export them.
func pairs(n *Node) float64 {
	parameter := func(name string) reflect.Value {
		return reflect.ValueOf(n).Elem().FieldByName("inputs").Elem().Elem().FieldByName(name)
	}
	count := float64(1)
	switch n.Type() {
	case NodeTypeDotGeneral:
		axes := parameter("lhsContractingAxes")
		for i := range axes.Len() {
			count *= float64(n.Inputs()[0].Shape().Dim(int(axes.Index(i).Int())))
		}
	case NodeTypeConvGeneral:
		kernel := n.Inputs()[1].Shape()
		count = float64(kernel.Size() / kernel.Dim(int(parameter("axes").FieldByName("KernelOutputChannels").Int())))
	default:
		return 0
	}
	return float64(n.Shape().Size()) * count
}

// counted is a source of training data that keeps the graph of the step that it was last built
// into.
type counted struct {
	source train.Source
	graph  *Graph
}

func (c *counted) build(scope *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
	c.graph = g
	return c.source(scope, g, rng, n)
}

// operations returns those of a training step, which must have run.
func (c *counted) operations(store *model.Store) float64 {
	var outputs []*Node
	for v := range store.IterVariables() {
		if v.ChangedInGraph(c.graph) {
			outputs = append(outputs, v.NodeValue(c.graph))
		}
	}
	return operations(outputs...)
}

// The matrix products of matrixRate.
const (
	matrixSide     = 1024
	matrixProducts = 8 // in a call
)

// matrixRate returns the rate of products of square matrices of 1,024 rows in float32, in billions
// of operations a second.
func matrixRate(b compute.Backend, duration time.Duration, now func() time.Time) (float64, error) {
	exec, err := NewExec(b, func(x *Node) *Node {
		y := x
		for range matrixProducts {
			y = Dot(y, x).Product()
		}
		return ReduceAllMax(y)
	})
	if err != nil {
		return 0, err
	}
	defer exec.Finalize()
	// A projection: its powers stay the same.
	x := tensors.FromFlatDataAndDimensions(
		slices.Repeat([]float32{1. / matrixSide}, matrixSide*matrixSide), matrixSide, matrixSide)
	call := func() error {
		_, err := mfm.Flat(exec.Call1(x))
		return err
	}
	if err := call(); err != nil { // compiles
		return 0, err
	}
	seconds, err := secondsOf(call, duration, now)
	return matrixProducts * 2 * matrixSide * matrixSide * matrixSide / 1e9 / seconds, err
}
