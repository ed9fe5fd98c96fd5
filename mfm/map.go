package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Map is a meta flow map (arXiv 2601.14430): for each context (t, x) the flow map X_{s,u}(.; t, x)
// of the ODE from noise at s = 0 to the posterior p_{1|t}(.|x) at s = 1,
//
//	X_{s,u}(x̄; t, x) = x̄ + (u-s) v_{s,u}(x̄; t, x).
//
// Times are [batch] with 0 <= s <= u <= 1, or all [1] if the rows share their times; states are
// [batch, ...], classes int32 [batch] or nil. Each method takes the scope of its weights, so one
// Map serves a trained map, its moving averages and frozen copies. The methods build graphs and
// panic as graph functions do.
type Map struct {
	Interpolant     interpolant.Schedule // (α, β) of the interpolant, such as [interpolant.Linear]
	Backbone        nn.Backbone          // network F, for states of x̄'s shape [batch, ...]
	Parametrization Parametrization      // defines v by F
}

// Velocity returns v_{s,u}(x̄; t, x), the average velocity from s to u, [batch, ...]. At u = s it
// is the drift of the posterior's ODE.
func (m *Map) Velocity(scope *model.Scope, in nn.Inputs) *Node {
	network := func(in nn.Inputs) *Node { return m.Backbone(scope.ResetVisited(), in) }
	return m.Parametrization.Velocity(m.Interpolant, network, in)
}

// NFE returns the number of evaluations of the backbone for a velocity: 2 with the guidance of
// [Model.Guided] of a scale that the network was not trained with, otherwise 1.
func (m *Map) NFE() int {
	n := 1
	for p := m.Parametrization; ; {
		g, guidance := p.(guided)
		if !guidance {
			return n
		}
		if !g.trained {
			n *= 2
		}
		p = g.Parametrization
	}
}

// Flow returns X_{s,u}(x̄; t, x), [batch, ...].
func (m *Map) Flow(scope *model.Scope, in nn.Inputs) *Node {
	return Add(in.Xbar, Mul(batch.Like(Sub(in.U, in.S), in.Xbar), m.Velocity(scope, in)))
}

// Posterior returns X_{0,1}(ε; t, x), [batch, ...]: for ε ~ N(0, I) a sample of p_{1|t}(.|x) in one
// evaluation of the network. eps and x are [batch, ...].
func (m *Map) Posterior(scope *model.Scope, eps, t, x, class *Node) *Node {
	return m.Flow(scope, nn.Inputs{S: ZerosLike(t), U: OnesLike(t), T: t, Xbar: eps, X: x, Class: class})
}

// Drift returns the unconditional drift b_t(x) = v_{t,t}(x; 0, .), [batch, ...]: the context at
// time 0 carries no information, so its posterior is the distribution of the data.
func (m *Map) Drift(scope *model.Scope, t, x, class *Node) *Node {
	return m.Velocity(scope, nn.Inputs{S: t, U: t, T: ZerosLike(t), Xbar: x, X: ZerosLike(x), Class: class})
}

// DriftIn returns the unconditional drift with the weights in scope, for a teacher or a sampler.
func (m *Map) DriftIn(scope *model.Scope) interpolant.Drift {
	return func(t, x, class *Node) *Node { return m.Drift(scope, t, x, class) }
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x], computed from [Map.Drift].
func (m *Map) Denoiser(scope *model.Scope, t, x, class *Node) *Node {
	return interpolant.Denoiser(m.Interpolant, m.DriftIn(scope), t, x, class)
}

// Score returns ∇ log p_t(x), computed from [Map.Drift].
func (m *Map) Score(scope *model.Scope, t, x, class *Node) *Node {
	return interpolant.Score(m.Interpolant, m.DriftIn(scope), t, x, class)
}

// Field returns the diagonal v_{s,s}(.; t, x) as the right-hand side of an ODE in s, whose flow map
// is X. t is [batch], x [batch, ...], class int32 [batch] or nil.
func (m *Map) Field(scope *model.Scope, t, x, class *Node) solver.Field {
	return func(s, xbar *Node) *Node {
		return m.Velocity(scope, nn.Inputs{S: s, U: s, T: t, Xbar: xbar, X: x, Class: class})
	}
}
