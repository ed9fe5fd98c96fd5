package steering

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Task runs settings on a base and evaluates the samples; R is the result of a run.
type Task[R any] interface {
	// Check returns an error that says why a setting cannot be run.
	Check(Setting) error
	// Run steers as the setting says and evaluates the samples.
	Run(ctx context.Context, b compute.Backend, s Setting) (R, error)
	// Follow sets what reports the progress of later runs and keeps their samples.
	Follow(Watch)
}

// Base is what a task steers: a model and a reward.
type Base struct {
	// Map is the map behind Model. Nil means a distribution in closed form.
	Map    *mfm.Model
	Model  steer.Model
	Reward reward.Reward
	// Host is a black-box reward instead of Reward; nil means none.
	Host reward.Host
	// Batch is the largest number of rows in a batch of the network, see [steer.Steerer].Batch.
	Batch int
	// Kept spares the compilation of settings that differ in their seed alone; nil means none. Copies
	// of a Base with another reward or batch must not share it.
	Kept *Kept
	// RewardName is the reward's name in results, if any; see [NamedReward].
	RewardName string
	// Fingerprint is a hash of distribution, map and reward, which keeps the results of different
	// tasks apart.
	Fingerprint string

	watch Watch
	// The difference between the largest and the smallest finite value of the reward, the largest,
	// and the share of finite values, see [Base.CheckReward].
	checked            bool
	span, most, finite float64
}

// Result is what the results of all tasks have in common.
type Result struct {
	// RewardName is the name of the reward in a [Grid], empty for none.
	RewardName string `json:"reward_name,omitempty"`
	// Method is the name of a method in [steer.Methods], or, of a tuned drift, of an objective in
	// [github.com/gomfm/gomfm/mfm/tune.Objectives].
	Method   string         `json:"method"`
	Dynamics steer.Dynamics `json:"dynamics"`
	N        int            `json:"n"`
	NFE      float64        `json:"nfe"` // per sample
	Seed     int64          `json:"seed"`
	RunSettings
	// RewardQuantiles are the quantiles of the reward at 5, 25, 50, 75 and 95 % of the samples that
	// have one, nil if none has.
	RewardQuantiles []float64 `json:"reward_quantiles,omitempty"`
	// PoolRewards are the rewards of all samples of a setting with Pool, in increasing order:
	// [metric.CandidatesFor] computes from them what Best-of-N needs for a reward. A sample without a
	// reward has one below [reward.Least].
	PoolRewards []float32 `json:"pool_rewards,omitempty"`
	// TargetKL is the divergence of the target from the distribution before steering, E*[λ r] - log Z,
	// in nats. TargetEffective is the effective number of weighted samples that it was estimated from,
	// undefined for a closed form. An estimate from n samples is at most log n, and too small if few
	// of them have nearly all the weight.
	TargetKL        metric.Optional `json:"target_kl,omitzero"`
	TargetEffective metric.Optional `json:"target_effective,omitzero"`
	// Diverged reports that a sample has a value that is not finite or beyond 1e6; such a result
	// has no evaluation.
	Diverged bool    `json:"diverged,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"` // of sampling, and of compiling or loading the graph
	// Reused reports that other runs use the same samples, or candidates, which were drawn before this
	// run. Seconds is then the time that drawing them took.
	Reused bool `json:"reused,omitempty"`
	// MicrosPerNFE is Seconds over all evaluations, in microseconds: those of the network and of
	// the reward, each with what surrounds it, see [steer.Counts]. Compiling, or loading what was
	// compiled before, has a share in it that falls with the number of samples.
	MicrosPerNFE float64  `json:"us_per_nfe,omitempty"`
	Warnings     []string `json:"warnings,omitempty"`
}

// Independent reports whether the samples are independent, as standard errors of means over them
// need: not the particles of a filter, which share ancestors, and not samples that share their
// noise.
func (r Result) Independent() bool {
	entry, _ := steer.Lookup(r.Method) // a method of fine-tuning is not among them, and no filter
	return !entry.Filter && !r.Shared
}

// CheckOfData returns an error that says why a setting cannot be run with a map of data, "images"
// for example, that have no value in closed form. dropout is the share of labels that the training
// left out.
func (t *Base) CheckOfData(c Setting, data string, dropout float64) error {
	entry, err := steer.Lookup(c.Method)
	if err != nil {
		return err
	}
	if entry.Exact {
		return fmt.Errorf("method %s: %s have no value in closed form: use mfm-g or another method", c.Method, data)
	}
	if _, err := t.DrawModel(c); err != nil {
		return err
	}
	if (c.Class == nil || c.Guidance != 0) && t.Model.Classes > 0 && dropout == 0 {
		return fmt.Errorf("method %s without a class, or with guidance: the map was trained with dropout = 0, give a "+
			"class alone", c.Method)
	}
	return c.Check(nil)
}

// DrawModel returns the model with the posterior samples and the guidance that the setting asks
// for. It returns an error for a class or guidance that the model cannot have, for a distribution
// in closed form if the setting asks for posterior samples of a map, and for a model without a flow
// map if the method needs one.
func (t *Base) DrawModel(s Setting) (steer.Model, error) {
	m, err := t.posteriorModel(s)
	if err != nil {
		return m, err
	}
	switch {
	case m.Classes == 0 && (s.Class != nil || s.Guidance != 0):
		return m, fmt.Errorf("method %s with a class or guidance: the model has no classes", s.Method)
	case s.Class != nil && (*s.Class < 0 || *s.Class >= m.Classes):
		return m, fmt.Errorf("method %s: class = %d: must lie in [0, %d)", s.Method, *s.Class, m.Classes)
	case s.Guidance != 0 && s.Class == nil:
		return m, fmt.Errorf("method %s: guidance = %g needs a class", s.Method, s.Guidance)
	case s.Guidance != 0 && !(s.Guidance > 0 && s.Guidance < 1e6):
		return m, fmt.Errorf("method %s: guidance = %g: must be positive, or 0 for none", s.Method, s.Guidance)
	case s.GuidePosterior && s.Guidance == 0:
		return m, fmt.Errorf("method %s: guide_posterior needs a guidance", s.Method)
	case s.GuidePosterior: // the model is guided already
	case s.Guidance != 0 && s.Baseline == steer.DenoiserBaseline:
		return m, fmt.Errorf("method %s: guidance cancels with the baseline %s: use %s", s.Method, s.Baseline,
			steer.MeanBaseline)
	case s.Guidance != 0:
		m = m.Guided(s.Guidance)
	}
	if entry, err := steer.Lookup(s.Method); err == nil && entry.FlowMap && m.FlowMap == nil {
		return m, fmt.Errorf("method %s needs the flow map of the ODE, which a mixture in closed form and a drift with "+
			"guidance alone do not have: give the checkpoint of a map, with guided posterior samples if it is guided",
			s.Method)
	}
	return m, nil
}

// posteriorModel returns the model with the posterior samples of a setting.
func (t *Base) posteriorModel(s Setting) (steer.Model, error) {
	guide := s.GuidePosterior && t.Model.Classes > 0 && s.Guidance > 0 // else refused by DrawModel
	if s.Posterior == "" && s.PosteriorSteps == 0 && !guide {
		return t.Model, nil
	}
	if t.Map == nil {
		return steer.Model{}, fmt.Errorf(
			"method %s with posterior = %q, posterior_steps = %d, guide_posterior = %t: a distribution in closed "+
				"form needs none of them: use a map",
			s.Method, s.Posterior, s.PosteriorSteps, s.GuidePosterior)
	}
	of := *t.Map
	if guide {
		var err error
		if of, err = of.Guided(s.Guidance); err != nil {
			return steer.Model{}, fmt.Errorf("method %s: %w", s.Method, err)
		}
	}
	config := mfm.DefaultSamplerConfig()
	config.Method, config.Steps = cmp.Or(s.Posterior, mfm.MapSampling), cmp.Or(s.PosteriorSteps, 1)
	m, err := steer.FromMap(of, config)
	if err != nil {
		return m, fmt.Errorf("method %s: %w", s.Method, err)
	}
	return m, nil
}

// Draw returns the samples of a setting as a flat array, and the result of the steered run.
// Weighted samples are resampled by their weights with rng. exact is the value in closed form, nil
// if it is not known.
func (t *Base) Draw(
	ctx context.Context, b compute.Backend, s Setting, exact *steer.Exact, rng *rand.Rand,
) ([]float32, *steer.Result, error) {
	samples, got, _, err := t.draw(ctx, b, s, exact, rng, Watch{})
	return samples, got, err
}

// draw is Draw that a watch follows. It returns the seconds that drawing took, with those before an
// interruption.
func (t *Base) draw(
	ctx context.Context, b compute.Backend, s Setting, exact *steer.Exact, rng *rand.Rand, w Watch,
) ([]float32, *steer.Result, float64, error) {
	steerer, done, err := t.steerer(b, s, exact)
	if err != nil {
		return nil, nil, 0, err
	}
	defer done()
	if s.Class != nil {
		if err := steerer.SetClass(*s.Class); err != nil {
			return nil, nil, 0, err
		}
	}
	got, seconds, err := w.sample(ctx, steerer, s, Device(b))
	if err != nil {
		return nil, nil, 0, err
	}
	return got.Resampled(rng), got, seconds, nil
}

// Kept is the compiled steerer of the last setting of a [Base], for settings that differ in their
// seed alone. The zero value has none.
type Kept struct {
	setting string // in JSON, without its seed
	steerer *steer.Steerer
}

// Finalize frees the compiled graphs.
func (k *Kept) Finalize() {
	if k.steerer != nil {
		k.steerer.Finalize()
	}
	*k = Kept{}
}

// steerer returns the steerer of a setting, and a function to call when it is not used any more.
func (t *Base) steerer(b compute.Backend, s Setting, exact *steer.Exact) (_ *steer.Steerer, done func(), err error) {
	s.Seed = 0
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, nil, err
	}
	if t.Kept != nil && t.Kept.steerer != nil && t.Kept.setting == string(raw) {
		return t.Kept.steerer, func() {}, nil
	}
	m, err := t.DrawModel(s)
	if err != nil {
		return nil, nil, err
	}
	method, err := s.SteerMethod(exact)
	if err != nil {
		return nil, nil, err
	}
	var steerer *steer.Steerer
	if t.Host != nil {
		steerer, err = steer.NewBlackBox(b, m, t.Host, method)
	} else {
		steerer, err = steer.New(b, m, t.Reward, method)
	}
	if err != nil {
		return nil, nil, err
	}
	steerer.Batch = t.Batch
	if t.Kept == nil {
		return steerer, steerer.Finalize, nil
	}
	t.Kept.Finalize()
	*t.Kept = Kept{string(raw), steerer}
	return steerer, func() {}, nil
}

// Labels returns the labels that the samples of a setting are generated under, one for each, or nil
// if the model has no classes. The number of classes is the label of no class.
func (t *Base) Labels(s Setting) []int32 {
	if t.Model.Classes == 0 {
		return nil
	}
	label := t.Model.Classes
	if s.Class != nil {
		label = *s.Class
	}
	return slices.Repeat([]int32{int32(label)}, s.Samples)
}

// Common returns what a setting alone says of its result.
func (t *Base) Common(b compute.Backend, s Setting) Result {
	return Result{
		RewardName: t.RewardName, Method: s.Method, Dynamics: s.Config.Dynamics, N: s.N, Seed: s.Seed,
		RunSettings: s.runSettings(b),
	}
}

// Run is Draw that also fills in what the results of all tasks have in common. The [Watch] follows
// it.
func (t *Base) Run(
	ctx context.Context, b compute.Backend, s Setting, exact *steer.Exact, rng *rand.Rand,
) (r Result, samples []float32, got *steer.Result, err error) {
	r = t.Common(b, s)
	if samples, got, r.Seconds, err = t.draw(ctx, b, s, exact, rng, t.watch); err != nil {
		return r, nil, nil, err
	}
	r.NFE = float64(got.Counts.NFE()) / float64(s.Samples)
	r.MicrosPerNFE = 1e6 * r.Seconds / float64(got.Counts.NFE())
	drawn := s.N
	if entry, _ := steer.Lookup(s.Method); !entry.PosteriorSamples && !entry.Search && !entry.SNR { // Best-of-N draws none
		drawn = 1
	}
	r.Warnings = got.Series.Warnings(steer.DefaultThresholds(), drawn)
	r.Warnings = append(r.Warnings, t.RewardWarnings(s.Config.Lambda)...)
	if n, first := got.Bad(); n > 0 {
		r.Warnings = append(r.Warnings,
			fmt.Sprintf("the reward of %d samples is NaN or +Inf; the first one is sample %d", n, first))
	}
	r.Diverged = !stats.Finite(got.Samples)
	return r, samples, got, nil
}
