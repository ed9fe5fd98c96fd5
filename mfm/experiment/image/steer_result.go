package image

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteeringResult is the quality of steered images. The target is the training images with weights
// e^{λ r}. Histograms are of the most likely class.
type SteeringResult struct {
	steering.Result
	// L2 is the distance between the histograms of samples and target, L2Floor its root mean square
	// for as many exact samples, both by the first evaluator. L2Second is the distance by the
	// second.
	L2       float64 `json:"l2"`
	L2Floor  float64 `json:"l2_floor"`
	L2Second float64 `json:"l2_second_evaluator"`
	// Classes and Target are the histograms of samples and target by the first evaluator, Second is
	// that of the samples by the second.
	Classes      []float64 `json:"classes"`
	Second       []float64 `json:"classes_second,omitempty"`
	Target       []float64 `json:"target"`
	Reward       float64   `json:"reward"` // mean over the samples that have one
	RewardSE     float64   `json:"reward_se"`
	Lost         int       `json:"lost,omitempty"` // samples whose reward is -Inf or NaN
	RewardTarget float64   `json:"reward_target"`  // mean over the target
	// Distance is the squared Fréchet distance to the target in the features of the second
	// evaluator, DistFloor that of as many samples of the target.
	Distance  float64 `json:"distance"`
	DistFloor float64 `json:"distance_floor"`
	// Confident is the share with a class of probability above 0.9 by the second evaluator.
	Confident float64 `json:"confident"`
	// Images is a PNG of the first samples of seed 0, at most 20, side by side.
	Images []byte `json:"images,omitempty"`
}

// L2SE returns the standard error of L2 for independent samples by the delta method, √((Σ_k p_k
// d_k² - (Σ_k p_k d_k)²)/n)/|d|, with p the shares of the classes and d their difference from the
// target. It does not hold for an L2 near its floor. It is NaN for a particle filter, whose
// particles share ancestors, and for samples that share their noise.
func (r SteeringResult) L2SE() float64 {
	entry, _ := steer.Lookup(r.Method) // a method of fine-tuning is not among them, and no filter
	if entry.Filter || strings.Contains(r.Unusual, "shared=true") {
		return math.NaN()
	}
	var first, second float64
	for k, p := range r.Classes {
		d := p - r.Target[k]
		first, second = first+p*d, second+p*d*d
	}
	return math.Sqrt(max(second-first*first, 0)/float64(r.Samples)) / r.L2
}

// shownImages is the number of images in a result.
const shownImages = 20

// evaluate fills in the quality of samples, flat, that were generated under labels, compared with
// the training images with weights.
func (s *Steering) evaluate(result *SteeringResult, samples []float32, labels []int32, weights []float64,
	rng *rand.Rand, b compute.Backend) error {
	rewards, err := steering.Rewards(b, s.Model.Store, s.Reward, samples, s.Model.Shape, labels)
	if err != nil {
		return err
	}
	rewarded := slices.DeleteFunc(rewards, func(r float64) bool { return r < reward.Least })
	result.Lost = len(rewards) - len(rewarded)
	result.Reward, result.RewardSE = metric.MeanSE(rewarded)
	result.RewardTarget = floats.Dot(weights, s.rewards)
	for i, evaluator := range s.evaluators {
		probabilities, features, err := evaluator.Evaluate(samples, 1)
		if err != nil {
			return err
		}
		target := make([]float64, evaluator.Config.Network.Classes)
		for j, class := range evaluator.classes {
			target[class] += weights[j]
		}
		shares, err := metric.Histogram(stats.ArgMax(probabilities), len(target))
		if err != nil {
			return err
		}
		l2 := floats.Distance(shares, target, 2)
		if i == 0 {
			result.Classes, result.Target, result.L2 = shares, target, l2
			// Rounding may make the difference negative.
			result.L2Floor = math.Sqrt(max(1-floats.Dot(target, target), 0) / float64(len(probabilities)))
			continue
		}
		result.Second, result.L2Second = shares, l2
		for _, p := range probabilities {
			if floats.Max(p) > 0.9 {
				result.Confident += 1 / float64(len(probabilities))
			}
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
	for to, of := range map[*float64][][]float64{&result.Distance: features, &result.DistFloor: exact} {
		moments, err := metric.NewMoments(of, nil)
		if err != nil {
			return err
		}
		if *to, err = metric.Frechet(moments, reference); err != nil {
			return err
		}
	}
	return nil
}
