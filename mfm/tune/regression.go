package tune

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Problem is what a regressand depends on beside the states: the base model, a reward with its
// factor λ, and the schedule of σ_t. Model and reward are conditioned on the classes of the states;
// a method that needs paths conditions them itself, on those of [Paths].
type Problem struct {
	steer.Problem
	Noise Noise
	// Offset is c in w = e^{λ r - c}: a scalar, or [n] with one number for each row. It must not
	// depend on the posterior samples of w. nil means the logarithm of the batch's mean weight.
	Offset *Node
}

// Noise is the schedule of σ_t²/2, the factor of the value's gradient in the drift. The zero value
// of Constant is Doob's schedule (β'/β) α² - α' α, see [interpolant.HalfSquaredNoise]: the fixed
// point is then the drift of the tilted distribution.
//
// With a Constant the fixed point is b + Constant ∇V. V is the value along the interpolant, whose
// diffusion is Doob's σ_t. Neither the ODE nor an SDE with the constant noise then ends at the
// tilted distribution: the constant is a strength of steering, like a guidance scale.
type Noise struct {
	Constant float64 `json:"constant,omitempty"` // σ²/2; 0 means Doob's schedule
	// Start is t_0 > 0, below which Doob's σ_t is that of t_0.
	Start float64 `json:"start"`
}

// Validate returns an error if Constant lies outside [0, 1e6] or Start outside [1e-6, 1/2].
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

// States are the states at which a step regresses, one a row.
type States struct {
	T, X *Node // times [n], states [n, ...]
	Base *Node // b_t(x), of X's shape
	// Class has the labels that the states are conditioned on, int32 [n]; nil means none.
	Class *Node
	// Data and Velocity are x₁ and dI_t/dt if X are interpolants I_t, otherwise nil.
	Data, Velocity *Node
	// Paths are the paths on which the states lie if all are on-policy, otherwise nil.
	Paths *Paths
}

// Regressand is a condition on the correction D at each state: E[Weight] D = E[Vector].
type Regressand struct {
	Weight *Node // w >= 0, [n]; nil means 1
	Vector *Node // g, of the states' shape
	// LogWeight is log w + c, [n], which updates the running offset; nil leaves the offset as it
	// is.
	LogWeight *Node
}

// Objective builds the condition by which the correction is trained.
type Objective interface {
	// Regress builds the regressand at the states, without gradients.
	Regress(p Problem, rng *solver.RNG, s States) Regressand
	// Needs returns what the objective needs of its states.
	Needs() Needs
	// NFE returns the number of evaluations for each state, without those of the trained network. A
	// backward pass counts twice, as in [steer.Counts.NFE].
	NFE(p steer.Model) int
	// Validate returns an error that names the first option that is out of range.
	Validate() error
	// String returns the name under which results are stored.
	String() string
}

// Needs is what an objective needs of its states.
type Needs struct {
	Data  bool // interpolants of data
	Paths bool // on-policy paths
}

// residual returns w D - g, of D's shape.
func (r Regressand) residual(correction *Node) *Node {
	if r.Weight == nil {
		return Sub(correction, r.Vector)
	}
	return Sub(Mul(batch.Like(r.Weight, correction), correction), r.Vector)
}

// squares returns |D + sg[(w-1) D - g]|² for each state, a mean over its elements, [n].
func (r Regressand) squares(correction *Node) *Node {
	rest := StopGradient(Sub(r.residual(correction), correction))
	e := Square(Add(correction, rest))
	return ReduceMean(Reshape(e, e.Shape().Dim(0), -1), 1)
}
