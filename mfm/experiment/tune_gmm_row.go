package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/tune"
)

// TuneQuality is what samples of a tuned drift are like beside exact ones of the target.
type TuneQuality struct {
	SW2       float64   `json:"sw2"`
	Floor     float64   `json:"floor"` // sliced W2 between two sets of exact samples
	MMD       float64   `json:"mmd"`   // squared, without bias
	Weights   []float64 `json:"weights"`
	Diversity float64   `json:"diversity"` // spread of the samples over that of the target
}

// TuneRow is the quality of a tuned drift of a mixture.
type TuneRow struct {
	Method     string      `json:"method"`
	Network    string      `json:"network"`
	N          int         `json:"n"`
	Lambda     float64     `json:"lambda"`
	Seed       int64       `json:"seed"`
	Steps      int64       `json:"steps"` // of training, those that a budget left
	NFE        float64     `json:"nfe"`   // of the whole training, with three evaluations a row for the tuned network
	Samples    int         `json:"samples"`
	ODE        TuneQuality `json:"ode"`
	SDE        TuneQuality `json:"sde"`
	DriftError float64     `json:"drift_error"` // E|b̂ - b*|² over the tilted law's states, t uniform in [t_0, 1), in units of b*'s variance there
	BaseError  float64     `json:"base_error"`  // the same of the base's b + (b* - b), exact but for the map's own drift
	Reward     float64     `json:"reward"`      // mean over samples of the SDE
	RewardBest float64     `json:"reward_best"` // mean over the target
	KL         float64     `json:"kl"`
	KLBest     float64     `json:"kl_best"` // E*[λ r] - log Z
	Seconds    float64     `json:"seconds"` // of training, compiling included
	Stopped    bool        `json:"stopped,omitempty"`
	Collapsed  bool        `json:"collapsed,omitempty"` // see [tune.Collapse]
	Overshot   bool        `json:"overshot,omitempty"`  // see [tune.Overshoot]
	Behind     bool        `json:"behind,omitempty"`    // see [tune.Behind]
	Looks      int         `json:"looks"`               // that these three judge by
	Diverged   string      `json:"diverged,omitempty"`  // why there is nothing to judge
}

// Evaluate compares samples of a tuned drift, by ODE and SDE, with the target, and the drift with b*.
func (t *GMMTuning) Evaluate(ctx context.Context, b compute.Backend, r *TuneResult, c EvalConfig) (TuneRow, error) {
	method, err := t.method()
	if err != nil {
		return TuneRow{}, err
	}
	config := t.Config.Tune
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 17))
	row := TuneRow{Method: t.Config.Method, Network: t.Config.Network, N: t.Config.N, Lambda: config.Lambda, Seed: config.Seed, Steps: r.Steps, Samples: c.Samples, Seconds: r.Seconds, Stopped: r.Stopped}
	row.NFE = t.Config.nfe(method, r.Model, r.Steps)
	drift, base, err := t.driftErrors(b, r, 1<<15, rng)
	if err != nil {
		return row, err
	}
	if math.IsNaN(drift) || math.IsInf(drift, 0) {
		row.Diverged = "the drift is not finite"
		return row, nil
	}
	row.DriftError, row.BaseError = drift, base
	paths, err := tune.DrawPaths(ctx, b, r.Store, r.Model, r.Drift, t.reward.Reward(), t.Base.Shape(), tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: config.Noise.Start, Seed: c.Seed})
	if errors.Is(err, tune.ErrDiverged) {
		row.Diverged = err.Error()
		return row, nil
	}
	if err != nil {
		return row, err
	}
	row.KL = paths.KL
	row.Reward, _ = paths.Reward()
	row.RewardBest = t.bestReward(rng)
	row.KLBest = config.Lambda*row.RewardBest - t.LogZ
	known := tune.Target{Spread: t.Target.Spread(), KL: row.KLBest}
	row.Looks = len(r.Looks)
	row.Collapsed, row.Overshot, row.Behind = tune.Collapse(r.Looks, known) != "", tune.Overshoot(r.Looks, known) != "", tune.Behind(r.Looks, known) != ""
	dim := t.Base.Config.Mixture.Dim()
	ode, err := t.odeSamples(ctx, b, r, c)
	if err != nil {
		return row, err
	}
	if !finite(ode) {
		row.Diverged = "samples by the ODE are not finite"
		return row, nil
	}
	if row.ODE, err = t.quality(mfm.Rows(ode, dim), rng); err != nil {
		return row, err
	}
	row.SDE, err = t.quality(mfm.Rows(paths.Samples, dim), rng)
	return row, err
}

// quality compares samples with the target.
func (t *GMMTuning) quality(samples [][]float64, rng *rand.Rand) (q TuneQuality, err error) {
	var r SteeringRow
	if err := r.compare(samples, &steeringTarget{sample: t.Target.Sample, components: t.Target}, t.Base.Map.Interpolant, rng); err != nil {
		return q, err
	}
	q = TuneQuality{SW2: r.SW2, Floor: r.Floor, MMD: r.MMD, Weights: r.Weights}
	q.Diversity, err = metric.Diversity(samples, t.Target.Spread())
	return q, err
}

// TuneCell is a tuned drift with its judgement: all that a row depends on.
type TuneCell struct {
	Problem string     `json:"problem"` // [GMMTuning.Problem]
	Config  TuneConfig `json:"config"`
	Eval    EvalConfig `json:"eval"`
}

// Problem returns a hash of the base's weights and law, and of the reward.
func (t *GMMTuning) Problem() (string, error) {
	hash, err := hashTensors(t.weights)
	if err != nil {
		return "", err
	}
	return CellName(struct {
		Weights string
		Config  GMMConfig
		Reward  reward.LinearGaussian
	}{hash, t.Base.Config, t.reward})
}

// RunTuneCell tunes and judges; a training that ends at values that are not finite is a row, too. Where folder is not empty the training is kept below it, and goes on if it was interrupted.
func RunTuneCell(ctx context.Context, b compute.Backend, base string, r reward.LinearGaussian, c TuneCell, folder string, o RunOptions) (TuneRow, error) {
	t, err := NewGMMTuning(base, r, c.Config)
	if err != nil {
		return TuneRow{}, err
	}
	if err := c.Eval.Validate(c.Config); err != nil {
		return TuneRow{}, err
	}
	if o, err = o.keep(folder, c); err != nil {
		return TuneRow{}, err
	}
	result, err := t.Train(ctx, b, o)
	if diverged(err) {
		return TuneRow{Method: c.Config.Method, Network: c.Config.Network, N: c.Config.N, Lambda: c.Config.Tune.Lambda, Seed: c.Config.Tune.Seed, Diverged: err.Error()}, nil
	}
	if err != nil {
		return TuneRow{}, err
	}
	return t.Evaluate(ctx, b, result, c.Eval)
}

// odeSamples draws by the ODE of the tuned drift.
func (t *GMMTuning) odeSamples(ctx context.Context, b compute.Backend, r *TuneResult, c EvalConfig) ([]float32, error) {
	sampler, err := mfm.NewTeacherSampler(b, r.Store, t.Base.Map.Interpolant, r.Drift, t.Base.Shape(), mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: 1}, Chunk: c.Samples})
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	return sampler.Unconditional(ctx, c.Seed, c.Samples, nil)
}

// Known returns what the monitors of a tuning are to know of the tilted law: its spread, and its divergence from the base's law, for which the mean reward is taken over 131,072 samples.
func (t *GMMTuning) Known() tune.Target {
	return tune.Target{Spread: t.Target.Spread(), KL: t.Config.Tune.Lambda*t.bestReward(rand.New(rand.NewPCG(1, 51))) - t.LogZ}
}

// bestReward returns the mean reward over samples of the target.
func (t *GMMTuning) bestReward(rng *rand.Rand) float64 {
	const n = 1 << 17
	sum := 0.0
	for _, x := range t.Target.Sample(rng, n) {
		sum += t.reward.At(x)
	}
	return sum / n
}

// driftErrors returns E|b̂ - b*|²/Var b* over n states of the tilted law, and the same of the map's drift with the exact correction.
func (t *GMMTuning) driftErrors(b compute.Backend, r *TuneResult, n int, rng *rand.Rand) (tuned, base float64, err error) {
	ip, start := t.Base.Map.Interpolant, t.Config.Tune.Noise.Start
	dim := t.Base.Config.Mixture.Dim()
	times, states := make([]float32, n), make([]float32, 0, n*dim)
	best, plain := make([][]float64, n), make([][]float64, n)
	mean := make([]float64, dim)
	for i, x := range t.Target.Sample(rng, n) {
		at := start + (1-start)*rng.Float64()
		alpha, beta, _, _ := ip.At(at)
		for j := range x {
			x[j] = alpha*rng.NormFloat64() + beta*x[j]
			states = append(states, float32(x[j]))
		}
		times[i] = float32(at)
		best[i], plain[i] = t.Target.Drift(ip, at, x), t.Base.Config.Mixture.Drift(ip, at, x)
		for j, v := range best[i] {
			mean[j] += v / float64(n)
		}
	}
	exec, err := model.NewExec(b, r.Store, func(_ *model.Scope, t, x *Node) []*Node {
		return []*Node{r.Drift(t, x, nil), r.Model.Drift(t, x, nil)}
	})
	if err != nil {
		return 0, 0, fmt.Errorf("preparing the drift: %w", err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(times, n), tensors.FromFlatDataAndDimensions(states, n, dim))
	if err != nil {
		return 0, 0, fmt.Errorf("evaluating the drift: %w", err)
	}
	var flat [2][]float32
	for i := range flat {
		if flat[i], err = tensors.CopyFlatData[float32](out[i]); err != nil {
			return 0, 0, fmt.Errorf("evaluating the drift: %w", err)
		}
	}
	variance := 0.0
	for i, row := range best {
		for j, v := range row {
			off, ofBase := float64(flat[0][i*dim+j])-v, float64(flat[1][i*dim+j])-plain[i][j]
			tuned, base, variance = tuned+off*off, base+ofBase*ofBase, variance+(v-mean[j])*(v-mean[j])
		}
	}
	return tuned / variance, base / variance, nil
}
