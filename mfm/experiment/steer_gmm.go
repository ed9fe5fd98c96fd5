package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// PaperReward is the reward of the paper's mixture experiment, a measurement y = -1 of 1.2 x₁ - 0.8 x₂ with deviation 0.2.
func PaperReward() reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.2}
}

// SteeringRow is the quality of steered samples of a mixture, against the exact target.
type SteeringRow struct {
	Method   string  `json:"method"`
	Model    string  `json:"model,omitempty"` // law: the mixture's own drift and posterior samples in the place of a map's
	Dynamics string  `json:"dynamics"`
	N        int     `json:"n"`
	NFE      float64 `json:"nfe"` // for each sample
	Seed     int64   `json:"seed"`
	RunSettings
	SW2      float64   `json:"sw2,omitempty"`      // sliced W2 to exact samples of the target
	MMD      float64   `json:"mmd,omitempty"`      // squared MMD to them, without bias
	Floor    float64   `json:"floor,omitempty"`    // sliced W2 between two sets of exact samples
	Weights  []float64 `json:"weights,omitempty"`  // of the target's components among the samples
	Diverged bool      `json:"diverged,omitempty"` // some samples are not finite, or beyond 10^6: nothing else is told of them
	Lost     int       `json:"lost,omitempty"`     // how many those are
	Seconds  float64   `json:"seconds"`            // of drawing, compiling included
	Warnings []string  `json:"warnings,omitempty"`
}

// Steering steers samples of a mixture to a reward.
type Steering struct {
	Law    *gmm.Mixture
	Model  steer.Model
	Reward reward.Reward
	Store  *model.Store // with the weights of Model
	// Problem is a hash of law, map and reward, by which results of different ones are told apart.
	Problem string

	model  string                 // of the rows
	mapped *mfm.Map               // nil: a mixture itself
	linear *reward.LinearGaussian // the reward, where it is one
	pool   *rewardedPool          // otherwise; made when it is needed
}

// NewSteering returns the steering of the map of the run in dir, or, where dir is empty, of a mixture itself, whose drift and posterior samples are exact. Of this reward the target is a closed form.
func NewSteering(dir string, law *gmm.Mixture, r reward.LinearGaussian) (*Steering, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	s := &Steering{Law: law, Reward: r.Reward(), linear: &r}
	if err := s.open(dir, r); err != nil {
		return nil, err
	}
	if n := len(r.A[0]); n != s.Law.Dim() {
		return nil, fmt.Errorf("the reward is for %d elements, samples of the mixture have %d", n, s.Law.Dim())
	}
	return s, nil
}

// NewRewardSteering is [NewSteering] for any reward that [reward.Parse] reads. Unless it is linear-Gaussian there is no exact value, and samples are compared with 2^18 of the law's that were drawn again by weight.
func NewRewardSteering(dir string, law *gmm.Mixture, raw json.RawMessage) (*Steering, error) {
	r, err := reward.Parse(raw, nil)
	if err != nil {
		return nil, err
	}
	if linear, err := reward.ParseLinearGaussian(raw); err == nil {
		return NewSteering(dir, law, linear)
	}
	s := &Steering{Law: law, Reward: r}
	return s, s.open(dir, raw)
}

// open opens the map, where there is one.
func (s *Steering) open(dir string, r any) (err error) {
	var config *GMMConfig
	s.Store = model.NewStore()
	if dir == "" {
		s.model = "law"
		s.Model = steer.FromMixture(s.Law, interpolant.Linear{})
	} else {
		e, store, err := OpenGMM(dir)
		if err != nil {
			return err
		}
		config, s.Law, s.Store, s.mapped = &e.Config, e.Config.Mixture, store, e.Map
		if s.Model, err = steer.FromMap(e.Map, store.Scope(train.WeightsScope), mfm.DefaultSamplerConfig()); err != nil {
			return err
		}
	}
	s.Problem, err = hashProblem(s.Store, struct {
		Law    *gmm.Mixture
		Config *GMMConfig
		Reward any
	}{s.Law, config, r})
	return err
}

// drawModel is [SteerCell.drawModel] of the map, where there is one.
func (s *Steering) drawModel(c SteerCell) (steer.Model, error) {
	return c.drawModel(s.Model, s.mapped, s.Store.Scope(train.WeightsScope))
}

// Check returns an error that says why a cell cannot be run.
func (s *Steering) Check(c SteerCell) error {
	if s.Model.Detached && strings.HasSuffix(c.Method, "mfm-g") {
		return fmt.Errorf("method %s: it takes gradients through posterior samples, which a mixture draws from its closed form without: give the checkpoint of a map, or take mfm-gf", c.Method)
	}
	if s.Model.Detached && (c.Antithetic || c.Shared) {
		return fmt.Errorf("method %s: antithetic or shared draws are functions of the noise, and a mixture's come from its closed form: give the checkpoint of a map, or take independent draws", c.Method)
	}
	if _, err := s.drawModel(c); err != nil {
		return fmt.Errorf("method %s: %w", c.Method, err)
	}
	if s.linear == nil {
		return c.check(nil)
	}
	if _, _, err := s.closedForm(c.Config.Lambda); err != nil {
		return err
	}
	return c.check(&steer.Exact{Value: func(t, _ *Node) *Node { return t }})
}

// Run draws a cell's samples and compares them with the target.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c SteerCell) (SteeringRow, error) {
	row := SteeringRow{Method: c.Method, Model: s.model, Dynamics: string(c.Config.Dynamics), N: c.N, Seed: c.Seed, RunSettings: c.settings(b)}
	target, err := s.targetOf(b, c.Config.Lambda)
	if err != nil {
		return row, err
	}
	began := time.Now()
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 5))
	samples, got, err := s.draw(ctx, b, c, rng)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(began).Seconds()
	row.NFE = float64(got.Counts.NFE()) / float64(c.Samples)
	row.Warnings = warnings(got, c.N)
	if row.Lost = lost(got.Samples, s.Law.Dim()); row.Lost > 0 {
		row.Diverged = true
		return row, nil
	}
	return row, row.compare(samples, target, s.Model.Interpolant, rng)
}

// Draw returns a cell's samples, [samples][dim], those with weights drawn again by weight, and what the run says of itself.
func (s *Steering) Draw(ctx context.Context, b compute.Backend, c SteerCell) ([][]float64, *steer.Result, error) {
	return s.draw(ctx, b, c, rand.New(rand.NewPCG(uint64(c.Seed), 5)))
}

func (s *Steering) draw(ctx context.Context, b compute.Backend, c SteerCell, rng *rand.Rand) ([][]float64, *steer.Result, error) {
	target, err := s.targetOf(b, c.Config.Lambda)
	if err != nil {
		return nil, nil, err
	}
	m, err := s.drawModel(c)
	if err != nil {
		return nil, nil, err
	}
	got, err := drawCell(ctx, b, s.Store, m, s.Reward, []int{s.Law.Dim()}, c, target.exact)
	if err != nil {
		return nil, nil, err
	}
	return mfm.Rows(got.Resampled(rng), s.Law.Dim()), got, nil
}

// Target returns n exact samples of the law tilted by e^{λ r}, [n][dim], and its density up to a factor where it is a closed form, otherwise nil.
func (s *Steering) Target(b compute.Backend, lambda float64, rng *rand.Rand, n int) (samples [][]float64, density func(x []float64) float64, err error) {
	target, err := s.targetOf(b, lambda)
	if err != nil {
		return nil, nil, err
	}
	if s.linear != nil {
		density = func(x []float64) float64 { return math.Exp(target.components.LogDensity(x)) }
	}
	return target.sample(rng, n), density, nil
}

// compare fills in the distances of samples to the target.
func (r *SteeringRow) compare(samples [][]float64, target *steeringTarget, ip interpolant.Schedule, rng *rand.Rand) error {
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
