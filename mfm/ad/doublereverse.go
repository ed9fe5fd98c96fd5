package ad

import (
	"github.com/gomlx/gomlx/core/graph"
)

// DoubleReverse returns what [JVP] does, from two reverse passes: Jẋ is the gradient of <Jᵀw, ẋ> in
// w. Jᵀw is linear in w, so the second pass needs no value of the first, and with a compiler that
// drops unused values it runs about as fast as JVP. But its graph is larger, and it panics if GoMLX
// has no reverse-mode rule for an op on the path, or for an op that such a rule uses. It is the
// reference for tests and timings of JVP. For integer outputs it returns zeros.
func DoubleReverse(outputs, inputs, tangents []*graph.Node) []*graph.Node {
	newPass(outputs, inputs, tangents) // checks the arguments
	var xs, ts []*graph.Node
	for i, t := range tangents {
		if t != nil {
			xs, ts = append(xs, inputs[i]), append(ts, t)
		}
	}
	result := make([]*graph.Node, len(outputs))
	for i, y := range outputs {
		w := zerosLike(y)
		if len(xs) == 0 || !differentiable(y) {
			result[i] = w
			continue
		}
		var sum *graph.Node
		for j, cotangent := range graph.Gradient(inner(w, y), xs...) {
			sum = add(sum, inner(cotangent, ts[j]))
		}
		result[i] = graph.Gradient(sum, w)[0]
	}
	return result
}
