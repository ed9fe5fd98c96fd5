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

// Paths are n paths of a model's SDE.
type Paths struct {
	Times []float64 // t_0 < ... < 1, the last one that of End
	X     *Node     // states at all times but the last, [steps, n, ...]
	End   *Node     // states at 1, [n, ...]
	Class *Node     // labels that the paths are conditioned on, int32 [n]; nil means none
}

// pathTimes returns the times of a path from t_0 to 1. The drift of the SDE contains x/t, so steps
// that are long compared with t diverge. The first step is therefore shorter than a uniform one, by
// a factor of the number of steps.
func pathTimes(start float64, steps int) []float64 {
	return interpolant.Grid{Steps: steps, Power: 2}.Times(start, 1)
}

// checkPath returns an error for values out of range and for a first step longer than half the
// start.
func checkPath(start float64, steps int) error {
	if !(start > 0 && start < 1) || steps < 3 || steps > 100_000 {
		return fmt.Errorf("a path of %d steps from t = %g: must have 3 to 100,000 steps and start within (0, 1)",
			steps, start)
	}
	if times := pathTimes(start, steps); times[1]-times[0] > 0.5*start {
		return fmt.Errorf("a path of %d steps from t = %g: its first step is %.2g, more than half the start; use "+
			"more steps or a later start",
			steps, start, times[1]-times[0])
	}
	return nil
}

// follow draws n paths of the SDE with drift b, conditioned on class, int32 [n] or nil, along times
// from t_0 to 1. The ODE carries noise to t_0, and the last step adds no noise. If keep, the states
// of the paths are returned. move is called for each step but that to t_0, with the coefficients of
// the step, and returns numbers [n] whose sum along the path is returned; nil means no callback.
func follow(
	rng *solver.RNG, ip interpolant.Schedule, b interpolant.Drift, times []float64, noise, class *Node, keep bool,
	move func(row []*Node, x, drift *Node) *Node,
) (Paths, *Node) {
	g, dtype := noise.Graph(), noise.DType()
	steps := solver.SDESteps(ip, append([]float64{0}, times...))
	start := batch.Every(ScalarZero(g, dtype), noise)
	x := Add(noise, MulScalar(b(start, noise, class), steps[0].Drift))
	steps = steps[1:]
	table := make([][]float64, len(steps))
	for k, s := range steps {
		table[k] = []float64{s.T, s.Length, s.Drift, s.State, s.Noise}
	}
	rows := ConstAsDType(g, dtype, table)
	state := []*Node{x, rng.State, Zeros(g, shapes.Make(dtype, noise.Shape().Dim(0)))}
	if keep {
		state = append(state, Zeros(g, shapes.Make(dtype, append([]int{len(steps)}, noise.Shape().Dimensions...)...)))
	}
	state = solver.Loop(len(steps), state, func(i *Node, state []*Node) []*Node {
		x, r, sum := state[0], &solver.RNG{State: state[1]}, state[2]
		row := batch.Of(rows, i)
		drift := b(batch.Every(row[0], x), x, class)
		if move != nil {
			sum = Add(sum, move(row, x, drift))
		}
		next := Add(x, Add(Mul(row[2], drift), Mul(row[3], x)))
		next = Add(next, Mul(row[4], r.Normal(x.Shape())))
		out := []*Node{next, r.State, sum}
		if keep {
			out = append(out, batch.SetRow(state[3], i, x))
		}
		return out
	})
	rng.State = state[1]
	p := Paths{Times: times, End: state[0], Class: class}
	if keep {
		p.X = state[3]
	}
	return p, state[2]
}
