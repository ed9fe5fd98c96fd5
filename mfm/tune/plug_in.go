package tune

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// PlugIn regresses the correction on (σ_t²/2) ∇V̂_t with an estimator of steering: with
// [steer.MFMG] the gradient of the logarithm of a mean, with [steer.MFMGF] self-normalized weights.
// Both are ratios of means, with a bias of order 1/N. With [steer.Exact] it regresses on the exact
// correction.
type PlugIn struct{ steer.Estimator }

// String returns "plug-in-" with the estimator's name.
func (m PlugIn) String() string { return "plug-in-" + m.Estimator.String() }

// Needs returns the zero value.
func (PlugIn) Needs() Needs { return Needs{} }

// NFE returns the number of evaluations of the estimator for each state, and 1 for the base drift.
func (m PlugIn) NFE(p steer.Model) int {
	n := m.Samples()
	switch m.Estimator.(type) {
	case steer.MFMG:
		return 1 + n*(3*p.PosteriorNFE+1)
	case steer.DPS: // evaluates the base drift again, with a gradient
		return 5
	case steer.Exact:
		return 1
	}
	return 1 + n*(p.PosteriorNFE+1)
}

// Regress builds the regressand; see [Objective].
func (m PlugIn) Regress(p Problem, rng *solver.RNG, s States) Regressand {
	p.Varied = true
	e := m.Estimate(p.Problem, rng, steer.NewCounter(s.X.Graph()), s.T, s.X, s.Base, true)
	half := p.Noise.Half(p.Model.Interpolant, s.T)
	return Regressand{Vector: StopGradient(Mul(batch.Like(half, e.Gradient), e.Gradient))}
}
