package gmm

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The methods below put a mixture on the graph of their arguments and call [GraphMixture]: times [gmm_test.batch], points [batch,
// dim], float32 or float64 throughout.

// LogMarginalGraph is [Mixture.LogMarginal] on a graph, [gmm_test.batch].
func (m *Mixture) LogMarginalGraph(ip interpolant.Schedule, t, x *Node) *Node {
	return m.like(x).LogMarginal(ip, t, x)
}

// ScoreGraph is [Mixture.Score] on a graph, [batch, dim].
func (m *Mixture) ScoreGraph(ip interpolant.Schedule, t, x *Node) *Node {
	return m.like(x).Score(ip, t, x)
}

// DenoiserGraph is [Mixture.Denoiser] on a graph, [batch, dim].
func (m *Mixture) DenoiserGraph(ip interpolant.Schedule, t, x *Node) *Node {
	return m.like(x).Denoiser(ip, t, x)
}

// DriftGraph is [Mixture.Drift] on a graph, [batch, dim].
func (m *Mixture) DriftGraph(ip interpolant.Schedule, t, x *Node) *Node {
	return m.like(x).Drift(ip, t, x)
}

// PosteriorGraph is [Mixture.Posterior] on a graph, one law a row.
func (m *Mixture) PosteriorGraph(ip interpolant.Schedule, t, x *Node) *GraphMixture {
	return m.like(x).Posterior(ip, t, x)
}

// ConditionalDriftGraph is [Mixture.ConditionalDrift] on a graph, [batch, dim].
func (m *Mixture) ConditionalDriftGraph(ip interpolant.Schedule, s, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(ip, t, x).Drift(ip, s, xbar)
}

// ConditionalDenoiserGraph is [Mixture.ConditionalDenoiser] on a graph, [batch, dim].
func (m *Mixture) ConditionalDenoiserGraph(ip interpolant.Schedule, s, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(ip, t, x).Denoiser(ip, s, xbar)
}

// ConditionalFlowMapGraph is [Mixture.ConditionalFlowMap] on a graph, [batch, dim].
func (m *Mixture) ConditionalFlowMapGraph(ip interpolant.Schedule, s, u, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(ip, t, x).FlowMap(ip, s, u, xbar)
}

// ConditionalAverageVelocityGraph is [Mixture.ConditionalAverageVelocity] on a graph, [batch, dim].
func (m *Mixture) ConditionalAverageVelocityGraph(ip interpolant.Schedule, s, u, xbar, t, x *Node) *Node {
	return m.PosteriorGraph(ip, t, x).AverageVelocity(ip, s, u, xbar)
}

// SampleGraph draws n samples of the given float type, [n, dim], and returns the next state of the random numbers.
func (m *Mixture) SampleGraph(rngState *Node, dtype dtypes.DType, n int) (newState, x *Node) {
	return m.OnGraph(rngState.Graph(), dtype).Sample(rngState, n)
}

func (m *Mixture) like(x *Node) *GraphMixture { return m.OnGraph(x.Graph(), x.DType()) }
