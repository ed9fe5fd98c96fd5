package mixture

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// PaperReward returns the reward of the paper's mixture experiment, the log-likelihood of a
// measurement y = -1 of 1.2 x₁ - 0.8 x₂ with standard deviation 0.2.
func PaperReward() reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.2}
}

// SteeringTest is the value of [SteeringResult].Test.
const SteeringTest = "mixture"

// SteeringResult is the quality of steered samples of a mixture, compared with the exact target.
type SteeringResult struct {
	Test string `json:"test,omitempty"` // [SteeringTest]
	steering.Result
	// Model is "law" if the exact drift and posterior samples were steered, empty for a map.
	Model   string    `json:"model,omitempty"`
	SW2     float64   `json:"sw2,omitempty"`     // sliced W2 to exact samples of the target
	MMD     float64   `json:"mmd,omitempty"`     // unbiased squared MMD to them
	Floor   float64   `json:"floor,omitempty"`   // sliced W2 between two sets of exact samples
	Weights []float64 `json:"weights,omitempty"` // shares of the target's components
	Lost    int       `json:"lost,omitempty"`    // samples with a value not finite or beyond 1e6
	// Reward is the mean of r over the samples that have a reward, RewardSE its standard error,
	// undefined unless the samples are independent, see [steering.Result.Independent]. RewardTarget
	// is the mean over the target, undefined unless it is a closed form.
	Reward       metric.Optional `json:"reward,omitzero"`
	RewardSE     metric.Optional `json:"reward_se,omitzero"`
	RewardTarget metric.Optional `json:"reward_target,omitzero"`
	// LogDensity is the mean log density of the samples under the mixture before the tilt.
	// LogDensityTarget is that of as many exact samples of the target. Samples that follow the reward
	// out of the data have a lower one.
	LogDensity       metric.Optional `json:"log_density,omitzero"`
	LogDensityTarget metric.Optional `json:"log_density_target,omitzero"`
}

// Steering steers samples of a mixture to a reward. It implements [steering.Task].
type Steering struct {
	steering.Base
	Mixture *gmm.Mixture

	name   string                 // SteeringResult.Model
	linear *reward.LinearGaussian // the reward if it is linear-Gaussian
	pool   *pool                  // otherwise; set at first use
}

// NewSteering returns the steering of the map of the run in dir, or of the mixture m itself, whose
// drift and posterior samples are exact, if dir is empty. The target is a closed form.
func NewSteering(dir string, m *gmm.Mixture, r reward.LinearGaussian) (*Steering, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	s := &Steering{Mixture: m, linear: &r}
	s.Reward = r.Reward()
	if err := s.open(dir, r); err != nil {
		return nil, err
	}
	if err := checkDim(s.Mixture, r); err != nil {
		return nil, err
	}
	return s, s.checkReward()
}

// checkReward is [steering.Base.CheckReward] on the pure-Go backend.
func (s *Steering) checkReward() error {
	b, err := backend.New("go")
	if err != nil {
		return err
	}
	defer b.Finalize()
	return s.CheckReward(b, []int{s.Mixture.Dim()})
}

// NewRewardSteering is [NewSteering] for any reward that [reward.Parse] reads. Unless the reward is
// linear-Gaussian there is no exact value, and samples are compared with 2^18 samples of the
// mixture that are resampled with weights e^{λ r}.
func NewRewardSteering(dir string, m *gmm.Mixture, raw json.RawMessage) (*Steering, error) {
	r, err := reward.Parse(raw, nil)
	if err != nil {
		return nil, err
	}
	if linear, err := reward.ParseLinearGaussian(raw); err == nil {
		return NewSteering(dir, m, linear)
	}
	s := &Steering{Mixture: m}
	s.Reward = r
	if err := s.open(dir, raw); err != nil {
		return nil, err
	}
	return s, s.checkReward()
}

// SteeringOf returns the steering of the map of e to the reward r. The weights are those that store
// has in [train.WeightsScope]. There is no fingerprint.
func SteeringOf(e *Experiment, store *model.Store, r reward.LinearGaussian) (*Steering, error) {
	if err := checkDim(e.Config.Mixture, r); err != nil {
		return nil, err
	}
	of := e.Model(store)
	m, err := steer.FromMap(of, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, err
	}
	base := steering.Base{Map: &of, Model: m, Reward: r.Reward()}
	s := &Steering{Base: base, Mixture: e.Config.Mixture, linear: &r}
	return s, s.checkReward()
}

// open opens the map of the run in dir, or sets the mixture's own model if dir is empty, and the
// fingerprint.
func (s *Steering) open(dir string, r any) (err error) {
	var config *Config
	store := model.NewStore()
	if dir == "" {
		s.name = "law"
		s.Model = steer.FromMixture(s.Mixture, interpolant.Linear{})
		s.Model.Store = store
	} else {
		e, opened, err := Open(dir)
		if err != nil {
			return err
		}
		m := e.Model(opened)
		config, s.Mixture, store, s.Map = &e.Config, e.Config.Mixture, opened, &m
		s.Model, err = steer.FromMap(m, mfm.DefaultSamplerConfig())
		if err != nil {
			return err
		}
	}
	s.Fingerprint, err = run.Fingerprint(store, struct { // the fields' names are part of the hash
		Law    *gmm.Mixture
		Config *Config
		Reward any
	}{s.Mixture, config, r})
	return err
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (s *Steering) Check(c steering.Setting) error {
	entry, err := steer.Lookup(c.Method)
	if err != nil {
		return err
	}
	if s.Model.Detached && entry.MapGradient {
		return fmt.Errorf("method %s differentiates posterior samples, but exact samples of a mixture have none: "+
			"give the checkpoint of a map, or use mfm-gf", c.Method)
	}
	if s.Model.Detached && (c.Antithetic || c.Shared) {
		return fmt.Errorf("method %s: antithetic and shared noise need posterior samples that are functions of noise, "+
			"exact samples of a mixture are not: give the checkpoint of a map, or use independent samples", c.Method)
	}
	if _, err := s.DrawModel(c); err != nil {
		return err
	}
	if s.linear == nil {
		if entry.Exact {
			return fmt.Errorf("method %s: the value has a closed form only for a reward of kind linear_gaussian: "+
				"use such a reward, or another method", c.Method)
		}
		return c.Check(nil)
	}
	if _, _, err := s.closedForm(c.Config.Lambda); err != nil {
		return err
	}
	return c.Check(&steer.Exact{Value: func(t, _ *Node) *Node { return t }})
}

// Run draws the samples of a setting and compares them with the target.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c steering.Setting) (SteeringResult, error) {
	r := SteeringResult{Test: SteeringTest, Model: s.name}
	target, err := s.targetOf(b, c.Config.Lambda)
	if err != nil {
		return r, err
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 5))
	common, samples, got, err := s.Base.Run(ctx, b, c, target.exact, rng)
	r.Result = common
	if err != nil || r.Diverged {
		if got != nil {
			r.Lost = stats.CountNonFinite(got.Samples, s.Mixture.Dim())
		}
		return r, err
	}
	r.TargetKL, r.TargetEffective, r.RewardTarget = target.kl, target.effective, target.reward
	rewards, err := steering.Rewards(b, s.Model.Store, s.Reward, samples, s.Model.Shape, nil)
	if err != nil {
		return r, err
	}
	if c.Pool {
		r.PoolRewards = steering.PoolOf(rewards)
	}
	rewards = slices.DeleteFunc(rewards, func(v float64) bool { return v < reward.Least })
	if mean, se := metric.MeanSE(rewards); len(rewards) > 0 {
		r.Reward, r.RewardQuantiles = metric.Some(mean), steering.Quantiles(rewards)
		if r.Independent() {
			r.RewardSE = metric.Some(se)
		}
	}
	rows := mfm.Rows(samples, s.Mixture.Dim())
	exact := target.sample(rand.New(rand.NewPCG(uint64(c.Seed), 53)), len(rows))
	r.LogDensity, r.LogDensityTarget = s.logDensity(rows), s.logDensity(exact)
	return r, r.compare(rows, target, s.Model.Interpolant, rng)
}

// logDensity returns the mean log density of samples under the mixture.
func (s *Steering) logDensity(samples [][]float64) metric.Optional {
	mean := 0.0
	for _, x := range samples {
		mean += s.Mixture.LogDensity(x) / float64(len(samples))
	}
	if math.IsInf(mean, 0) {
		return metric.Optional{}
	}
	return metric.Some(mean)
}

// Draw returns the samples of a setting, [samples][dim], and the result of the sampler. Weighted
// samples are resampled by their weights.
func (s *Steering) Draw(ctx context.Context, b compute.Backend, c steering.Setting) (
	[][]float64, *steer.Result, error) {
	target, err := s.targetOf(b, c.Config.Lambda)
	if err != nil {
		return nil, nil, err
	}
	samples, got, err := s.Base.Draw(ctx, b, c, target.exact, rand.New(rand.NewPCG(uint64(c.Seed), 5)))
	if err != nil {
		return nil, nil, err
	}
	return mfm.Rows(samples, s.Mixture.Dim()), got, nil
}

// Target returns n samples of the distribution tilted by e^{λ r}, [n][dim], and its density up to a
// factor; nil unless the density is a closed form.
func (s *Steering) Target(b compute.Backend, lambda float64, rng *rand.Rand, n int) (
	samples [][]float64, density func(x []float64) float64, err error) {
	target, err := s.targetOf(b, lambda)
	if err != nil {
		return nil, nil, err
	}
	if s.linear != nil {
		density = func(x []float64) float64 { return math.Exp(target.components.LogDensity(x)) }
	}
	return target.sample(rng, n), density, nil
}

// compare fills in the distances of samples to the target, and their weights.
func (r *SteeringResult) compare(samples [][]float64, target *target, ip interpolant.Schedule, rng *rand.Rand) error {
	projections := metric.Projections2D(256)
	if dim := target.components.Dim(); dim != 2 {
		projections = metric.RandomProjections(rng, 256, dim)
	}
	exact, again := target.sample(rng, len(samples)), target.sample(rng, len(samples))
	var err error
	if r.SW2, err = metric.SlicedW2(samples, exact, projections); err != nil {
		return err
	}
	if r.Floor, err = metric.SlicedW2(again, exact, projections); err != nil {
		return err
	}
	if r.MMD, err = metric.MMD(samples, exact, nil); err != nil {
		return err
	}
	r.Weights = make([]float64, target.components.Len())
	for _, x := range samples {
		for k, w := range target.components.PosteriorWeights(ip, 1, x) {
			r.Weights[k] += w / float64(len(samples))
		}
	}
	return nil
}
