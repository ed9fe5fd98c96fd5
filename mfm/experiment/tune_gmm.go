package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// TuneConfig is everything that a tuned drift depends on beside its base.
type TuneConfig struct {
	// Method is mfm-ft, plug-in-mfm-g (the ratio estimator), plug-in-mfm-gf (self-normalised weights), reward-weighted, adjoint or, of mixtures, plug-in-exact (the truth), with N draws a state.
	Method string `json:"method"`
	N      int    `json:"n"`
	// Reference and Floor are those of [tune.MetaTuning].
	Reference int     `json:"reference"`
	Floor     float64 `json:"floor"`
	// Network is adapter (a small network on top of the base), copy (of the base's) or low-rank (updates of the base's matrices).
	Network string `json:"network"`
	// Adapter is the adapter's network, Rank that of low-rank updates.
	Adapter nn.MLPConfig `json:"adapter"`
	Rank    int          `json:"rank"`
	Tune    tune.Config  `json:"tune"`
	Budget  tune.Budget  `json:"budget"`
}

// DefaultTuneConfig is MFM-FT of an adapter of three layers of 128 units with eight draws a state, 8,000 steps. Gradients are not clipped: clipping takes most off the batches of the largest weights, which is a bias.
func DefaultTuneConfig() TuneConfig {
	c := TuneConfig{Method: "mfm-ft", N: 8, Floor: 0.05, Network: "adapter", Adapter: nn.DefaultMLP(), Rank: 8, Tune: tune.DefaultConfig(), Budget: tune.DefaultBudget()}
	c.Adapter.Width, c.Adapter.Depth = 128, 3
	c.Tune.Steps, c.Tune.Optimizer.Rate, c.Tune.Optimizer.Clip = 8000, 3e-3, 0
	c.Budget.Every = 400
	return c
}

// TuneMethod returns the method that the configuration names.
func (c TuneConfig) TuneMethod() (tune.Method, error) {
	draws := steer.Draws{N: c.N}
	switch c.Method {
	case "mfm-ft":
		return tune.MetaTuning{Draws: draws, Reference: c.Reference, Floor: c.Floor}, nil
	case "plug-in-mfm-g":
		return tune.PlugIn{Estimator: steer.MFMG{Draws: draws}}, nil
	case "plug-in-mfm-gf":
		return tune.PlugIn{Estimator: steer.MFMGF{Draws: draws, Baseline: steer.MeanBaseline}}, nil
	case "reward-weighted":
		return tune.RewardWeighted{}, nil
	case "adjoint":
		return tune.AdjointMatching{}, nil
	}
	if c.Method == exactTuning {
		return tune.PlugIn{Estimator: steer.Exact{Value: func(t, _ *Node) *Node { return t }}}, nil // what a mixture's tuning replaces by its own
	}
	return nil, fmt.Errorf("method %q is unknown: use mfm-ft, plug-in-mfm-g, plug-in-mfm-gf, reward-weighted or adjoint", c.Method)
}

// exactTuning is the method of a mixture that regresses on the closed form of σ²/2 ∇V: what is left of its error is the network's.
const exactTuning = "plug-in-exact"

// Validate returns an error that names the first value that makes no sense.
func (c TuneConfig) Validate() error {
	m, err := c.TuneMethod()
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if c.Network == "low-rank" && (c.Rank < 1 || c.Rank > 1<<14) {
		return fmt.Errorf("rank = %d: must lie in [1, 16384]", c.Rank)
	}
	if err := c.Adapter.Validate(); err != nil {
		return err
	}
	if err := c.Tune.Validate(); err != nil {
		return err
	}
	return c.Budget.Validate()
}

// KindTunedGMM is the kind of a run that tuned the drift of a mixture's map, as its manifest says.
const KindTunedGMM = "tuned-gmm"

// GMMTuning tunes the drift of a mixture's map to a linear-Gaussian reward, of which the optimum is a closed form.
type GMMTuning struct {
	Config TuneConfig
	Base   *GMM
	// Target is p₁ e^{λ r}/Z, and LogZ log E[e^{λ r}].
	Target *gmm.Mixture
	LogZ   float64

	reward  reward.LinearGaussian
	weights map[string]*tensors.Tensor
	base    tune.Base
	network tune.Network
}

// NewGMMTuning returns the tuning of the map of the run in dir.
func NewGMMTuning(dir string, r reward.LinearGaussian, config TuneConfig) (*GMMTuning, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	e, store, err := OpenGMM(dir)
	if err != nil {
		return nil, err
	}
	if n := len(r.A[0]); n != e.Config.Mixture.Dim() {
		return nil, fmt.Errorf("the reward is for %d elements, samples of the mixture have %d", n, e.Config.Mixture.Dim())
	}
	t := &GMMTuning{Config: config, Base: e, reward: r}
	if t.weights, err = weightsOf(store); err != nil {
		return nil, fmt.Errorf("run %s: %w", dir, err)
	}
	lambda := config.Tune.Lambda
	if !(lambda > 0) {
		return nil, fmt.Errorf("lambda = %g: the target is a closed form for positive factors", lambda)
	}
	if t.Target, t.LogZ, err = e.Config.Mixture.Tilt(r.A, r.Y, r.Sigma/math.Sqrt(lambda)); err != nil {
		return nil, err
	}
	t.base = tune.MapBase(e.Map, t.weights, mfm.DefaultSamplerConfig())
	t.network, err = t.newNetwork()
	return t, err
}

// method returns the configured method.
func (t *GMMTuning) method() (tune.Method, error) {
	if t.Config.Method == exactTuning {
		return tune.PlugIn{Estimator: steer.FromTilt(t.Base.Config.Mixture, t.Target, t.LogZ, t.Base.Map.Interpolant)}, nil
	}
	return t.Config.TuneMethod()
}

func (t *GMMTuning) newNetwork() (tune.Network, error) {
	switch t.Config.Network {
	case "adapter":
		spread := t.Base.Config.Mixture.Spread()
		return tune.Adapter{Interpolant: t.Base.Map.Interpolant, Backbone: nn.MLP(t.Config.Adapter), Variance: spread * spread, Noise: t.Config.Tune.Noise}, nil
	case "copy":
		return tune.Copy{Map: t.Base.Map, Weights: t.weights}, nil
	case "low-rank":
		return tune.LowRank{Map: t.Base.Map, Weights: t.weights, Rank: t.Config.Rank, Seed: t.Config.Tune.Seed}, nil
	}
	return nil, fmt.Errorf("network %q is unknown: use adapter, copy or low-rank", t.Config.Network)
}

// tuneManifest is the configuration that a run's manifest has: that of the base too, by a hash of its weights.
type tuneManifest struct {
	Base   string                `json:"base"`
	Reward reward.LinearGaussian `json:"reward"`
	TuneConfig
}

// Train tunes; see [Run]. What a budget looks at is kept in the run's folder.
func (t *GMMTuning) Train(ctx context.Context, b compute.Backend, o RunOptions) (*TuneResult, error) {
	method, err := t.method()
	if err != nil {
		return nil, err
	}
	hash, err := hashTensors(t.weights)
	if err != nil {
		return nil, err
	}
	made := tuneManifest{hash, t.reward, t.Config}
	tuner, err := tune.New(b, t.base, t.reward.Reward(), t.network, method, t.Base.Source(), t.Base.Shape(), t.Config.Tune, made)
	if err != nil {
		return nil, err
	}
	return t.Config.run(ctx, tuner, KindTunedGMM, made, t.base, t.network, o)
}

// OpenGMMTuning returns the tuned drift of the finished run in dir, whose base is the map of the run in base.
func OpenGMMTuning(dir, base string) (*GMMTuning, *TuneResult, error) {
	manifest, err := readManifest(dir, KindTunedGMM)
	if err != nil {
		return nil, nil, err
	}
	var made tuneManifest
	if err := decodeStrict(manifest.Config, &made); err != nil {
		return nil, nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	t, err := NewGMMTuning(base, made.Reward, made.TuneConfig)
	if err != nil {
		return nil, nil, err
	}
	hash, err := hashTensors(t.weights)
	if err != nil {
		return nil, nil, err
	}
	if hash != made.Base {
		return nil, nil, fmt.Errorf("run %s was tuned from another map than that of %s: name the one that it was tuned from", dir, base)
	}
	weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, weightsFile))
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", dir, err)
	}
	r := &TuneResult{}
	if err := readLooks(dir, &r.Looks); err != nil {
		return nil, nil, err
	}
	if err := r.readEnd(dir, t.Config.Tune.Steps); err != nil {
		return nil, nil, err
	}
	return t, r, r.restore(t.base, t.network, weights)
}

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
	Diverged   string      `json:"diverged,omitempty"`  // why there is nothing to judge
}

// EvalConfig says on how many samples a tuned drift is judged, drawn in so many steps.
type EvalConfig struct {
	Samples int   `json:"samples"`
	Steps   int   `json:"steps"`
	Seed    int64 `json:"seed"`
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
	row.NFE = float64(r.Steps) * float64(config.Batch) * float64(method.NFE(r.Model)+3)
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
	row.Collapsed = tune.Collapse(r.Looks) != ""
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
	if folder != "" {
		name, err := CellName(c)
		if err != nil {
			return TuneRow{}, err
		}
		o.Dir = filepath.Join(folder, "run-"+name)
	}
	result, err := t.Train(ctx, b, o)
	if onlyNonFinite(err) || errors.Is(err, tune.ErrDiverged) {
		return TuneRow{Method: c.Config.Method, Network: c.Config.Network, N: c.Config.N, Lambda: c.Config.Tune.Lambda, Seed: c.Config.Tune.Seed, Diverged: err.Error()}, nil
	}
	if err != nil {
		return TuneRow{}, err
	}
	return t.Evaluate(ctx, b, result, c.Eval)
}

// odeSamples draws by the ODE of the tuned drift.
func (t *GMMTuning) odeSamples(ctx context.Context, b compute.Backend, r *TuneResult, c EvalConfig) ([]float32, error) {
	sampler, err := mfm.NewTeacherSampler(b, r.Store, t.Base.Map.Interpolant, r.Drift, t.Base.Shape(), mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: mfm.Euler, Grid: mfm.Grid{Steps: c.Steps, Power: 1}, Chunk: c.Samples})
	if err != nil {
		return nil, err
	}
	defer sampler.Finalize()
	return sampler.Unconditional(ctx, c.Seed, c.Samples, nil)
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
