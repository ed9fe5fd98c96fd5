package steer

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/solver"
)

// PosteriorSamples are the options of posterior sampling in an estimate.
type PosteriorSamples struct {
	// N is the number of posterior samples for each state.
	N int `json:"n"`
	// Antithetic draws the noise in pairs ε, -ε; N must be even.
	Antithetic bool `json:"antithetic"`
	// Shared uses the same noise for all states. Their errors are then correlated: differences
	// between states are estimated better, means over states worse.
	Shared bool `json:"shared"`
	// LeaveOneOut removes the bias of order 1/N by the jackknife: N times the estimate minus N-1
	// times the mean of the N estimates that each leave one sample out. It has no effect if N is 1.
	LeaveOneOut bool `json:"leave_one_out"`
}

// Samples returns N.
func (d PosteriorSamples) Samples() int { return d.N }

// Validate returns an error if N lies outside [1, 65536], or is odd with Antithetic.
func (d PosteriorSamples) Validate() error {
	if d.N < 1 || d.N > 1<<16 {
		return fmt.Errorf("n = %d posterior samples: must lie in [1, 65536]", d.N)
	}
	if d.Antithetic && d.N%2 != 0 {
		return fmt.Errorf("n = %d posterior samples in antithetic pairs: must be even", d.N)
	}
	return nil
}

// noise returns noise [n·N, ...], in which the N rows of a state are adjacent.
func (d PosteriorSamples) noise(rng *solver.RNG, x *Node) *Node {
	dims := append([]int(nil), x.Shape().Dimensions...)
	states, n := dims[0], d.N
	if d.Shared {
		states = 1
	}
	if d.Antithetic {
		n /= 2
	}
	shape := x.Shape().Clone()
	shape.Dimensions = append([]int{states, n}, dims[1:]...)
	eps := rng.Normal(shape)
	if d.Antithetic {
		eps = Concatenate([]*Node{eps, Neg(eps)}, 1)
	}
	if d.Shared {
		eps = BroadcastToDims(eps, append([]int{dims[0], d.N}, dims[1:]...)...)
	}
	dims[0] *= d.N
	return Reshape(eps, dims...)
}

// Draw builds N posterior samples for each state of x, [n·N, ...] with those of a state adjacent,
// their rewards λ r, [n, N], and for each state the number of rewards that are NaN or +Inf, [n]. It
// adds the evaluations to counter. It panics if the model has no posterior samples, and for
// Antithetic or Shared if they are not functions of the noise.
func (d PosteriorSamples) Draw(p Problem, rng *solver.RNG, counter *Counter, t, x *Node) (samples, rewards, bad *Node) {
	if p.Model.Posterior == nil {
		Panicf("the model has no posterior samples: use a map or the exact value")
	}
	if p.Model.Detached && (d.Antithetic || d.Shared) {
		Panicf("antithetic or shared noise has no effect: this model's posterior samples come from a closed form, " +
			"not from the noise; use independent noise, or a map")
	}
	rows := x.Shape().Dim(0) * d.N
	eps := d.noise(rng, x)
	times := Slice(t, AxisRange(0, 1))
	if p.Varied {
		times = batch.Repeat(t, d.N)
	}
	samples = solver.Unrolled(x.Graph(), func() *Node {
		return p.Model.Posterior(rng, eps, times, batch.Repeat(x, d.N), nil)
	})
	counter.Network(rows*p.Model.PosteriorNFE, 0)
	rewards, bad = rewardOf(p, counter, samples)
	return samples, Reshape(rewards, -1, d.N), ReduceSum(Reshape(bad, -1, d.N), 1)
}

// weights returns e^{λ r}, normalized over the samples of each state, from rewards [n, N].
func weights(rewards *Node) *Node { return Softmax(rewards, 1) }

// value returns the estimate of V_t, [n], from rewards [n, N].
func (d PosteriorSamples) value(rewards *Node) *Node {
	if d.LeaveOneOut {
		return jackknifed(rewards)
	}
	return batch.LogMeanExp(rewards)
}

// jackknifed returns N V - (N-1) mean_i V_{-i}, where V_{-i} is the value without sample i: the
// value without its bias of order 1/N.
func jackknifed(rewards *Node) *Node {
	n := rewards.Shape().Dim(1)
	if n == 1 {
		return batch.LogMeanExp(rewards)
	}
	// Σ_{j≠i} e^{r_j} = (1 - w_i) Σ_j e^{r_j}; 1 - w_i is bounded from below, since one sample may
	// have all the weight. V_{-i} - V = log((1 - w_i) N/(N-1)) is formed directly: in float32 it
	// would be lost beside N V.
	others := MaxScalar(OneMinus(weights(rewards)), leastWeight)
	logRatio := math.Log(float64(n) / float64(n-1))
	shift := ReduceMean(AddScalar(Log(others), logRatio), 1)
	return Sub(batch.LogMeanExp(rewards), MulScalar(shift, float64(n-1)))
}

// jackknifedWeights returns the weights of N Σ_i w_i X_i - (N-1) mean_i Σ_{j≠i} w_j X_j/(1-w_i),
// which sum to one, for the weights w of the samples, [n, N].
func jackknifedWeights(w *Node) *Node {
	n := float64(w.Shape().Dim(1))
	if n == 1 {
		return w
	}
	inverse := Inverse(MaxScalar(OneMinus(w), leastWeight))
	others := Sub(ReduceAndKeep(inverse, ReduceSum, 1), inverse) // Σ_{i≠j} 1/(1-w_i)
	raw := Mul(w, AddScalar(MulScalar(others, -(n-1)/n), n))
	return Div(raw, ReduceAndKeep(raw, ReduceSum, 1))
}

// leastWeight bounds the remaining weight when one sample is left out; float32 does not resolve
// less.
const leastWeight = 1e-6
