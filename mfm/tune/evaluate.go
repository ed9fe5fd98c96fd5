package tune

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

const (
	float32Type = dtypes.Float32
	int32Type   = dtypes.Int32
)

// PathConfig says on how many paths a tuned drift is looked at.
type PathConfig struct {
	Paths int     `json:"paths"`
	Steps int     `json:"steps"`
	Start float64 `json:"start"` // t_0
	Seed  int64   `json:"seed"`
}

// Validate returns an error for fewer than two paths, and for steps that are not short beside the start.
func (c PathConfig) Validate() error {
	if c.Paths < 2 || c.Paths > 1<<20 {
		return fmt.Errorf("%d paths: must lie in [2, 2^20]", c.Paths)
	}
	return checkPath(c.Start, c.Steps)
}

// PathResult is what the paths of a tuned model's SDE say of it.
type PathResult struct {
	Samples []float32 // at their ends, [paths, shape], flat
	Rewards []float64 // r there, of those that have one
	Lost    int       // paths whose reward is -Inf, NaN or +Inf
	// KL is the divergence of the law of paths from the base's, in nats, by Girsanov's theorem, with the correction D = b̂ - b,
	//
	//	KL = E ∫ |D|²/(σ_t²/2) dt,
	//
	// which bounds that of the samples' law; at the optimum it is E[λ r] - log E_base[e^{λ r}]. The integral is a sum over the steps but the last, which has no noise. Where D does not vanish as σ_t does toward t = 1, as that of a copy, it is of
	// the grid: it grows with the number of steps. KLSE is its standard error.
	KL, KLSE float64
}

// Reward returns the mean reward and its standard error.
func (r PathResult) Reward() (mean, se float64) {
	mean, sd := stat.MeanStdDev(r.Rewards, nil)
	return mean, sd / math.Sqrt(float64(len(r.Rewards)))
}

// ErrDiverged is the error, wrapped, of a drift whose paths are not finite.
var ErrDiverged = errors.New("paths are not finite")

// DrawPaths draws paths of the SDE of a tuned drift; where one is not finite it returns [ErrDiverged]. base is the model that it was tuned from, both with weights in store; shape is that of one sample.
func DrawPaths(ctx context.Context, b compute.Backend, store *model.Store, base steer.Model, tuned interpolant.Drift, r reward.Reward, shape []int, c PathConfig) (*PathResult, error) {
	d, err := newPathDrawer(b, store, base, tuned, r, shape, c)
	if err != nil {
		return nil, err
	}
	defer d.exec.Finalize()
	return d.draw(ctx, c.Seed)
}

// pathDrawer draws paths again and again with one compiled graph: of the weights that the store has by then.
type pathDrawer struct {
	config PathConfig
	exec   *model.Exec
}

func newPathDrawer(b compute.Backend, store *model.Store, base steer.Model, tuned interpolant.Drift, r reward.Reward, shape []int, c PathConfig) (*pathDrawer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(_ *model.Scope, rngState *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		noise := rng.Normal(shapes.Make(float32Type, append([]int{c.Paths}, shape...)...))
		paths, kl := follow(rng, base.Interpolant, tuned, pathTimes(c.Start, c.Steps), noise, false, func(row []*Node, x, drift *Node) *Node {
			d := Sub(drift, base.Drift(batch.Every(row[0], x), x, nil))
			square := ReduceSum(Square(Reshape(d, c.Paths, -1)), 1)
			// A step's law is moved by 2 h D, of noise √(σ² h): h |D|²/(σ²/2). The last one has no noise, and is the base's as it is.
			noisy := GreaterThan(row[4], ZerosLike(row[4]))
			share := Div(Square(MulScalar(row[1], 2)), MulScalar(Square(Where(noisy, row[4], OnesLike(row[4]))), 2))
			return Mul(Where(noisy, share, ZerosLike(share)), square)
		})
		_, usable, _ := r.Weighed(nil, paths.End)
		return []*Node{paths.End, usable, kl}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing paths: %w", err)
	}
	return &pathDrawer{c, exec}, nil
}

func (d *pathDrawer) draw(ctx context.Context, seed int64) (*PathResult, error) {
	c := d.config
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("drawing paths: %w", context.Cause(ctx))
	}
	state, err := RNGStateFromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	out, err := d.exec.Call(state)
	if err != nil {
		return nil, fmt.Errorf("drawing paths: %w", err)
	}
	result := &PathResult{}
	if result.Samples, err = tensors.CopyFlatData[float32](out[0]); err != nil {
		return nil, fmt.Errorf("reading paths: %w", err)
	}
	var columns [2][]float64
	for i := range columns {
		flat, err := tensors.CopyFlatData[float32](out[1+i])
		if err != nil {
			return nil, fmt.Errorf("reading paths: %w", err)
		}
		for _, v := range flat {
			columns[i] = append(columns[i], float64(v))
		}
	}
	size := len(result.Samples) / c.Paths
	for i, v := range result.Samples {
		if kl := columns[1][i/size]; math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) || math.IsNaN(kl) || math.IsInf(kl, 0) {
			return nil, fmt.Errorf("%w, the %d-th of %d first", ErrDiverged, i/size+1, c.Paths)
		}
	}
	for _, r := range columns[0] {
		if r > reward.Least {
			result.Rewards = append(result.Rewards, r)
		} else {
			result.Lost++
		}
	}
	if len(result.Rewards) < 2 {
		return nil, fmt.Errorf("of %d paths only %d have a reward: mend the reward, or begin with a smaller λ", c.Paths, len(result.Rewards))
	}
	mean, sd := stat.MeanStdDev(columns[1], nil)
	result.KL, result.KLSE = mean, sd/math.Sqrt(float64(c.Paths))
	return result, nil
}
