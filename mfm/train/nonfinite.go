package train

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// NonFiniteError reports a training step whose loss or gradient was not finite. The step was not
// taken: weights, moments, averages and random state are those of the step before.
type NonFiniteError struct {
	Step int64 // the step that failed
	// Tensor names the first non-finite value, in order of computation, that made the loss or the
	// gradient non-finite: a variable by its path, or the result of an operation by its name, shape
	// and the line of code that built it. Intended infinities, as in a mask, that do not reach the
	// loss are ignored.
	Tensor string
}

// Error names the step and the tensor.
func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: %s is not finite; the state of step %d is kept: "+
		"lower the learning rate or clip the gradient", e.Step, e.Tensor, e.Step-1)
}

// diagnose repeats the failed step batch by batch on the first device, from the state before it, to
// find the first non-finite value.
func (t *Trainer) diagnose() error {
	name, err := t.firstNonFinite()
	if err != nil {
		return fmt.Errorf("diagnosing step %d: %w", t.done+1, err)
	}
	return &NonFiniteError{Step: t.done + 1, Tensor: name}
}

func (t *Trainer) firstNonFinite() (string, error) {
	var s suspects
	exec, err := model.NewExec(t.backend, t.store, func(_ *model.Scope, state *Node) []*Node {
		g := state.Graph()
		g.SetTraced(true)
		rng := &solver.RNG{State: state}
		before := t.kept(g)
		terms := t.loss(rng, OnePlus(t.store.GetVariable(StateScope+"/step").NodeValue(g)))
		s = suspects{forward: g.LastNode().Id()}
		grads := Gradient(terms.Total, values(g, t.weights())...)
		s.find(append([]*Node{terms.Total, globalNorm(grads)}, grads...))
		for v, old := range before { // a diagnosis must not change the state
			v.SetNodeValue(old)
		}
		return []*Node{s.flags(g), rng.State}
	})
	if err != nil {
		return "", err
	}
	defer exec.Finalize()
	state, err := t.store.GetVariable(StateScope + "/rng").Value()
	if err != nil {
		return "", err
	}
	for range t.config.Accumulate {
		out, err := exec.Call(state)
		if err != nil {
			return "", err
		}
		finite, err := tensors.CopyFlatData[float32](out[0])
		if err != nil {
			return "", err
		}
		if n := s.first(finite); n != nil {
			return s.name(n), nil
		}
		state = out[1]
	}
	return "a value that is finite when each batch is repeated alone", nil
}

// suspects are the nodes from which a loss and its gradient are computed.
type suspects struct {
	results []*Node
	nodes   []*Node // float nodes with one output that results depend on, in order of computation
	forward NodeId  // the last node before those of the gradient
}

func (s *suspects) find(results []*Node) {
	s.results = results
	needed := make(map[*Node]bool)
	var last NodeId
	for _, n := range results {
		needed[n], last = true, max(last, n.Id())
	}
	all := results[0].Graph().Nodes()[:last+1]
	for i := range all {
		n := all[len(all)-1-i]
		for _, in := range n.Inputs() {
			needed[in] = needed[in] || needed[n]
		}
	}
	for _, n := range all {
		// Non-finite values in a constant are intended.
		if needed[n] && n.NumOutputs() == 1 && n.DType().IsFloat() && n.Type() != NodeTypeConstant {
			s.nodes = append(s.nodes, n)
		}
	}
}

// flags returns 1 for each finite node, 0 for the others.
func (s *suspects) flags(g *Graph) *Node {
	finite := make([]*Node, len(s.nodes))
	for i, n := range s.nodes {
		finite[i] = ReduceAllMin(ConvertDType(IsFinite(n), dtypes.Float32))
	}
	return Stack(finite, 0)
}

// first returns the earliest node whose non-finite values reach a result through non-finite nodes
// only, or nil if there is none. Its own inputs are finite.
func (s *suspects) first(finite []float32) *Node {
	bad := make(map[*Node]bool)
	for i, n := range s.nodes {
		bad[n] = finite[i] == 0
	}
	var first *Node
	seen := make(map[*Node]bool)
	open := append([]*Node(nil), s.results...)
	for len(open) > 0 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		severalOutputs := n.NumOutputs() != 1 // each output is a separate node
		if seen[n] || !bad[n] && !severalOutputs {
			continue
		}
		seen[n] = true
		if !severalOutputs && (first == nil || n.Id() < first.Id()) {
			first = n
		}
		open = append(open, n.Inputs()...)
	}
	return first
}

func (s *suspects) name(n *Node) string {
	if n.Type() == NodeTypeParameter {
		return "variable " + n.GetParameterName()
	}
	op := n.Type().String()
	if n.Type() == NodeTypeSplitNode {
		op = n.Inputs()[0].Type().String()
	}
	name := fmt.Sprintf("the result %s of %s", n.Shape(), op)
	if line := builtAt(n); line != "" {
		name += " at " + line
	}
	if n.Id() > s.forward {
		name += ", in the gradient,"
	}
	return name
}

// builtAt returns the line of code, as "file.go:12", that called GoMLX to build a traced node.
func builtAt(n *Node) string {
	if n.Trace() == nil {
		return ""
	}
	// The trace has two lines per call, the function and its position, innermost call first.
	lines := strings.Split(fmt.Sprintf("%+v", n.Trace()), "\n")
	for i := 1; i+1 < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], "github.com/gomlx/") {
			return filepath.Base(strings.TrimSpace(lines[i+1]))
		}
	}
	return ""
}
