package experiment

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// rewardsOf returns r of samples, flat, each of the given shape: below reward.Least where one has no weight.
func rewardsOf(b compute.Backend, store *model.Store, r reward.Reward, samples []float32, shape []int) ([]float64, error) {
	exec, err := model.NewExec(b, store, func(_ *model.Scope, x *Node) *Node {
		_, usable, _ := r.Weighed(nil, x)
		return usable
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the reward: %w", err)
	}
	defer exec.Finalize()
	exec.SetMaxCache(-1)
	size := 1
	for _, d := range shape {
		size *= d
	}
	chunk := max(1, (1<<19)/size) // samples of a call
	var out []float64
	for n := len(samples) / size; len(out) < n; {
		from, to := len(out), min(len(out)+chunk, n)
		rewards, err := exec.Call1(tensors.FromFlatDataAndDimensions(samples[from*size:to*size], append([]int{to - from}, shape...)...))
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

// tilt returns the weights e^{λ r} of samples with the given rewards, which sum to one. It returns an error where fewer than least of them count, 1/Σ w²: the samples then say nothing of the tilted law.
func tilt(rewards []float64, lambda, least float64) ([]float64, error) {
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
		return nil, fmt.Errorf("lambda = %g: of %d samples of the law some %.0f count under this reward, which are too few to compare with: take a smaller λ or a wider reward", lambda, len(w), effective)
	}
	return w, nil
}

// drawCell draws a cell's samples from a model with weights in store.
func drawCell(ctx context.Context, b compute.Backend, store *model.Store, m steer.Model, r reward.Reward, shape []int, c SteerCell, exact *steer.Exact) (*steer.Result, error) {
	method, err := c.SteerMethod(exact)
	if err != nil {
		return nil, err
	}
	steerer, err := steer.New(b, store, m, r, shape, method)
	if err != nil {
		return nil, err
	}
	defer steerer.Finalize()
	return steerer.Sample(ctx, c.Seed, c.Samples, nil)
}
