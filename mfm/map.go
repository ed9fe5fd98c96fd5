package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Map is a meta flow map (arXiv 2601.14430): one network that for every context (t, x) is the flow map X_{s,u}(.; t, x) of
// the ODE that carries noise at s = 0 to the posterior p_{1|t}(.|x) at s = 1,
//
//	X_{s,u}(x̄; t, x) = x̄ + (u-s) v_{s,u}(x̄; t, x).
//
// Times are [batch] with 0 <= s <= u <= 1, or all of them [1] where rows have their times in common, states [batch, ...], classes int32 [batch] or nil. The weights live in the scope that
// each method is given, so that a map, its moving averages and frozen copies are one Map and several scopes.
// The methods build graphs and panic as graph functions do.
type Map struct {
	Interpolant     interpolant.Schedule
	Backbone        nn.Backbone
	Parametrization Parametrization
}

// Velocity returns v_{s,u}(x̄; t, x), the average velocity from s to u; at u = s the drift of the posterior's ODE.
func (m *Map) Velocity(scope *model.Scope, in nn.Inputs) *Node {
	network := func(in nn.Inputs) *Node { return m.Backbone(scope.ResetVisited(), in) }
	return m.Parametrization.Velocity(m.Interpolant, network, in)
}

// Flow returns X_{s,u}(x̄; t, x).
func (m *Map) Flow(scope *model.Scope, in nn.Inputs) *Node {
	return Add(in.Xbar, Mul(batch.Like(Sub(in.U, in.S), in.Xbar), m.Velocity(scope, in)))
}

// Posterior returns X_{0,1}(ε; t, x): with ε ~ N(0, I) a sample of p_{1|t}(.|x) in one evaluation of the network. eps and x
// are [batch, ...].
func (m *Map) Posterior(scope *model.Scope, eps, t, x, class *Node) *Node {
	return m.Flow(scope, nn.Inputs{S: ZerosLike(t), U: OnesLike(t), T: t, Xbar: eps, X: x, Class: class})
}

// Drift returns the unconditional drift b_t(x) = v_{t,t}(x; 0, .): a context at time 0 says nothing, so its posterior is
// the data's law.
func (m *Map) Drift(scope *model.Scope, t, x, class *Node) *Node {
	return m.Velocity(scope, nn.Inputs{S: t, U: t, T: ZerosLike(t), Xbar: x, X: ZerosLike(x), Class: class})
}

// DriftIn returns the drift with the weights in scope bound, as a teacher or a sampler takes it.
func (m *Map) DriftIn(scope *model.Scope) interpolant.Drift {
	return func(t, x, class *Node) *Node { return m.Drift(scope, t, x, class) }
}

// Denoiser returns D_t(x) = E[I_1 | I_t = x], from the map's own drift.
func (m *Map) Denoiser(scope *model.Scope, t, x, class *Node) *Node {
	return interpolant.Denoiser(m.Interpolant, m.DriftIn(scope), t, x, class)
}

// Score returns ∇ log p_t(x), from the map's own drift.
func (m *Map) Score(scope *model.Scope, t, x, class *Node) *Node {
	return interpolant.Score(m.Interpolant, m.DriftIn(scope), t, x, class)
}

// Field returns the map's diagonal v_{s,s}(.; t, x) as a field in s: the ODE whose flow the map learns. t is [batch], x [batch, ...], class int32
// [batch] or nil.
func (m *Map) Field(scope *model.Scope, t, x, class *Node) solver.Field {
	return func(s, xbar *Node) *Node {
		return m.Velocity(scope, nn.Inputs{S: s, U: s, T: t, Xbar: xbar, X: x, Class: class})
	}
}
