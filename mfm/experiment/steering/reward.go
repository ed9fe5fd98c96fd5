package steering

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Rewards returns the reward of samples, a flat array of samples of the given shape that were
// generated under the labels class, one for each sample; nil means no condition. A sample that the
// reward gives no weight has a value below [reward.Least].
func Rewards(
	b compute.Backend, store *model.Store, r reward.Reward, samples []float32, shape []int, class []int32,
) ([]float64, error) {
	return evaluate(b, store, samples, shape, class, func(x *Node, c reward.Condition) *Node {
		_, usable, _ := reward.Weighed(r, nil, x, c)
		return usable
	})
}

// evaluate returns the values of a graph function of samples, as [Rewards] does.
func evaluate(
	b compute.Backend, store *model.Store, samples []float32, shape []int, class []int32,
	build func(x *Node, c reward.Condition) *Node,
) ([]float64, error) {
	exec, err := model.NewExec(b, store, func(_ *model.Scope, in []*Node) *Node {
		var c reward.Condition
		if class != nil {
			c.Class = in[1]
		}
		return build(in[0], c)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the reward: %w", err)
	}
	defer exec.Finalize()
	exec.SetMaxCache(-1)
	size := batch.Size(shape)
	n, chunk := len(samples)/size, max(1, (1<<19)/size) // samples per call
	if class != nil && len(class) != n {
		return nil, fmt.Errorf("rewarding %d samples with %d labels: give one for each, or none", n, len(class))
	}
	var out []float64
	for len(out) < n {
		from, to := len(out), min(len(out)+chunk, n)
		dims := append([]int{to - from}, shape...)
		in := []any{tensors.FromFlatDataAndDimensions(samples[from*size:to*size], dims...)}
		if class != nil {
			in = append(in, class[from:to])
		}
		rewards, err := exec.Call1(in...)
		if err != nil {
			return nil, fmt.Errorf("rewarding samples: %w", err)
		}
		flat, err := tensors.CopyFlatData[float32](rewards)
		if err != nil {
			return nil, fmt.Errorf("rewarding samples: %w", err)
		}
		for _, v := range flat {
			out = append(out, float64(v))
		}
	}
	return out, nil
}

// CheckReward returns an error unless the reward takes samples of the model's shape. It evaluates
// the reward at 256 samples of N(0, I), from which [Result] warns of a reward whose values float32
// cannot tell apart. b may be another backend than that of the runs.
func (t *Base) CheckReward(b compute.Backend, shape []int) error {
	const n = 256
	size := 1
	for _, d := range shape {
		size *= d
	}
	rng, noise := rand.New(rand.NewPCG(1, 11)), make([]float32, n*size)
	for i := range noise {
		noise[i] = float32(rng.NormFloat64())
	}
	var class []int32
	if t.Model.Classes > 0 {
		class = make([]int32, n)
	}
	var panicked any // without GoMLX's description of where
	values, err := evaluate(b, t.Model.Store, noise, shape, class, func(x *Node, c reward.Condition) *Node {
		defer func() {
			if panicked = recover(); panicked != nil {
				panic(panicked)
			}
		}()
		return reward.Values(t.Reward, x, c)
	})
	if panicked != nil {
		err = fmt.Errorf("%v", panicked)
	}
	if err != nil {
		return fmt.Errorf("the reward does not fit samples of shape %v: %w", shape, err)
	}
	values = slices.DeleteFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	t.finite = float64(len(values)) / n
	if len(values) > 0 {
		t.most = floats.Max(values)
		t.span = t.most - floats.Min(values)
	}
	t.checked = true
	return nil
}

// RewardWarnings returns what float32 cannot tell apart of λ r with what to do, none if it can or
// if CheckReward has not been called.
func (t *Base) RewardWarnings(lambda float64) []string {
	if text := t.RewardWarning(lambda); text != "" {
		return []string{text + ": " + RewardRemedy}
	}
	return nil
}

// RewardRemedy is what to do about a [Base.RewardWarning].
const RewardRemedy = "use a smaller factor or a wider reward"

// RewardWarning is RewardWarnings without what to do, empty for none.
func (t *Base) RewardWarning(lambda float64) string {
	span := math.Abs(lambda) * t.span
	switch {
	case !t.checked:
	case t.finite == 0:
		return "the reward is not finite in float32 at any of 256 samples of N(0, I): it tells no samples apart"
	case span > 1<<24:
		return fmt.Sprintf("values of the reward at samples of N(0, I) span %.1g: float32 resolves them in steps of %.1g, "+
			"and its exponential distinguishes differences up to 88, so that all weight goes to one sample",
			span, span/(1<<24))
	case t.most < reward.Least:
		return fmt.Sprintf("the reward is at most %.1g at 256 samples of N(0, I), and gives none of them weight: below %.0g "+
			"it counts as -Inf", t.most, reward.Least)
	}
	return ""
}

// TiltedWeights returns the weights e^{λ r} of samples with the given rewards, normalized to a sum
// of one. It returns an error if their effective number 1/Σ w² is less than least: such samples do
// not represent the tilted distribution.
func TiltedWeights(rewards []float64, lambda, least float64) ([]float64, error) {
	w := make([]float64, len(rewards))
	for i, r := range rewards {
		if w[i] = lambda * r; r < reward.Least {
			w[i] = math.Inf(-1)
		}
	}
	sum, effective := math.Inf(-1), 0.0
	if floats.Max(w) > sum {
		sum = floats.LogSumExp(w)
		for i := range w {
			w[i] = math.Exp(w[i] - sum)
		}
		effective = 1 / floats.Dot(w, w)
	}
	if !(effective > 0 && effective >= least) {
		return nil, fmt.Errorf(
			"lambda = %g: %d samples have an effective number of %.0f, too few: use a smaller lambda or a wider reward",
			lambda, len(w), effective)
	}
	return w, nil
}

// Divergence returns the divergence Σ w log(n w), in nats, of weights w with a sum of one from
// equal weights of n samples, and the effective number 1/Σ w².
func Divergence(w []float64, n int) (kl, effective float64) {
	mean := floats.Sum(w) / float64(n)
	for _, v := range w {
		if v > 0 {
			kl += v / mean * math.Log(v/mean) / float64(n)
		}
	}
	return kl, 1 / floats.Dot(w, w)
}

// Quantiles returns the quantiles of rewards that [Result].RewardQuantiles has, nil for no rewards.
func Quantiles(rewards []float64) []float64 {
	if len(rewards) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(rewards))
	var out []float64
	for _, p := range []float64{0.05, 0.25, 0.5, 0.75, 0.95} {
		out = append(out, stat.Quantile(p, stat.LinInterp, sorted, nil))
	}
	return out
}

// PoolOf returns rewards as [Result].PoolRewards has them.
func PoolOf(rewards []float64) []float32 {
	pool := make([]float32, len(rewards))
	for i, v := range rewards {
		pool[i] = float32(v)
	}
	slices.Sort(pool)
	return pool
}
