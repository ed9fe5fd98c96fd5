package image

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
)

// SteeringTest is the value of [SteeringResult].Test.
const SteeringTest = "digits"

// SteeringResult is the quality of steered images. The target is the training images with weights
// e^{λ r}. If their effective number is too small to represent it, what compares samples with the
// target is undefined, and Target is nil. Histograms are of the most likely class.
type SteeringResult struct {
	Test string `json:"test,omitempty"` // [SteeringTest] for steered samples, empty for a tuned drift
	steering.Result
	// GaussianKL is the divergence of the target from the training images, in nats, if the block
	// averages or the mass of the strokes that the reward measures were Gaussian, see
	// [steering.Gaussian]. It is undefined for other rewards. Unlike TargetKL it holds if no training
	// image is near the target.
	GaussianKL metric.Optional `json:"target_kl_gaussian,omitzero"`
	// L2 is the distance between the histograms of samples and target, L2Floor its root mean square
	// for as many exact samples, both by the first evaluator. L2Second is the distance by the
	// second.
	L2       metric.Optional `json:"l2,omitzero"`
	L2Floor  metric.Optional `json:"l2_floor,omitzero"`
	L2Second metric.Optional `json:"l2_second_evaluator,omitzero"`
	// Classes and Target are the histograms of samples and target by the first evaluator, Second is
	// that of the samples by the second.
	Classes []float64 `json:"classes"`
	Second  []float64 `json:"classes_second,omitempty"`
	Target  []float64 `json:"target,omitempty"`
	Reward  float64   `json:"reward"` // mean over the samples that have one
	// RewardSE is the standard error of Reward for independent samples. It is too small for others,
	// see [steering.Result.Independent].
	RewardSE     float64         `json:"reward_se"`
	Lost         int             `json:"lost,omitempty"`         // samples whose reward is -Inf or NaN
	RewardTarget metric.Optional `json:"reward_target,omitzero"` // mean over the target
	// Distance is the squared Fréchet distance to the target in the features of the second
	// evaluator, DistFloor that of as many samples of the target.
	Distance  metric.Optional `json:"distance,omitzero"`
	DistFloor metric.Optional `json:"distance_floor,omitzero"`
	// BaseDistance is the squared Fréchet distance in these features to as many unsteered samples of
	// the same class and guidance, in as many steps. It is undefined for a tuned drift.
	BaseDistance metric.Optional `json:"base_distance,omitzero"`
	// Confident is the share with a class of probability above 0.9 by the second evaluator.
	Confident float64 `json:"confident"`
	// Diversity is the standard deviation of the samples of a class over that of its training
	// images: the mean, weighted by the shares of the target, over the classes with ten images and
	// at least 1% of the target (of more than ten classes a tenth of an equal share). A class with
	// fewer than ten samples counts as 0. Classes are those of the first evaluator.
	Diversity metric.Optional `json:"diversity,omitzero"`
	// Nearest is the distance of a sample to the nearest training image, root mean square per pixel:
	// the median over the first 200 samples, or all of fewer, of an even number the upper one.
	// [GenerationResult] has that of held-out images; memorized samples are closer.
	Nearest metric.Optional `json:"nearest,omitzero"`
	// Images is a PNG of the first samples of seed 0, at most 20, side by side.
	Images []byte `json:"images,omitempty"`

	pool bool // keep the rewards
}

// L2SE returns the standard error of L2 for independent samples by the delta method, √((Σ_k p_k
// d_k² - (Σ_k p_k d_k)²)/n)/|d|, with p the shares of the classes and d their difference from the
// target. It does not hold for an L2 near its floor. It is NaN unless the samples are independent,
// see [steering.Result.Independent].
func (r SteeringResult) L2SE() float64 {
	if !r.Independent() || r.L2.IsZero() {
		return math.NaN()
	}
	var first, second float64
	for k, p := range r.Classes {
		d := p - r.Target[k]
		first, second = first+p*d, second+p*d*d
	}
	return math.Sqrt(max(second-first*first, 0)/float64(r.Samples)) / r.L2.Float()
}

// shownImages is the number of images in a result.
const shownImages = 20

// evaluate fills in the quality of samples, flat, that were generated under labels, compared with
// the training images with weights; nil means no comparison with the target.
func (s *Steering) evaluate(ctx context.Context, b compute.Backend, result *SteeringResult, samples []float32,
	labels []int32, weights []float64, rng *rand.Rand) error {
	rewards, err := steering.Rewards(b, s.Model.Store, s.Reward, samples, s.Model.Shape, labels)
	if err != nil {
		return err
	}
	if result.pool {
		result.PoolRewards = steering.PoolOf(rewards)
	}
	rewarded := slices.DeleteFunc(rewards, func(r float64) bool { return r < reward.Least })
	result.Lost = len(rewards) - len(rewarded)
	result.Reward, result.RewardSE = metric.MeanSE(rewarded)
	result.RewardQuantiles = steering.Quantiles(rewarded)
	if weights != nil {
		result.RewardTarget = metric.Some(floats.Dot(weights, s.rewards))
	}
	nearest, err := s.Experiment.nearest(ctx, samples)
	if err != nil {
		return err
	}
	result.Nearest = metric.Some(nearest)
	for i, evaluator := range s.evaluators {
		probabilities, features, err := evaluator.Evaluate(samples, 1)
		if err != nil {
			return err
		}
		shares, err := metric.Histogram(stats.ArgMax(probabilities), evaluator.Config.Network.Classes)
		if err != nil {
			return err
		}
		var target []float64
		var l2, floor metric.Optional
		if weights != nil {
			target = make([]float64, len(shares))
			for j, class := range evaluator.classes {
				target[class] += weights[j]
			}
			l2 = metric.Some(floats.Distance(shares, target, 2))
			// Rounding may make the difference negative.
			floor = metric.Some(math.Sqrt(max(1-floats.Dot(target, target), 0) / float64(len(probabilities))))
		}
		if i == 0 {
			result.Classes, result.Target, result.L2, result.L2Floor = shares, target, l2, floor
			continue
		}
		result.Second, result.L2Second = shares, l2
		for _, p := range probabilities {
			if floats.Max(p) > 0.9 {
				result.Confident += 1 / float64(len(probabilities))
			}
		}
		if weights == nil {
			continue
		}
		if err := s.distances(result, features, weights, rng); err != nil {
			return err
		}
	}
	return nil
}

// distances fills in the Fréchet distance between the features of samples and target, and its
// floor.
func (s *Steering) distances(result *SteeringResult, features [][]float64, weights []float64, rng *rand.Rand) error {
	reference, err := metric.NewMoments(s.features, weights)
	if err != nil {
		return err
	}
	exact := make([][]float64, len(features))
	for i := range exact {
		exact[i] = s.features[stats.Categorical(rng, weights)]
	}
	if result.Distance, err = frechet(features, reference); err != nil {
		return err
	}
	result.DistFloor, err = frechet(exact, reference)
	return err
}

// frechet returns the squared Fréchet distance of features to reference moments.
func frechet(features [][]float64, reference metric.Moments) (metric.Optional, error) {
	moments, err := metric.NewMoments(features, nil)
	if err != nil {
		return metric.Optional{}, err
	}
	distance, err := metric.Frechet(moments, reference)
	return metric.Some(distance), err
}

// withinClasses returns the diversity of samples, flat, for a target with the given shares of the
// classes; see [SteeringResult]. It returns an error if no class of the target has ten images.
func (s *Steering) withinClasses(samples []float32, shares []float64) (float64, error) {
	probabilities, err := s.evaluators[0].Probabilities(samples, 1)
	if err != nil {
		return 0, err
	}
	group := func(flat []float32, classes []int) [][][]float64 {
		groups := make([][][]float64, len(shares))
		for i, row := range mfm.Rows(flat, s.Experiment.Data.Dim()) {
			groups[classes[i]] = append(groups[classes[i]], row)
		}
		return groups
	}
	sampled := group(samples, stats.ArgMax(probabilities))
	images := group(s.Experiment.Data.Float32(), s.evaluators[0].classes)
	var ratio, total float64
	least := min(0.01, 0.1/float64(len(shares)))
	for class, share := range shares {
		if share < least || len(images[class]) < 10 {
			continue
		}
		total += share
		if len(sampled[class]) < 10 {
			continue
		}
		a, err := metric.Std(sampled[class])
		if err != nil {
			return 0, err
		}
		b, err := metric.Std(images[class])
		if err != nil {
			return 0, err
		}
		ratio += share * a / b
	}
	if total == 0 {
		return 0, fmt.Errorf("diversity: no class of the target has ten training images: use more images")
	}
	return ratio / total, nil
}
