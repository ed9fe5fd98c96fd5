package tune

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// MetaTuning is MFM-FT: it uses the weights w = e^{λ r(X) - c} of N posterior samples
// X = X_{0,1}(ε; t, x) of a map, and their gradients through reward and map,
//
//	E[w] D = (σ_t²/2) E[∇_x w].
//
// Both sides are plain means, so the fixed point is b* for any N and any distribution of the
// states.
type MetaTuning struct {
	steer.PosteriorSamples
	// Reference is the number of additional posterior samples at each state. Their mean weight plus
	// Floor times e^c replaces e^c at that state. 0 means one c for all states.
	//
	// With one c a state counts as e^{V_t(x)}, as in the tilted distribution. States that the
	// reward disfavors are then learned last, e^{V - c} times more slowly. With reference samples
	// all states with V > c + log Floor count alike. The mean weight alone would not do: it is near
	// zero if the reference samples miss what the reward favors, and the variance would be
	// unbounded.
	Reference int     `json:"reference"`
	Floor     float64 `json:"floor"`
	// GradientFree replaces E[∇_x w] by a covariance, to which it is equal for exact posteriors,
	//
	//	E[∇_x w] = (β_t/α_t²) E[w (X - D̂_t(x))],   D̂_t(x) = E[I_1 | I_t = x],
	//
	// as MFM-GF does. It needs no gradient of reward or map, and has less variance for rewards that
	// are steep at edges and flat elsewhere, as those of classifiers. With one sample D̂_t(x) is
	// the base's denoiser, otherwise the mean of the state's other samples. Both are unbiased for
	// samples of the posterior. An error in the mean of a map's samples is a bias with one sample,
	// and cancels with more, which also have less variance.
	GradientFree bool `json:"gradient_free"`
}

// String returns "mfm-ft", or "mfm-ft-gf" without gradients.
func (m MetaTuning) String() string {
	if m.GradientFree {
		return "mfm-ft-gf"
	}
	return "mfm-ft"
}

// Needs returns the zero value.
func (MetaTuning) Needs() Needs { return Needs{} }

// NFE returns d + N (3 k + 1) + Reference (k + 1) for a model with d evaluations for the base drift
// and k for each posterior sample, and d + (N + Reference) (k + 1) without gradients.
func (m MetaTuning) NFE(p steer.Model) int {
	d, k := max(p.DriftNFE, 1), p.PosteriorNFE
	if m.GradientFree {
		return d + (m.N+m.Reference)*(k+1)
	}
	return d + m.N*(3*k+1) + m.Reference*(k+1)
}

// Validate returns an error that names the first option that is out of range.
func (m MetaTuning) Validate() error {
	if m.LeaveOneOut {
		return fmt.Errorf("leave_one_out: MFM-FT has no bias to remove, use false")
	}
	if m.GradientFree && m.Antithetic {
		return fmt.Errorf("antithetic with gradient_free: a sample must not depend on the other samples of its " +
			"state, use false")
	}
	if m.Reference < 0 || m.Reference > 1<<16 {
		return fmt.Errorf("reference = %d posterior samples: must lie in [0, 65536]", m.Reference)
	}
	if m.Reference > 0 && !(m.Floor > 0 && m.Floor <= 1e6) {
		return fmt.Errorf("floor = %g: must lie in (0, 1e6], since it bounds the weights", m.Floor)
	}
	return m.PosteriorSamples.Validate()
}

// Regress builds the regressand; see [Objective].
func (m MetaTuning) Regress(p Problem, rng *solver.RNG, s States) Regressand {
	if !m.GradientFree {
		p.Model.MustReparameterize(m.String())
	}
	p.Varied = true
	counter := steer.NewCounter(s.X.Graph())
	x := Identity(s.X)
	samples, rewards, _ := m.Draw(p.Problem, rng, counter, s.T, x)
	c := p.offset(rewards)
	if m.Reference > 0 {
		_, others, _ := steer.PosteriorSamples{N: m.Reference}.Draw(p.Problem, rng, counter, s.T, StopGradient(s.X))
		reference := InsertAxes(batch.LogMeanExp(others), -1)
		c = AddScalar(c, math.Log(m.Floor))
		top := Max(reference, c)
		c = StopGradient(Add(top, Log(Add(Exp(Sub(reference, top)), Exp(Sub(c, top))))))
	}
	weights := Exp(Sub(rewards, c))
	w := ReduceMean(weights, 1)
	var vector *Node
	if m.GradientFree {
		vector = m.covariance(p, s, weights, samples)
	} else {
		gradient := Gradient(ReduceAllSum(w), x)[0]
		vector = Mul(batch.Like(p.Noise.Half(p.Model.Interpolant, s.T), gradient), gradient)
	}
	return Regressand{
		Weight: StopGradient(w), Vector: StopGradient(vector), LogWeight: StopGradient(batch.LogMeanExp(rewards)),
	}
}

// leastAlpha bounds α_t from below where the covariance is divided by its square. This bounds the
// variance of a sample toward t = 1, with a bias for t > 0.999 (linear schedule).
const leastAlpha = 1e-3

// covariance returns (σ_t²/2) (β_t/α_t²) mean_i w_i (X_i - D̂_t(x)), of the states' shape, for
// weights [n, N] and samples [n N, ...].
func (m MetaTuning) covariance(p Problem, s States, weights, samples *Node) *Node {
	ip := p.Model.Interpolant
	grouped := Reshape(samples, append([]int{s.X.Shape().Dim(0), m.N}, s.X.Shape().Dimensions[1:]...)...)
	var deviation *Node
	if m.N == 1 {
		base := func(_, _, _ *Node) *Node { return s.Base }
		deviation = Sub(grouped, InsertAxes(interpolant.Denoiser(ip, base, s.T, s.X, nil), 1))
	} else { // from the mean of the other samples
		n := float64(m.N)
		deviation = MulScalar(Sub(grouped, ReduceAndKeep(grouped, ReduceMean, 1)), n/(n-1))
	}
	mean := ReduceMean(Mul(batch.Like(weights, deviation), deviation), 1)
	alpha, beta, _, _ := ip.Graph(s.T)
	factor := Div(Mul(p.Noise.Half(ip, s.T), beta), Square(MaxScalar(alpha, leastAlpha)))
	return Mul(batch.Like(factor, mean), mean)
}

// maxExponent is the largest exponent of a weight: the square of e^20 leaves float32 room for a
// sum. A batch with a larger exponent has all its weights scaled down by the same factor. This
// prevents overflow, with a bias for such batches: with a running offset, those whose largest
// weight is e^20 times the mean.
const maxExponent = 20

// unknownOffset is below every offset: an offset that is not above it is unknown.
const unknownOffset = -1e29

// offset returns c for rewards λ r, [n] or [n, N]: the given one if it is known, otherwise the
// logarithm of the batch's mean weight. A scalar is raised so that no weight exceeds
// e^maxExponent.
func (p Problem) offset(rewards *Node) *Node {
	if p.Offset != nil && p.Offset.Rank() == 1 {
		return batch.Like(p.Offset, rewards)
	}
	c := Reshape(batch.LogMeanExp(Reshape(rewards, 1, -1)))
	if p.Offset != nil {
		known := GreaterThan(p.Offset, Scalar(c.Graph(), p.Offset.DType(), unknownOffset))
		c = Where(known, ConvertDType(p.Offset, c.DType()), c)
	}
	c = Max(c, AddScalar(ReduceAllMax(rewards), -maxExponent))
	return StopGradient(c)
}
