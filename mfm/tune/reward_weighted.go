package tune

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// RewardWeighted is reward-weighted flow matching on data: w = e^{λ r(x₁) - c} and g = w (dI_t/dt -
// b). Its fixed point is that of MFM-FT with Doob's schedule. It needs neither a map nor a gradient
// of the reward, but learns only from the given data, not from what lies between.
type RewardWeighted struct{}

// String returns "reward-weighted".
func (RewardWeighted) String() string { return "reward-weighted" }

// Needs returns Data.
func (RewardWeighted) Needs() Needs { return Needs{Data: true} }

// NFE returns 2: the base drift and the reward.
func (RewardWeighted) NFE(steer.Model) int { return 2 }

// Validate returns nil.
func (RewardWeighted) Validate() error { return nil }

// Regress builds the regressand; see [Objective].
func (RewardWeighted) Regress(p Problem, _ *solver.RNG, s States) Regressand {
	_, r, _ := reward.Weighed(p.Reward, p.Lambda, s.Data, p.Condition(s.Data))
	r = StopGradient(r)
	w := Exp(Sub(r, p.offset(r)))
	v := Sub(s.Velocity, s.Base)
	return Regressand{Weight: w, Vector: StopGradient(Mul(batch.Like(w, v), v)), LogWeight: r}
}
