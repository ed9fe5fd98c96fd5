package tune

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// AdjointMatching regresses the correction on the lean adjoint along on-policy paths
// (Domingo-Enrich et al., arXiv 2409.08861): a(1) = λ ∇r(X_1), carried back through the base's SDE,
//
//	-da/dt = (∇_x [2 b_t - (β'/β) x])ᵀ a,   g = (σ_t²/2) a.
//
// It needs no map, but a reward with a gradient and a whole path for each target. At the optimum,
// and only there, a has the mean ∇V.
type AdjointMatching struct{}

// String returns "adjoint".
func (AdjointMatching) String() string { return "adjoint" }

// Needs returns Paths.
func (AdjointMatching) Needs() Needs { return Needs{Paths: true} }

// NFE returns 4 for each state: the step of the path, the base drift, and its backward pass.
func (AdjointMatching) NFE(steer.Model) int { return 4 }

// Validate returns nil.
func (AdjointMatching) Validate() error { return nil }

// Regress builds the regressand; see [Objective].
func (AdjointMatching) Regress(p Problem, _ *solver.RNG, s States) Regressand {
	paths := s.Paths
	p.Problem = p.Conditioned(paths.Class)
	end := Identity(StopGradient(paths.End))
	_, r, _ := reward.Weighed(p.Reward, p.Lambda, end, p.Condition(end))
	a := Gradient(ReduceAllSum(r), end)[0]
	steps := len(paths.Times) - 1
	table := make([][]float64, steps)
	for k := range table {
		t := paths.Times[k]
		_, beta, _, dBeta := p.Model.Interpolant.At(t)
		table[k] = []float64{t, paths.Times[k+1] - t, dBeta / beta}
	}
	rows := ConstAsDType(a.Graph(), a.DType(), table)
	adjoints := ZerosLike(paths.X)
	state := solver.Loop(steps, []*Node{a, adjoints}, func(i *Node, state []*Node) []*Node {
		k := Sub(Const(i.Graph(), int32(steps-1)), i) // backward
		row := batch.Of(rows, k)
		a := state[0]
		x := Identity(batch.Row(paths.X, k))
		drift := Sub(MulScalar(p.Model.Drift(batch.Every(row[0], x), x, nil), 2), Mul(row[2], x))
		a = Add(a, Mul(row[1], Gradient(ReduceAllSum(Mul(drift, StopGradient(a))), x)[0]))
		return []*Node{StopGradient(a), batch.SetRow(state[1], k, a)}
	})
	g := Reshape(state[1], s.X.Shape().Dimensions...)
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	return Regressand{Vector: StopGradient(Mul(batch.Like(half, g), g))}
}
