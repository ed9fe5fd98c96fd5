package experiment

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteerCell is one steered run: all that its result depends on.
type SteerCell struct {
	// Problem is [Steering].Problem, which tells law, map and reward.
	Problem string `json:"problem"`
	// Method is unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf, search-greedy-renoise, search-greedy-ddpm, search-softmax-renoise or search-softmax-ddpm.
	Method string `json:"method"`
	// N is the number of draws of an estimator or a search, or of samples to choose from.
	N int `json:"n"`
	// Particles of a filter's set, or of a search.
	Particles int `json:"particles,omitempty"`
	// Baseline of mfm-gf: mean or denoiser.
	Baseline steer.Baseline `json:"baseline,omitempty"`
	// Antithetic and LeaveOneOut are options of an estimator's draws, see [steer.Draws].
	Antithetic  bool         `json:"antithetic,omitempty"`
	LeaveOneOut bool         `json:"leave_one_out,omitempty"`
	Samples     int          `json:"samples"`
	Seed        int64        `json:"seed"`
	Config      steer.Config `json:"config"`
}

// PaperReward is the reward of the paper's mixture experiment, a measurement y = -1 of 1.2 x₁ - 0.8 x₂ with deviation 0.2.
func PaperReward() reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.2}
}

// SteerMethod returns the method that a cell names. exact is the oracle's value, for exact alone.
func (c SteerCell) SteerMethod(exact steer.Estimator) (steer.Method, error) {
	draws := steer.Draws{N: c.N, Antithetic: c.Antithetic, LeaveOneOut: c.LeaveOneOut}
	baseline := c.Baseline
	if baseline == "" {
		baseline = steer.MeanBaseline
	}
	estimators := map[string]steer.Estimator{"unsteered": nil, "exact": exact, "mfm-g": steer.MFMG{Draws: draws}, "mfm-gf": steer.MFMGF{Draws: draws, Baseline: baseline}, "dps": steer.DPS{}}
	if e, ok := estimators[c.Method]; ok {
		if c.Method == "exact" && exact == nil {
			return nil, fmt.Errorf("method exact: this law and reward have no value in closed form")
		}
		return steer.Guided{Config: c.Config, Estimator: e}, nil
	}
	for name, twist := range estimators {
		if twist != nil && c.Method == "smc-"+name {
			return steer.SMC{Config: c.Config, Particles: c.Particles, Twist: twist, Resampling: steer.Systematic, Threshold: 0.5}, nil
		}
	}
	for _, selection := range []steer.Selection{steer.Greedy, steer.Pooled} {
		for _, transition := range []steer.Transition{steer.Renoise, steer.Keep} {
			if s := (steer.Search{Config: c.Config, Particles: max(c.Particles, 1), N: c.N, Selection: selection, Transition: transition}); s.String() == c.Method {
				return s, nil
			}
		}
	}
	if c.Method == "best-of-n" {
		return steer.BestOf{Config: c.Config, N: c.N}, nil
	}
	return nil, fmt.Errorf("method %q is unknown: use unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf or search-greedy|softmax-renoise|ddpm", c.Method)
}

// SteeringRow is the quality of steered samples of a mixture, against the exact target.
type SteeringRow struct {
	Method   string    `json:"method"`
	Dynamics string    `json:"dynamics"`
	N        int       `json:"n"`
	NFE      float64   `json:"nfe"` // for each sample
	Seed     int64     `json:"seed"`
	SW2      float64   `json:"sw2"`     // sliced W2 to exact samples of the target
	MMD      float64   `json:"mmd"`     // squared MMD to them, without bias
	Floor    float64   `json:"floor"`   // sliced W2 between two sets of exact samples
	Weights  []float64 `json:"weights"` // of the target's components among the samples
	Seconds  float64   `json:"seconds"` // of drawing, compiling included
	Warnings []string  `json:"warnings,omitempty"`
}

// Steering steers samples of a mixture to a reward for which the target is a closed form.
type Steering struct {
	Law    *gmm.Mixture
	Model  steer.Model
	Reward reward.LinearGaussian
	Store  *model.Store // with the weights of Model
	// Problem is a hash of law, map and reward, by which results of different ones are told apart.
	Problem string
}

// NewSteering returns the steering of the map of the run in dir, or, where dir is empty, of a mixture itself, whose drift and posterior samples are exact.
func NewSteering(dir string, law *gmm.Mixture, r reward.LinearGaussian) (*Steering, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var config *GMMConfig
	s := &Steering{Law: law, Model: steer.FromMixture(law, mfm.Linear{}), Reward: r, Store: model.NewStore()}
	if dir != "" {
		e, store, err := OpenGMM(dir)
		if err != nil {
			return nil, err
		}
		config, s.Law, s.Store = &e.Config, e.Config.Mixture, store
		if s.Model, err = steer.FromMap(e.Map, store.Scope(mfm.WeightsScope), mfm.DefaultSamplerConfig()); err != nil {
			return nil, err
		}
	}
	if n := len(r.A[0]); n != s.Law.Dim() {
		return nil, fmt.Errorf("the reward is for %d elements, samples of the mixture have %d", n, s.Law.Dim())
	}
	problem, err := s.problem(config)
	s.Problem = problem
	return s, err
}

// problem returns the hash; config is the map's, nil for none.
func (s *Steering) problem(config *GMMConfig) (string, error) {
	h := sha256.New()
	raw, err := json.Marshal(struct {
		Law    *gmm.Mixture
		Config *GMMConfig
		Reward reward.LinearGaussian
	}{s.Law, config, s.Reward})
	if err != nil {
		return "", err
	}
	h.Write(raw)
	values := make(map[string]*tensors.Tensor)
	for v := range s.Store.IterVariables() {
		if values[v.Path()], err = v.Value(); err != nil {
			return "", err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		h.Write([]byte(path))
		if err := values[path].ConstBytes(func(data []byte) { h.Write(data) }); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// target returns p₁ e^{λ r}/Z and log Z: a reward times λ is that of a deviation σ/√λ.
func (s *Steering) target(lambda float64) (*gmm.Mixture, float64, error) {
	if !(lambda > 0) {
		return nil, 0, fmt.Errorf("lambda = %g: the target is a closed form for positive factors", lambda)
	}
	return s.Law.Tilt(s.Reward.A, s.Reward.Y, s.Reward.Sigma/math.Sqrt(lambda))
}

// Check returns an error that says why a cell cannot be run.
func (s *Steering) Check(c SteerCell) error {
	if _, _, err := s.target(c.Config.Lambda); err != nil {
		return err
	}
	m, err := c.SteerMethod(steer.Exact{Value: func(t, _ *Node) *Node { return t }})
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if k := m.Together(); c.Samples < 2 || c.Samples%k != 0 {
		return fmt.Errorf("%v: %d samples: give at least 2, and a multiple of its %d particles", m, c.Samples, k)
	}
	return nil
}

// Run draws a cell's samples and compares them with the target.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c SteerCell) (SteeringRow, error) {
	row := SteeringRow{Method: c.Method, Dynamics: string(c.Config.Dynamics), N: c.N, Seed: c.Seed}
	target, logZ, err := s.target(c.Config.Lambda)
	if err != nil {
		return row, err
	}
	exact := steer.FromTilt(s.Law, target, logZ, s.Model.Interpolant)
	method, err := c.SteerMethod(exact)
	if err != nil {
		return row, err
	}
	began := time.Now()
	steerer, err := steer.New(b, s.Store, s.Model, s.Reward.Reward(), []int{s.Law.Dim()}, method)
	if err != nil {
		return row, err
	}
	defer steerer.Finalize()
	got, err := steerer.Sample(ctx, c.Seed, c.Samples, nil)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(began).Seconds()
	row.NFE = float64(got.Counts.NFE()) / float64(c.Samples)
	row.Warnings = got.Series.Warnings(steer.DefaultThresholds(), c.N)
	if n, first := got.Bad(); n > 0 {
		row.Warnings = append(row.Warnings, fmt.Sprintf("the reward of %d samples is NaN or +Inf, of sample %d first", n, first))
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 5))
	samples := mfm.Rows(got.Resampled(rng), s.Law.Dim())
	return row, row.compare(samples, target, s.Model.Interpolant, rng)
}

// compare fills in the distances of samples to the target.
func (r *SteeringRow) compare(samples [][]float64, target *gmm.Mixture, ip mfm.Interpolant, rng *rand.Rand) error {
	projections := metric.Projections2D(256)
	if target.Dim() != 2 {
		projections = metric.RandomProjections(rng, 256, target.Dim())
	}
	exact, again := target.Sample(rng, len(samples)), target.Sample(rng, len(samples))
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
	r.Weights = make([]float64, target.Len())
	for _, x := range samples {
		for k, w := range target.PosteriorWeights(ip, 1, x) {
			r.Weights[k] += w / float64(len(samples))
		}
	}
	return nil
}
