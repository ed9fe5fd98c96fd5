package steering

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Rewards returns the reward of samples, a flat array of samples of the given shape that were
// generated under the labels class, one for each sample; nil means no condition. A sample that the
// reward gives no weight has a value below [reward.Least].
func Rewards(
	b compute.Backend, store *model.Store, r reward.Reward, samples []float32, shape []int, class []int32,
) ([]float64, error) {
	exec, err := model.NewExec(b, store, func(_ *model.Scope, in []*Node) *Node {
		var c reward.Condition
		if class != nil {
			c.Class = in[1]
		}
		_, usable, _ := reward.Weighed(r, nil, in[0], c)
		return usable
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
	sum := floats.LogSumExp(w)
	for i := range w {
		w[i] = math.Exp(w[i] - sum)
	}
	if effective := 1 / floats.Dot(w, w); !(effective >= least) {
		return nil, fmt.Errorf(
			"lambda = %g: %d samples have an effective number of %.0f, too few: use a smaller lambda or a wider reward",
			lambda, len(w), effective)
	}
	return w, nil
}
