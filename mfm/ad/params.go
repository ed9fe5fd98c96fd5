package ad

import (
	"reflect"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// GoMLX does not export the parameters (axes, windows) of an op, nor the unfused version of a fused
// op. The functions here read them by reflection and never write: where it suffices,
// Node.CloneWithInputs rebuilds an op. The field names are those of gomlx v0.28. If another version
// renames them, use panics and the tests of this package fail.

// field returns a parameter of n's op. It panics if the op has no parameter of that name.
func field(n *graph.Node, name string) reflect.Value {
	v := nodeField(n, "inputs").Elem().Elem().FieldByName(name)
	if !v.IsValid() {
		exceptions.Panicf("ad.JVP: op %s has no parameter %q: package ad needs gomlx v0.28", opName(n), name)
	}
	return v
}

func nodeField(n *graph.Node, name string) reflect.Value {
	v := reflect.ValueOf(n).Elem().FieldByName(name)
	if !v.IsValid() {
		exceptions.Panicf("ad.JVP: graph.Node has no field %q: package ad needs gomlx v0.28", name)
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

// recomputed reports whether reverse mode recomputes n instead of keeping its value.
func recomputed(n *graph.Node) bool { return nodeField(n, "needsRematerialization").Bool() }

// unfusedVersion returns the node, made of simpler ops, that reverse mode uses for the fused op n,
// or nil if absent.
func unfusedVersion(n *graph.Node) *graph.Node {
	alternates := nodeField(n, "vjpAlternateOutputs")
	if alternates.Len() != 1 || alternates.Index(0).IsNil() {
		return nil
	}
	return n.Graph().NodeById(graph.NodeId(alternates.Index(0).Elem().FieldByName("id").Int()))
}

// capturedNodes returns the outer nodes that the closures of a While, If or Sort refer to. They are
// inputs of n that n.Inputs() omits. (It misses a node that a closure returns unchanged.)
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
