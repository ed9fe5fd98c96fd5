package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

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

// PosteriorSteps returns a sample of p_{1|t}(.|x) by several steps of the map along times 0 = s_0 <
// ... < s_K = 1,
//
//	x̄_{k+1} = X_{s_k,s_{k+1}}(x̄_k; t, x),   x̄_0 = ε,
//
// in one compiled loop. For the exact map the result does not depend on times; a learned map has
// smaller errors for shorter steps. With times 0, 1 it is [Map.Posterior], and has the same shapes.
func (m *Map) PosteriorSteps(scope *model.Scope, times []float64, eps, t, x, class *Node) *Node {
	var table [][]float64
	for k := 1; k < len(times); k++ {
		table = append(table, []float64{times[k-1], times[k]})
	}
	return solver.Scan(nil, table, eps, func(row []*Node, xbar *Node) *Node {
		in := nn.Inputs{S: batch.Every(row[0], t), U: batch.Every(row[1], t), T: t, Xbar: xbar, X: x, Class: class}
		return m.Flow(scope, in)
	})
}

// PosteriorRefined returns a sample of p_{1|t}(.|x) by repeated denoising and noising along times 0
// = s_0 < ... < s_K = 1, the multistep sampling of consistency models (arXiv 2303.01469):
//
//	x̂_k = X_{s_k,1}(x̄_k; t, x),   x̄_{k+1} = α_{s_{k+1}} ε_{k+1} + β_{s_{k+1}} x̂_k,   x̄_0 = ε,
//
// with fresh noise ε_k. The result is x̂_{K-1}, computed in one compiled loop. The exact map
// preserves the distribution in every step; with a learned map each step discards part of the
// errors made before.
func (m *Map) PosteriorRefined(scope *model.Scope, rng *solver.RNG, times []float64, eps, t, x, class *Node) *Node {
	var table [][]float64
	for k := 1; k < len(times); k++ {
		alpha, beta, _, _ := m.Interpolant.At(times[k])
		if k == len(times)-1 {
			alpha, beta = 0, 1 // exact also for a schedule held near its end
		}
		table = append(table, []float64{times[k-1], alpha, beta})
	}
	return solver.Scan(rng, table, eps, func(row []*Node, xbar *Node) *Node {
		in := nn.Inputs{S: batch.Every(row[0], t), U: OnesLike(t), T: t, Xbar: xbar, X: x, Class: class}
		return Add(Mul(row[1], rng.Normal(x.Shape())), Mul(row[2], m.Flow(scope, in)))
	})
}

// Network is a backbone with bound weights: it maps its inputs to a node of x̄'s shape.
type Network func(in nn.Inputs) *Node

// Parametrization defines the average velocity v_{s,u}(x̄; t, x) by the raw output F of a network,
// and the size of the part that F has to learn.
type Parametrization interface {
	// Velocity returns v_{s,u}(x̄; t, x), with x̄'s shape. It calls f once.
	Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node
	// Whiten divides an error in the velocity, at inner time s for a context at time t, by the size
	// of F's contribution there, so that losses are of order one at all times. s and t are [batch],
	// err [batch, ...].
	Whiten(ip interpolant.Schedule, s, t, err *Node) *Node
}

// ParametrizationName is the name of a parametrization in configurations. Those of mixtures and of
// images each take some of the names.
type ParametrizationName string

// The names.
const (
	PlainName    ParametrizationName = "plain"    // [Plain]
	AnchoredName ParametrizationName = "anchored" // [Anchored]
	// GaussianName is a [Gaussian] with the moments of the data.
	GaussianName ParametrizationName = "gaussian"
	UnfusedName  ParametrizationName = "unfused"  // the same with [Gaussian].NoFusion
	DiagonalName ParametrizationName = "diagonal" // a [Gaussian] with the variances of the data alone
	MixtureName  ParametrizationName = "mixture"  // a [MixturePrior] fitted to the data
)

// Plain is the parametrization v_{s,u} = F, so X_{s,u}(x̄) = x̄ + (u-s) F.
type Plain struct{}

// Velocity returns the network's output.
func (Plain) Velocity(_ interpolant.Schedule, f Network, in nn.Inputs) *Node { return f(in) }

// Whiten returns err.
func (Plain) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// String returns "plain".
func (Plain) String() string { return string(PlainName) }

// Anchored is the optional parametrization of the paper's code, for the linear schedule:
//
//	v_{s,u} = (1-t) F + t (x - x̄)/(1-s).
//
// Without a network it is exact at t = 1; at t = 0 it is [Plain]. Since it does not depend on u, F
// diverges like 1/(1-s). 1-s is at least 1e-3 here.
type Anchored struct{}

// Velocity returns the average velocity, see [Anchored]. It panics for schedules other than
// [interpolant.Linear].
func (Anchored) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if _, linear := ip.(interpolant.Linear); !linear {
		Panicf("the anchored parametrization needs the linear schedule, not %v", ip)
	}
	s, t := batch.Like(in.S, in.Xbar), batch.Like(in.T, in.Xbar)
	anchor := Div(Sub(in.X, in.Xbar), MaxScalar(OneMinus(s), 1e-3))
	return Add(Mul(OneMinus(t), f(in)), Mul(t, anchor))
}

// Whiten returns err.
func (Anchored) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// String returns "anchored".
func (Anchored) String() string { return string(AnchoredName) }
