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
	"github.com/gomfm/gomfm/mfm/internal/require"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

const (
	float32Type = dtypes.Float32
	int32Type   = dtypes.Int32
)

// PathConfig says on how many paths of how many steps a tuned drift is evaluated.
type PathConfig struct {
	Paths int     `json:"paths"`
	Steps int     `json:"steps"`
	Start float64 `json:"start"` // t_0
	Seed  int64   `json:"seed"`
}

// Validate returns an error if Paths lies outside [2, 2^20], Steps outside [3, 100,000] or Start
// outside (0, 1), or if the first step is longer than half of Start.
func (c PathConfig) Validate() error {
	if c.Paths < 2 || c.Paths > 1<<20 {
		return fmt.Errorf("%d paths: must lie in [2, 2^20]", c.Paths)
	}
	return checkPath(c.Start, c.Steps)
}

// PathTask is a tuned drift whose paths are drawn.
type PathTask struct {
	// Drift is the tuned drift, and Base the model from which it was tuned.
	Base  steer.Model
	Drift interpolant.Drift
	// Reward is evaluated at the ends of the paths.
	Reward reward.Reward
	// Shape is that of one sample.
	Shape []int
	// ClassShares are the shares of the classes among the paths of a model with classes, as those
	// of [Task].
	ClassShares []float64
}

// PathResult describes the paths of a tuned drift's SDE.
type PathResult struct {
	Samples []float32 // ends of the paths, [paths, shape], flat
	Rewards []float64 // r of the samples that have one
	Lost    int       // number of paths whose reward is -Inf, NaN or +Inf
	// KL is the divergence of the distribution of paths from the base's, in nats, by Girsanov's
	// theorem with the correction D = b̂ - b,
	//
	//	KL = E ∫ |D|²/(σ_t²/2) dt.
	//
	// At the optimum it is E[λ r] - log E_base[e^{λ r}]. The integral is a sum over the steps with
	// noise: the first step, to t_0, and the last have none, and what D changes in them is not
	// counted. But for these two steps it bounds the divergence of the samples. If D does not vanish
	// as σ_t does toward t = 1, as for [Copy], the sum depends on the grid and grows with the number
	// of steps. KLSE is the standard error.
	KL, KLSE float64
}

// Reward returns the mean reward and its standard error.
func (r PathResult) Reward() (mean, se float64) {
	mean, sd := stat.MeanStdDev(r.Rewards, nil)
	return mean, sd / math.Sqrt(float64(len(r.Rewards)))
}

// ErrDiverged is the error, wrapped, of a drift with non-finite paths.
var ErrDiverged = errors.New("paths are not finite")

// DrawPaths draws paths of the SDE of a tuned drift. store has the weights of the base and of the
// drift. It returns [ErrDiverged] if a path is not finite, and an error if fewer than two paths
// have a reward, if the store lacks weights, or for shares that do not fit the model's classes.
func DrawPaths(
	ctx context.Context, b compute.Backend, store *model.Store, task PathTask, c PathConfig,
) (*PathResult, error) {
	d, err := newPathDrawer(b, store, task, c)
	if err != nil {
		return nil, err
	}
	defer d.exec.Finalize()
	return d.draw(ctx, c.Seed)
}

// pathDrawer draws paths with one compiled graph, each time with the current weights of the store.
type pathDrawer struct {
	config PathConfig
	exec   *model.Exec
}

func newPathDrawer(b compute.Backend, store *model.Store, task PathTask, c PathConfig) (*pathDrawer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkShares(task.ClassShares, task.Base.Classes); err != nil {
		return nil, err
	}
	exec, err := model.NewExec(b, store, func(_ *model.Scope, rngState *Node) []*Node {
		rng := &solver.RNG{State: rngState}
		noise := rng.Normal(shapes.Make(float32Type, append([]int{c.Paths}, task.Shape...)...))
		class := pathClasses(rng, rngState.Graph(), task.Base.Classes, task.ClassShares, c.Paths)
		divergence := func(row []*Node, x, drift *Node) *Node {
			d := Sub(drift, task.Base.Drift(batch.Every(row[0], x), x, class))
			square := ReduceSum(Square(Reshape(d, c.Paths, -1)), 1)
			// A step moves the mean by 2 h D beside noise √(σ² h): its divergence is h |D|²/(σ²/2).
			// The last step has no noise and is left out.
			noisy := GreaterThan(row[4], ZerosLike(row[4]))
			share := Div(Square(MulScalar(row[1], 2)), MulScalar(Square(Where(noisy, row[4], OnesLike(row[4]))), 2))
			return Mul(Where(noisy, share, ZerosLike(share)), square)
		}
		times := pathTimes(c.Start, c.Steps)
		var paths Paths
		kl := require.Weights(store, noise.Graph(), func() (kl *Node) {
			paths, kl = follow(rng, task.Base.Interpolant, task.Drift, times, noise, class, false, divergence)
			return kl
		})
		_, usable, _ := reward.Weighed(task.Reward, nil, paths.End, reward.Condition{Class: class})
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
	var columns [2][]float64 // rewards and divergences
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
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	for i, v := range result.Samples {
		if !finite(float64(v)) || !finite(columns[1][i/size]) {
			return nil, fmt.Errorf("%w, the first is path %d of %d", ErrDiverged, i/size+1, c.Paths)
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
		return nil, fmt.Errorf("only %d of %d paths have a reward: correct the reward, or begin with a smaller λ",
			len(result.Rewards), c.Paths)
	}
	mean, sd := stat.MeanStdDev(columns[1], nil)
	result.KL, result.KLSE = mean, sd/math.Sqrt(float64(c.Paths))
	return result, nil
}
