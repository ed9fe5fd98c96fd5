package tune

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Problem is what a drift is tuned to: the base law with its posterior samples, a reward, its factor λ, and the schedule of σ_t.
type Problem struct {
	steer.Problem
	Noise Noise
	// Offset is c in w = e^{λ r - c}, a scalar or one number a row, [n]; nil for that of the batch's mean weight. It must not depend on the draws that w is made of.
	Offset *Node
}

// Noise is the schedule of σ_t²/2 with which the value's gradient enters the drift. The zero value is Doob's, (β'/β) α² - α' α ([interpolant.HalfSquaredNoise]), and the fixed point then is the drift of the tilted law.
//
// With a Constant the fixed point is b + Constant ∇V. V is the value along the interpolant, of which Doob's σ_t alone is the diffusion: neither the ODE nor an SDE of the constant's noise then has the tilted law at its end. It is
// steering of a strength of one's own, as a guidance scale is.
type Noise struct {
	Constant float64 `json:"constant,omitempty"` // σ²/2; 0: Doob's
	// Start is t_0 > 0, below which Doob's σ_t is that of t_0.
	Start float64 `json:"start"`
}

// Validate returns an error for a negative constant and a start outside (0, 1/2].
func (n Noise) Validate() error {
	if !(n.Constant >= 0 && n.Constant <= 1e6) {
		return fmt.Errorf("noise.constant = %g: must lie in [0, 1e6], 0 for Doob's schedule", n.Constant)
	}
	if !(n.Start >= 1e-6 && n.Start <= 0.5) {
		return fmt.Errorf("noise.start = %g: must lie in [1e-6, 0.5]", n.Start)
	}
	return nil
}

// Half returns σ_t²/2 at times t, [n].
func (n Noise) Half(ip interpolant.Schedule, t *Node) *Node {
	if n.Constant > 0 {
		return MulScalar(OnesLike(t), n.Constant)
	}
	alpha, beta, dAlpha, dBeta := ip.Graph(MaxScalar(t, n.Start))
	return Div(Mul(alpha, Sub(Mul(dBeta, alpha), Mul(dAlpha, beta))), beta)
}

// States are the rows at which a step regresses.
type States struct {
	T, X *Node // times [n], states [n, ...]
	Base *Node // b_t(x), of X's shape
	// Data and Velocity are x₁ and dI_t/dt where X is an interpolant I_t, nil elsewhere.
	Data, Velocity *Node
	// Paths are the paths of the current model that the states lie on, nil elsewhere.
	Paths *Paths
}

// Regressand is a condition on the correction D at each row: E[Weight] D = E[Vector].
type Regressand struct {
	Weight *Node // w, [n], not negative; nil: 1
	Vector *Node // g, of the states' shape
	// LogWeight is log w + c, [n], from which the running offset is taken; nil where the method has no use for one.
	LogWeight *Node
}

// Method says what the correction is regressed on.
type Method interface {
	// Regress builds the regressand at the states. No gradient goes through it.
	Regress(p Problem, rng *solver.RNG, s States) Regressand
	// Needs says which states it can be trained on.
	Needs() Needs
	// NFE returns the evaluations for one row beside the trained network's own, a backward pass as two, as [steer.Counts.NFE] counts.
	NFE(p steer.Model) int
	Validate() error
	// String returns the name under which results go.
	String() string
}

// Needs are what a method asks of its states.
type Needs struct {
	Data  bool // interpolants of samples
	Paths bool // the current model's own paths
}

// residual returns w D - g, of D's shape.
func (r Regressand) residual(correction *Node) *Node {
	if r.Weight == nil {
		return Sub(correction, r.Vector)
	}
	return Sub(Mul(batch.Like(r.Weight, correction), correction), r.Vector)
}

// squares returns |D + sg[(w-1) D - g]|² for each row, a mean over its elements, [n].
func (r Regressand) squares(correction *Node) *Node {
	rest := StopGradient(Sub(r.residual(correction), correction))
	e := Square(Add(correction, rest))
	return ReduceMean(Reshape(e, e.Shape().Dim(0), -1), 1)
}
