package steer

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/solver"
)

// GuidanceForm is a form of [FlowMapGuidance].
type GuidanceForm string

// The forms.
const (
	// EuclideanForm takes the gradient of the reward at the map's output as it is, without a
	// backward pass of the network.
	EuclideanForm GuidanceForm = "fmrg-e"
	// JacobianForm multiplies it by the transposed Jacobian of the map.
	JacobianForm GuidanceForm = "fmrg-j"
)

// FlowMapGuidance is flow-map reward guidance, FMRG (arXiv 2604.27147): the control u of the ODE
// dx/dt = b_t(x) + u_t(x), with the flow map X of the uncontrolled one,
//
//	u_t(x) = λ_t ∇r(X_{t,1}(x))                       [EuclideanForm]
//	u_t(x) = λ_t (∂X_{t,1}(x)/∂x)ᵀ ∇r(X_{t,1}(x))     [JacobianForm]
//
// The second is the greedy solution of min ∫ |u|²/(2λ) dt - r(x_1), which is exact for small λ. So
// samples ascend the reward and do not follow the tilted distribution; there is no factor σ_t²/2.
// A step applies the map from t to t' and the control at its start, as the authors' code does with
// one gradient step for each interval:
//
//	x_{t'} = X_{t,t'}(x_t) + (t' - t) u_t(x_t).
//
// With [RescaleLength] the control has the length Ratio |X_{t,t'}(x) - x|/(t' - t), as with the
// code's option normalize_grad and the step size Ratio. What the code offers beside this is missing
// here: several gradient steps for an interval, an end of the guidance before t = 1, and the factor
// t'(1-t) of the Euclidean form.
//
// The map is that of [Model].FlowMap. A sample costs 3K evaluations in the Euclidean form and 5K
// with the Jacobian: two of the map and one of the reward in each of K steps, and a backward pass.
type FlowMapGuidance struct {
	Config // of which the grid, Start, λ and the renormalization are used
	Form   GuidanceForm
}

// String returns the form.
func (m FlowMapGuidance) String() string { return string(m.Form) }

// Configuration returns the configuration.
func (m FlowMapGuidance) Configuration() Config { return m.Config }

// Rows returns 1.
func (FlowMapGuidance) Rows() int { return 1 }

// Group returns 1.
func (FlowMapGuidance) Group() int { return 1 }

// Validate returns an error that names the first option that is out of range.
func (m FlowMapGuidance) Validate() error {
	if m.Form != EuclideanForm && m.Form != JacobianForm {
		return fmt.Errorf("form %q is unknown: use %s or %s", m.Form, EuclideanForm, JacobianForm)
	}
	return m.Config.Validate()
}

// Build builds the run; see [Method].
func (m FlowMapGuidance) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program().build(p, rng, counter, noise)
}

func (m FlowMapGuidance) program() program {
	times := m.Times()
	table := make([][]float64, m.Steps)
	for k := range table {
		t, to := times[k], times[k+1]
		table[k] = []float64{t, to, to - t, m.lambda(max(t, m.Start))}
	}
	return m.stepping(func(p Problem, i *Node, nodes []*Node) []*Node {
		s := stateOf(nodes)
		r := batch.Of(ConstAsDType(s.x.Graph(), s.x.DType(), table), i)
		p.Lambda = r[3]
		t, to := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
		base := Sub(p.Model.flow(m.String(), s.counter, t, to, s.x), s.x)
		e := m.control(p, s.counter, t, s.x)
		steering := m.renormalized(Mul(r[2], e.Gradient), base)
		s.x = Add(s.x, Add(base, steering))
		s.series = batch.SetRow(s.series, i, e.means(base, steering))
		return s.nodes()
	})
}

// control returns λ r(X_{t,1}(x)) as the value and the control as its gradient.
func (m FlowMapGuidance) control(p Problem, counter *Counter, t, x *Node) Estimate {
	n := x.Shape().Dim(0)
	x = Identity(x)
	end := p.Model.flow(m.String(), counter, t, OnesLike(t), x)
	of := x
	if m.Form == EuclideanForm {
		end = Identity(StopGradient(end))
		of = end
	} else {
		counter.Network(0, n*p.Model.FlowMapNFE)
	}
	v, bad := rewardOf(p, counter, end)
	counter.Reward(0, n)
	return Estimate{
		Value: StopGradient(v), Gradient: Gradient(ReduceAllSum(v), of)[0], Bad: StopGradient(bad),
	}
}
