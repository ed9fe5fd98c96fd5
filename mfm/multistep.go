package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

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
