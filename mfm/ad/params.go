package ad

import (
	"reflect"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// GoMLX keeps to itself with which parameters (axes, windows) an op was built, and the unfused version of a fused one. The
// functions here read them, and never write: an op is rebuilt by Node.CloneWithInputs where that is enough. Field names are
// those of gomlx v0.28; another version that renames them makes the tests of this package fail, and use panic.

// field returns a parameter of n's op.
func field(n *graph.Node, name string) reflect.Value {
	v := nodeField(n, "inputs").Elem().Elem().FieldByName(name)
	if !v.IsValid() {
		exceptions.Panicf("ad.JVP: op %s has no parameter %q: this GoMLX is not the v0.28 that package ad was written for", opName(n), name)
	}
	return v
}

func nodeField(n *graph.Node, name string) reflect.Value {
	v := reflect.ValueOf(n).Elem().FieldByName(name)
	if !v.IsValid() {
		exceptions.Panicf("ad.JVP: graph.Node has no field %q: this GoMLX is not the v0.28 that package ad was written for", name)
	}
	return v
}

func intField(n *graph.Node, name string) int { return int(field(n, name).Int()) }

func floatField(n *graph.Node, name string) float64 { return field(n, name).Float() }

func intsField(n *graph.Node, name string) []int { return ints(field(n, name)) }

func pairsField(n *graph.Node, name string) [][2]int {
	v := field(n, name)
	pairs := make([][2]int, v.Len())
	for i := range pairs {
		copy(pairs[i][:], ints(v.Index(i)))
	}
	return pairs
}

func ints(v reflect.Value) []int {
	list := make([]int, v.Len())
	for i := range list {
		list[i] = int(v.Index(i).Int())
	}
	return list
}

// checkpointed reports whether n is the barrier of Node.Checkpoint or Node.StopCheckpoint.
func checkpointed(n *graph.Node) bool { return nodeField(n, "isCheckpointed").Bool() }

// recomputed reports whether reverse mode computes n once more instead of keeping its value.
func recomputed(n *graph.Node) bool { return nodeField(n, "needsRematerialization").Bool() }

// unfusedVersion returns the node of simpler ops that reverse mode takes for the fused n, nil if there is none.
func unfusedVersion(n *graph.Node) *graph.Node {
	alternates := nodeField(n, "vjpAlternateOutputs")
	if alternates.Len() != 1 || alternates.Index(0).IsNil() {
		return nil
	}
	return n.Graph().NodeById(graph.NodeId(alternates.Index(0).Elem().FieldByName("id").Int()))
}

// capturedNodes returns the nodes outside of the closures of a While, If or Sort that the nodes within refer to. They are inputs of n
// that n.Inputs() doesn't have. (A closure that returns such a node just as it is goes unseen.)
func capturedNodes(n *graph.Node) []*graph.Node {
	var names []string
	switch n.Type() {
	case graph.NodeTypeWhile:
		names = []string{"cond", "body"}
	case graph.NodeTypeIf:
		names = []string{"trueBranch", "falseBranch"}
	case graph.NodeTypeSort:
		names = []string{"comparator"}
	default:
		return nil
	}
	closures := make(map[uintptr]bool)
	for _, name := range names {
		closures[field(n, name).Pointer()] = true
	}
	within := func(m *graph.Node) bool {
		for f := m.Function(); f != nil; f = f.Parent() {
			if closures[reflect.ValueOf(f).Pointer()] {
				return true
			}
		}
		return false
	}
	var captured []*graph.Node
	for _, m := range n.Graph().Nodes()[:n.Id()] {
		if within(m) {
			captured = append(captured, slices.DeleteFunc(slices.Clone(m.Inputs()), within)...)
		}
	}
	return captured
}
