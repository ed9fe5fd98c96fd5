package ad

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// structuralRules returns the rules of ops that move values, which are linear in the values they
// move. Inputs that are indices have no tangent.
func structuralRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeBroadcastInDim:      linear(),
		NodeTypeConcatenate:         linear(),
		NodeTypeDynamicReshape:      linear(0),
		NodeTypeDynamicSlice:        linear(0),
		NodeTypeDynamicUpdateSlice:  linear(0, 1),
		NodeTypeGather:              linear(0),
		NodeTypeIdentity:            same,
		NodeTypeOptimizationBarrier: barrier,
		NodeTypePad:                 linear(0, 1),
		NodeTypeReshape:             linear(),
		NodeTypeReverse:             linear(),
		NodeTypeScatterMax:          transposed(VJPRegistration[NodeTypeScatterMax]),
		NodeTypeScatterMin:          transposed(VJPRegistration[NodeTypeScatterMin]),
		NodeTypeScatterSum:          linear(0, 2),
		NodeTypeSchedulingBarrier:   same,
		NodeTypeSlice:               linear(),
		NodeTypeTranspose:           linear(),
	}
}

// barrier is the rule of OptimizationBarrier. A barrier that starts or ends a block of nodes that
// reverse mode recomputes (Node.Checkpoint) does the same for their tangents.
func barrier(n *Node, ts []*Node) []*Node {
	if n.NumOutputs() > 1 {
		operands := make([]*Node, len(ts))
		for i, x := range n.Inputs() {
			operands[i] = orZeros(ts[i], x)
		}
		return OptimizationBarriers(operands...)
	}
	switch {
	case !checkpointed(n):
		return one(OptimizationBarrier(ts[0]))
	case recomputed(n):
		return one(ts[0].Checkpoint())
	}
	return one(ts[0].StopCheckpoint())
}
