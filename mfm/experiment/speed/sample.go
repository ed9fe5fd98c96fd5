package speed

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Sampling measures batches of unconditional samples of an untrained map, [MLP], [UNet] or [DiT],
// in one step, each batch of the size of a training batch and with random classes if the map has
// some, for about the given time by the clock now, at least one after the first, which compiles.
func Sampling(ctx context.Context, b compute.Backend, of Case, duration time.Duration, now func() time.Time) (
	Result, error) {
	result := Result{Case: of, Loss: OneStep, XLAFlags: os.Getenv(backend.EnvXLAFlags)}
	p, err := newProblem(ctx, of, mfm.Semigroup)
	if err != nil {
		return result, err
	}
	store, err := untrained(b, p.m, p.shape)
	if err != nil {
		return result, err
	}
	m := mfm.Model{Map: p.m, Weights: store.Scope(train.WeightsScope), Shape: p.shape, Classes: p.classes}
	sampler, err := mfm.NewSampler(b, m, mfm.DefaultSamplerConfig())
	if err != nil {
		return result, err
	}
	defer sampler.Finalize()
	n, labels := p.config.Batch, []int32(nil)
	if p.classes > 0 {
		for i := range n {
			labels = append(labels, int32(i%p.classes))
		}
		n = 1 // per label
	}
	seed := int64(-1)
	run := func() error {
		seed++
		_, err := sampler.Unconditional(ctx, seed, n, labels)
		return err
	}
	err = result.timeRuns(run, 1, duration, now)
	return result, err
}

// untrained returns a store with initial weights of a map for samples of the given shape.
func untrained(b compute.Backend, m *mfm.Map, shape []int) (*model.Store, error) {
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(root *model.Scope, x *Node) *Node {
		t := Zeros(x.Graph(), shapes.Make(dtypes.Float32, 1))
		in := nn.Inputs{S: t, U: t, T: t, Xbar: x, X: x}
		return ReduceAllSum(m.Velocity(root.Store().Scope(train.WeightsScope), in))
	})
	if err != nil {
		return nil, fmt.Errorf("initializing a map: %w", err)
	}
	defer exec.Finalize()
	_, err = exec.Call1(tensors.FromShape(shapes.Make(dtypes.Float32, append([]int{1}, shape...)...)))
	return store, err
}
