package mixture

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
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Quality compares samples of a tuned drift with exact samples of the target.
type Quality struct {
	SW2       float64   `json:"sw2"`       // sliced W2 to exact samples
	Floor     float64   `json:"floor"`     // sliced W2 between two sets of exact samples
	MMD       float64   `json:"mmd"`       // unbiased squared MMD to exact samples
	Weights   []float64 `json:"weights"`   // shares of the target's components
	Diversity float64   `json:"diversity"` // standard deviation of the samples over that of the target
}

// TuningResult is the quality of a tuned drift of a mixture.
type TuningResult struct {
	// Method is the name of an objective in [tune.Objectives].
	Method  string         `json:"method"`
	Network tuning.Network `json:"network"`
	N       int            `json:"n"`
	Lambda  float64        `json:"lambda"`
	Seed    int64          `json:"seed"`
	Steps   int64          `json:"steps"` // of training that were done
	// NFE is that of the whole training, with three evaluations for each row of the tuned network.
	NFE     float64 `json:"nfe"`
	Samples int     `json:"samples"`
	ODE     Quality `json:"ode"`
	SDE     Quality `json:"sde"`
	// DriftError is E|b̂ - b*|² over the variance of b*, at states of the tilted distribution with
	// t uniform on [t_0, 1). BaseError is the same for the base's drift plus the exact correction
	// b* - b: the error of the base's own drift.
	DriftError float64 `json:"drift_error"`
	BaseError  float64 `json:"base_error"`
	Reward     float64 `json:"reward"`      // mean over samples of the SDE
	RewardBest float64 `json:"reward_best"` // mean over the target
	KL         float64 `json:"kl"`          // divergence of paths from the base's, in nats
	KLBest     float64 `json:"kl_best"`     // E*[λ r] - log Z, that of the optimal drift
	Seconds    float64 `json:"seconds"`     // of training, and of compiling or loading its graph
	Stopped    bool    `json:"stopped,omitempty"`
	// Collapsed, Overshot and Behind say whether [tune.Collapse], [tune.Overshoot] and
	// [tune.Behind] report on the evaluations of the training.
	Collapsed   bool   `json:"collapsed,omitempty"`
	Overshot    bool   `json:"overshot,omitempty"`
	Behind      bool   `json:"behind,omitempty"`
	Evaluations int    `json:"evaluations"`        // their number
	Diverged    string `json:"diverged,omitempty"` // why there is no evaluation
	// Warnings say what float32 cannot tell apart of the reward.
	Warnings []string `json:"warnings,omitempty"`
}

// Evaluate compares samples of a tuned drift, by its ODE and its SDE, with exact samples of the
// target, and the drift with the optimal b*. A drift or samples that are not finite have a result
// that says so in Diverged.
func (t *Tuning) Evaluate(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	TuningResult, error) {
	objective, err := t.objective()
	if err != nil {
		return TuningResult{}, err
	}
	config := t.Config.Tune
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 17))
	result := TuningResult{
		Method: t.Config.Method, Network: t.Config.Network, N: t.Config.N, Lambda: config.Lambda,
		Seed: config.Seed, Steps: r.Steps, Samples: c.Samples, Seconds: r.Seconds, Stopped: r.Stopped,
		Warnings: t.warnings,
	}
	result.NFE = t.Config.NFE(objective, r.Model, r.Steps)
	drift, base, err := t.DriftErrors(b, r, 1<<15, rng)
	if err != nil {
		return result, err
	}
	if math.IsNaN(drift) || math.IsInf(drift, 0) {
		result.Diverged = "the drift is not finite"
		return result, nil
	}
	result.DriftError, result.BaseError = drift, base
	path := tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: config.Noise.Start, Seed: c.Seed}
	task := tune.PathTask{Base: r.Model, Drift: r.Drift, Reward: t.reward.Reward(), Shape: t.Base.Shape()}
	paths, err := tune.DrawPaths(ctx, b, r.Store, task, path)
	if errors.Is(err, tune.ErrDiverged) {
		result.Diverged = err.Error()
		return result, nil
	}
	if err != nil {
		return result, err
	}
	result.KL = paths.KL
	result.Reward, _ = paths.Reward()
	result.RewardBest = t.bestReward(rng)
	result.KLBest = config.Lambda*result.RewardBest - t.LogZ
	known := tune.Target{Std: t.Target.Std(), KL: result.KLBest}
	result.Evaluations = len(r.Evaluations)
	result.Collapsed = tune.Collapse(r.Evaluations, known) != ""
	result.Overshot = tune.Overshoot(r.Evaluations, known) != ""
	result.Behind = tune.Behind(r.Evaluations, known) != ""
	dim := t.Base.Config.Mixture.Dim()
	ode, err := t.odeSamples(ctx, b, r, c)
	if err != nil {
		return result, err
	}
	if !stats.Finite(ode) {
		result.Diverged = "samples by the ODE are not finite"
		return result, nil
	}
	if result.ODE, err = t.quality(mfm.Rows(ode, dim), rng); err != nil {
		return result, err
	}
	result.SDE, err = t.quality(mfm.Rows(paths.Samples, dim), rng)
	return result, err
}

// quality compares samples with the target.
func (t *Tuning) quality(samples [][]float64, rng *rand.Rand) (q Quality, err error) {
	var r SteeringResult
	exact := &target{sample: t.Target.Sample, components: t.Target}
	if err := r.compare(samples, exact, t.Base.Map.Interpolant, rng); err != nil {
		return q, err
	}
	q = Quality{SW2: r.SW2, Floor: r.Floor, MMD: r.MMD, Weights: r.Weights}
	q.Diversity, err = metric.Diversity(samples, t.Target.Std())
	return q, err
}

// Fingerprint returns a hash of the base's weights and configuration and of the reward.
func (t *Tuning) Fingerprint() (string, error) {
	hash, err := run.HashTensors(t.weights)
	if err != nil {
		return "", err
	}
	return sweep.Name(struct { // the fields' names are part of the hash
		Weights string
		Config  Config
		Reward  reward.LinearGaussian
	}{hash, t.Base.Config, t.reward})
}

// Check returns an error for an evaluation with which the SDE cannot be solved.
func (t *Tuning) Check(s tuning.Setting) error { return s.Eval.ValidateSDE(s.Config.Tune.Noise.Start) }

// Diverged returns the result of a training that ended in non-finite values, err.
func (t *Tuning) Diverged(s tuning.Setting, err error) TuningResult {
	c := s.Config
	return TuningResult{
		Method: c.Method, Network: c.Network, N: c.N, Lambda: c.Tune.Lambda, Seed: c.Tune.Seed,
		Diverged: err.Error(), Warnings: t.warnings,
	}
}

// odeSamples returns samples by the ODE of the tuned drift, flat.
func (t *Tuning) odeSamples(ctx context.Context, b compute.Backend, r *tuning.Result, c tuning.EvalConfig) (
	[]float32, error) {
	config := mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: 1},
		Chunk: c.Samples,
	}
	sampler, err := mfm.NewTeacherSampler(b, r.Store, t.Base.Map.Interpolant, r.Drift, t.Base.Shape(), config)
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	return mfm.Flat(sampler.Unconditional(ctx, c.Seed, c.Samples, nil))
}

// Known returns what is known of the target, for the monitors of package tune: its standard
// deviation, and its divergence E*[λ r] - log Z from the mixture with the mean reward of 131,072
// samples.
func (t *Tuning) Known() tune.Target {
	best := t.bestReward(rand.New(rand.NewPCG(1, 51)))
	return tune.Target{Std: t.Target.Std(), KL: t.Config.Tune.Lambda*best - t.LogZ}
}

// bestReward returns the mean reward over samples of the target.
func (t *Tuning) bestReward(rng *rand.Rand) float64 {
	const n = 1 << 17
	sum := 0.0
	for _, x := range t.Target.Sample(rng, n) {
		sum += t.reward.At(x)
	}
	return sum / n
}

// DriftErrors returns E|b̂ - b*|²/Var b* over n states of the tilted distribution, for the tuned
// drift and for the base's drift with the exact correction b* - b; see [TuningResult].
func (t *Tuning) DriftErrors(b compute.Backend, r *tuning.Result, n int, rng *rand.Rand) (
	tuned, base float64, err error) {
	ip, start := t.Base.Map.Interpolant, t.Config.Tune.Noise.Start
	dim := t.Base.Config.Mixture.Dim()
	times, states := make([]float32, n), make([][]float64, n)
	best, plain := make([][]float64, n), make([][]float64, n)
	mean := make([]float64, dim)
	for i, x := range t.Target.Sample(rng, n) {
		at := start + (1-start)*rng.Float64()
		alpha, beta, _, _ := ip.At(at)
		for j := range x {
			x[j] = alpha*rng.NormFloat64() + beta*x[j]
		}
		times[i], states[i] = float32(at), x
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
	x := tensors.FromFlatDataAndDimensions(flatten(states), n, dim)
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(times, n), x)
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
	for i, drift := range best {
		for j, v := range drift {
			off, ofBase := float64(flat[0][i*dim+j])-v, float64(flat[1][i*dim+j])-plain[i][j]
			tuned, base, variance = tuned+off*off, base+ofBase*ofBase, variance+(v-mean[j])*(v-mean[j])
		}
	}
	return tuned / variance, base / variance, nil
}
