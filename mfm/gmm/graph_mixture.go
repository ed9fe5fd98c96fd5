package gmm

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// The methods below put a mixture on the graph of their arguments and call [GraphMixture]: times [batch], points [batch,
// dim], float32 or float64 throughout.

// LogMarginalGraph is [Mixture.LogMarginal] on a graph, [batch].
func (m *Mixture) LogMarginalGraph(sched Schedule, t, x *Node) *Node {
	return m.like(x).LogMarginal(sched, t, x)
}

// ScoreGraph is [Mixture.Score] on a graph, [batch, dim].
func (m *Mixture) ScoreGraph(sched Schedule, t, x *Node) *Node {
	return m.like(x).Score(sched, t, x)
}

// DenoiserGraph is [Mixture.Denoiser] on a graph, [batch, dim].
func (m *Mixture) DenoiserGraph(sched Schedule, t, x *Node) *Node {
	return m.like(x).Denoiser(sched, t, x)
}

// DriftGraph is [Mixture.Drift] on a graph, [batch, dim].
func (m *Mixture) DriftGraph(sched Schedule, t, x *Node) *Node {
	return m.like(x).Drift(sched, t, x)
}

// PosteriorGraph is [Mixture.Posterior] on a graph, one law a row.
func (m *Mixture) PosteriorGraph(sched Schedule, t, x *Node) *GraphMixture {
	return m.like(x).Posterior(sched, t, x)
}

// ConditionalDriftGraph is [Mixture.ConditionalDrift] on a graph, [batch, dim].
func (m *Mixture) ConditionalDriftGraph(sched Schedule, s, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(sched, t, x).Drift(sched, s, xbar)
}

// ConditionalDenoiserGraph is [Mixture.ConditionalDenoiser] on a graph, [batch, dim].
func (m *Mixture) ConditionalDenoiserGraph(sched Schedule, s, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(sched, t, x).Denoiser(sched, s, xbar)
}

// ConditionalFlowMapGraph is [Mixture.ConditionalFlowMap] on a graph, [batch, dim].
func (m *Mixture) ConditionalFlowMapGraph(sched Schedule, s, u, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(sched, t, x).FlowMap(sched, s, u, xbar)
}

// ConditionalAverageVelocityGraph is [Mixture.ConditionalAverageVelocity] on a graph, [batch, dim].
func (m *Mixture) ConditionalAverageVelocityGraph(sched Schedule, s, u, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(sched, t, x).AverageVelocity(sched, s, u, xbar)
}

// SampleGraph draws n samples of the given float type, [n, dim], and returns the next state of the random numbers.
func (m *Mixture) SampleGraph(rngState *Node, dtype dtypes.DType, n int) (newState, x *Node) {
	return m.OnGraph(rngState.Graph(), dtype).Sample(rngState, n)
}

func (m *Mixture) like(x *Node) *GraphMixture { return m.OnGraph(x.Graph(), x.DType()) }
