package image

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteeringConfig names the folders of the runs, and the reward, that images are steered with.
type SteeringConfig struct {
	// Map is the folder of the map.
	Map string
	// Reward is as [reward.Parse] reads it, with the kinds of [RewardKinds]. A classifier in it is
	// named by its folder.
	Reward json.RawMessage
	// HeldOut are the images that rewards of measurements refer to by their index. Nil means none.
	HeldOut *data.Images
	// Evaluator is the folder of the classifier that evaluates samples first: that of the reward if
	// it has one. Second is that of a classifier that the reward does not use.
	Evaluator, Second string
}

// PaperReward returns the reward of the paper's digits experiment, log Σ_i w_i p(i|x) with the
// weights (0,1,0,1,0,2,0,2,0,4)/10, by the classifier in the given folder.
func PaperReward(classifier string) json.RawMessage {
	weights := []float64{0, 0.1, 0, 0.1, 0, 0.2, 0, 0.2, 0, 0.4}
	return digitsReward(map[string]any{"kind": "class_mixture", "classifier": classifier, "weights": weights})
}

// ClassReward returns the reward log p(class|x) by the classifier in the given folder.
func ClassReward(classifier string, class int) json.RawMessage {
	return digitsReward(map[string]any{"kind": "log_probability", "classifier": classifier, "class": class})
}

func digitsReward(of map[string]any) json.RawMessage {
	raw, _ := json.Marshal(of) // strings and numbers always encode
	return raw
}

// Steering steers samples of a map of images to a reward. It implements [steering.Task].
type Steering struct {
	steering.Base
	Experiment *Experiment

	config      SteeringConfig
	evaluators  [2]evaluator
	classifiers []rewardClassifier // folders of the reward's classifiers
	heldOut     string             // hash of the held-out images if the reward refers to them
	rewards     []float64          // of the training images given their labels; below [reward.Least] without a weight
	features    [][]float64        // of the training images by the second evaluator
	measured    *measurement       // what the reward measures, if that is all it does
	// Unsteered samples and their features by the second evaluator, by their setting: they do not
	// depend on the reward.
	drawn     map[string]drawn
	unsteered map[string][][]float64
}

// drawn are samples with the result of drawing them.
type drawn struct {
	result  steering.Result
	samples []float32
}

// evaluator is a classifier with its classes of the training images.
type evaluator struct {
	*Classifier
	classes []int
}

// NewSteering opens map, reward and evaluators, and evaluates the training images.
func NewSteering(b compute.Backend, c SteeringConfig, images *data.Images) (*Steering, error) {
	return newSteering(b, c, images, nil)
}

// WithReward returns the steering of the same map to another reward. The evaluators do not evaluate
// the training images again.
func (s *Steering) WithReward(b compute.Backend, reward json.RawMessage) (*Steering, error) {
	c := s.config
	c.Reward = reward
	return newSteering(b, c, s.Experiment.Data, s)
}

// newSteering is NewSteering with the evaluators of another steering of the same map, nil for none.
func newSteering(b compute.Backend, c SteeringConfig, images *data.Images, other *Steering) (*Steering, error) {
	e, store, err := Open(c.Map, images)
	if err != nil {
		return nil, err
	}
	m := e.Model(store)
	s := &Steering{
		Experiment: e, config: c, Base: steering.Base{Map: &m},
		drawn: make(map[string]drawn), unsteered: make(map[string][][]float64),
	}
	if s.Model, err = steer.FromMap(m, mfm.DefaultSamplerConfig()); err != nil {
		return nil, err
	}
	if err := s.openReward(b, c); err != nil {
		return nil, err
	}
	if err := s.CheckReward(b, e.Shape()); err != nil {
		return nil, err
	}
	if other != nil {
		s.evaluators, s.features = other.evaluators, other.features
		s.drawn, s.unsteered = other.drawn, other.unsteered
	} else if err := s.openEvaluators(b); err != nil {
		return nil, err
	}
	if err := s.fingerprint(c); err != nil {
		return nil, err
	}
	var labels []int32
	if m.Classes > 0 {
		labels = images.Labels
	}
	s.rewards, err = steering.Rewards(b, s.Model.Store, s.Reward, images.Float32(), e.Shape(), labels)
	return s, err
}

// openEvaluators opens the evaluators and evaluates the training images.
func (s *Steering) openEvaluators(b compute.Backend) (err error) {
	for i, dir := range []string{s.config.Evaluator, s.config.Second} { // both are checked before the work
		if s.evaluators[i].Classifier, err = OpenClassifier(b, dir, s.Experiment.Shape()); err != nil {
			return fmt.Errorf("evaluator: %w", err)
		}
	}
	for i := range s.evaluators {
		probabilities, features, err := s.evaluators[i].Evaluate(s.Experiment.Data.Float32(), 1)
		if err != nil {
			return err
		}
		// The features of the second evaluator remain.
		s.evaluators[i].classes, s.features = stats.ArgMax(probabilities), features
	}
	return nil
}

// rewardClassifier is a classifier that a reward refers to by its folder.
type rewardClassifier struct {
	*Classifier
	dir string
}

// openReward sets the reward, its classifiers, and the hash of the held-out images if it needs
// them.
func (s *Steering) openReward(b compute.Backend, c SteeringConfig) (err error) {
	kinds := rewardKinds{images: s.Experiment.Data, heldOut: c.HeldOut}
	p := reward.Parser{Kinds: kinds.all()}
	p.Classifiers = func(dir string) (reward.Logits, int, error) {
		c, err := OpenClassifier(b, dir, s.Experiment.Shape())
		if err != nil {
			return nil, 0, err
		}
		s.classifiers = append(s.classifiers, rewardClassifier{c, dir})
		logits, err := c.Logits()
		return logits, c.Config.Network.Classes, err
	}
	if s.Reward, err = p.Parse(c.Reward); err != nil {
		return err
	}
	if kinds.measured {
		s.heldOut = c.HeldOut.Hash()
	}
	s.measured, err = kinds.measurement(c.Reward)
	return err
}

// fingerprint sets Fingerprint, a hash of the map with its prior, the reward, the images and the
// evaluators. It does not depend on the names of folders.
func (s *Steering) fingerprint(c SteeringConfig) error {
	var canonical any
	if err := json.Unmarshal(c.Reward, &canonical); err != nil {
		return fmt.Errorf("reward: %w", err)
	}
	text, err := json.Marshal(canonical)
	if err != nil {
		return fmt.Errorf("reward: %w", err)
	}
	spec := struct { // the fields' names are part of the hash
		Config Config
		Reward string
		Prior  string
		Judges [2]string
		Images string
	}{Config: s.Experiment.Config, Reward: string(text), Images: s.Experiment.Data.Hash()}
	for i, e := range s.evaluators {
		if spec.Judges[i], err = run.Fingerprint(e.Store, e.Config); err != nil {
			return err
		}
	}
	// Hashes of the reward's classifiers, with their weights, stand for their folders.
	for _, c := range s.classifiers {
		hash, err := run.Fingerprint(c.Store, c.Config)
		if err != nil {
			return err
		}
		dir, _ := json.Marshal(c.dir) // strings always encode
		spec.Reward = strings.ReplaceAll(spec.Reward, `"classifier":`+string(dir), fmt.Sprintf(`"classifier":%q`, hash))
	}
	if s.heldOut != "" {
		spec.Reward += " of " + s.heldOut
	}
	if p, mixture := s.Experiment.Map.Parametrization.(*mfm.MixturePrior); mixture {
		if spec.Prior, err = run.HashTensors(priorTensors(p)); err != nil {
			return err
		}
	}
	s.Fingerprint, err = run.Fingerprint(s.Model.Store, spec)
	return err
}

// weights returns the weights e^{λ r} of the training images, of one class unless class is nil.
// They sum to 1. It returns an error if the effective number of images is below 10 or one in a
// hundred.
func (s *Steering) weights(lambda float64, class *int) ([]float64, error) {
	rewards, n := s.ofClass(class)
	return steering.TiltedWeights(rewards, lambda, least(n))
}

// least returns the least effective number of n weighted images.
func least(n int) float64 { return max(10, float64(n)/100) }

// ofClass returns the rewards of the training images, -Inf for those of other classes than the
// given one, and the number of images of the class; nil means all classes.
func (s *Steering) ofClass(class *int) (rewards []float64, n int) {
	rewards, n = s.rewards, len(s.rewards)
	if class != nil {
		rewards = slices.Clone(rewards)
		for i, label := range s.Experiment.Data.Labels {
			if int(label) != *class {
				rewards[i] = math.Inf(-1)
				n--
			}
		}
	}
	return rewards, n
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (s *Steering) Check(c steering.Setting) error {
	return s.CheckOfData(c, "images", s.Experiment.Config.Train.Loss.Guidance.Dropout)
}

// Run draws the images of a setting and evaluates them. If too few training images have a weight in
// the target, the result says so in its warnings and is not compared with the target.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c steering.Setting) (SteeringResult, error) {
	r := SteeringResult{Test: SteeringTest, pool: c.Pool}
	common, samples, err := s.sample(ctx, b, c)
	r.Result = common
	if err != nil || r.Diverged {
		return r, err
	}
	if s.measured != nil && c.Config.Lambda > 0 && c.Class == nil { // it is that of all classes
		r.GaussianKL = metric.Some(s.measured.kl(c.Config.Lambda))
	}
	if c.Seed == 0 {
		if r.Images, err = strip(samples, s.Model.Shape, shownImages); err != nil {
			return r, err
		}
	}
	rewards, n := s.ofClass(c.Class)
	if weights, err := steering.TiltedWeights(rewards, c.Config.Lambda, 0); err == nil {
		kl, effective := steering.Divergence(weights, n)
		r.TargetKL, r.TargetEffective = metric.Some(kl), metric.Some(effective)
	}
	weights, few := s.weights(c.Config.Lambda, c.Class)
	if few != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("no comparison with the target: %v", few))
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 7))
	if err := s.evaluate(ctx, b, &r, samples, s.Labels(c), weights, rng); err != nil {
		return r, err
	}
	if weights != nil {
		diversity, err := s.withinClasses(samples, r.Target)
		if err != nil {
			r.Warnings = append(r.Warnings, err.Error())
		} else {
			r.Diversity = metric.Some(diversity)
		}
	}
	if c.Pool {
		return r, nil
	}
	return r, s.compareWithBase(ctx, b, c, samples, &r)
}

// sample draws the images of a setting, unsteered ones once for all rewards.
func (s *Steering) sample(ctx context.Context, b compute.Backend, c steering.Setting) (
	steering.Result, []float32, error) {
	if c.Method != steering.Unsteered {
		r, samples, _, err := s.Base.Run(ctx, b, c, nil, resampling(c.Seed))
		return r, samples, err
	}
	key := c
	key.Fingerprint, key.Pool = "", false
	name, err := sweep.Name(key)
	if err != nil {
		return steering.Result{}, nil, err
	}
	if d, found := s.drawn[name]; found {
		d.result.RewardName, d.result.Warnings = s.RewardName, s.RewardWarnings(c.Config.Lambda)
		d.result.Pool, d.result.Reused = c.Pool, true
		return d.result, d.samples, nil
	}
	r, samples, _, err := s.Base.Run(ctx, b, c, nil, resampling(c.Seed))
	if err == nil {
		s.drawn[name] = drawn{r, samples}
	}
	return r, samples, err
}

// baseSeed is the seed of the unsteered samples that steered ones are compared with: none of a run.
const baseSeed = 1 << 40

// compareWithBase sets BaseDistance, which a pool does not have. Unsteered samples are drawn once
// for all settings that have the same.
func (s *Steering) compareWithBase(
	ctx context.Context, b compute.Backend, c steering.Setting, samples []float32, r *SteeringResult,
) error {
	base := steering.Setting{
		Method: steering.Unsteered, N: 1, Samples: c.Samples, Seed: baseSeed, Config: steer.DefaultConfig(),
		Options: steering.Options{Class: c.Class, Guidance: c.Guidance},
	}
	if entry, err := steer.Lookup(c.Method); err != nil || !entry.OneStep {
		base.Config.Grid = c.Config.Grid
	}
	name, err := sweep.Name(base)
	if err != nil {
		return err
	}
	evaluator := s.evaluators[1]
	unsteered, found := s.unsteered[name]
	if !found {
		drawn, _, err := s.Draw(ctx, b, base)
		if err != nil {
			return fmt.Errorf("unsteered samples to compare with: %w", err)
		}
		if stats.Finite(drawn) {
			if _, unsteered, err = evaluator.Evaluate(drawn, 1); err != nil {
				return err
			}
		}
		s.unsteered[name] = unsteered
	}
	if unsteered == nil {
		return nil
	}
	moments, err := metric.NewMoments(unsteered, nil)
	if err != nil {
		return err
	}
	_, features, err := evaluator.Evaluate(samples, 1)
	if err != nil {
		return err
	}
	r.BaseDistance, err = frechet(features, moments)
	return err
}

// Draw returns the images of a setting, flat, and the result of the sampler. Weighted images are
// resampled by their weights.
func (s *Steering) Draw(ctx context.Context, b compute.Backend, c steering.Setting) ([]float32, *steer.Result, error) {
	return s.Base.Draw(ctx, b, c, nil, resampling(c.Seed))
}

func resampling(seed int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 6)) }
