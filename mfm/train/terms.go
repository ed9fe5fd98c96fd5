package train

import . "github.com/gomlx/gomlx/core/graph"

// Terms are the scalars that an [Objective] returns.
type Terms struct {
	Total   *Node    // minimized
	Metrics []Metric // reported in [Metrics], with the same names in every step
}

// Metric is a named scalar of a training step.
type Metric struct {
	Name  string
	Value *Node // scalar, of [Terms].Total's type
}

// nodes returns the total and the values of the metrics.
func (t Terms) nodes() []*Node {
	nodes := []*Node{t.Total}
	for _, m := range t.Metrics {
		nodes = append(nodes, m.Value)
	}
	return nodes
}

// with returns terms with the same names and the values of nodes.
func (t Terms) with(nodes []*Node) Terms {
	out := Terms{Total: nodes[0]}
	for i, m := range t.Metrics {
		out.Metrics = append(out.Metrics, Metric{m.Name, nodes[1+i]})
	}
	return out
}
