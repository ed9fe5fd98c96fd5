package experiment

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"
)

// DigitsSteeringRow is the quality of steered images. Histograms are of the likeliest class; their target is that of the training images, each counted e^{λ r} times.
type DigitsSteeringRow struct {
	Method   string  `json:"method"`
	Dynamics string  `json:"dynamics"`
	N        int     `json:"n"`
	NFE      float64 `json:"nfe"` // for each sample
	Seed     int64   `json:"seed"`
	RunSettings
	L2           float64   `json:"l2"`              // of the histogram by the first judge from the target's
	L2Floor      float64   `json:"l2_floor"`        // root mean square of the same for as many draws from the target
	L2Second     float64   `json:"l2_second_judge"` // by the second judge
	Classes      []float64 `json:"classes"`
	Second       []float64 `json:"classes_second,omitempty"` // by the second judge
	Target       []float64 `json:"target"`
	Reward       float64   `json:"reward"` // mean of r over the samples that have one
	RewardSE     float64   `json:"reward_se"`
	Lost         int       `json:"lost,omitempty"`     // samples whose reward is -Inf or no number
	Diverged     bool      `json:"diverged,omitempty"` // some samples are not finite, or beyond 10^6: nothing else is told of them
	RewardTarget float64   `json:"reward_target"`      // the same of the target
	Distance     float64   `json:"distance"`           // Fréchet's, squared, from the target in the second judge's features
	DistFloor    float64   `json:"distance_floor"`     // of as many draws from the target
	Confident    float64   `json:"confident"`          // share with a class of probability above 0.9 by the second judge
	Seconds      float64   `json:"seconds,omitempty"`  // of sampling
	Warnings     []string  `json:"warnings,omitempty"`
	// Images are the first samples of seed 0, at most 20, side by side: a PNG.
	Images []byte `json:"images,omitempty"`
}

// L2SE returns the standard error of L2 that the scatter of as many independent samples makes, to first order: with d the classes' shares p less the target's, √((Σ_k p_k d_k² - (Σ_k p_k d_k)²)/n)/|d|. It is the
// delta method's, which does not hold where L2 is near its floor. It is NaN of a filter, whose particles share ancestors, and of draws that particles share.
func (r DigitsSteeringRow) L2SE() float64 {
	if strings.HasPrefix(r.Method, "smc-") || strings.Contains(r.Unusual, "shared=true") {
		return math.NaN()
	}
	var first, second float64
	for k, p := range r.Classes {
		d := p - r.Target[k]
		first, second = first+p*d, second+p*d*d
	}
	return math.Sqrt(max(second-first*first, 0)/float64(r.Samples)) / r.L2
}

// shownImages is how many samples a row keeps.
const shownImages = 20

// judge fills in what is said of samples.
func (s *DigitsSteering) judge(row *DigitsSteeringRow, samples []float32, lambda float64, rng *rand.Rand, b compute.Backend) error {
	weights, err := s.weights(lambda)
	if err != nil {
		return err
	}
	rewards, err := rewardsOf(b, s.Store, s.Reward, samples, s.Digits.Shape())
	if err != nil {
		return err
	}
	for _, r := range rewards {
		if r < reward.Least {
			row.Lost++
		}
	}
	row.Reward, row.RewardSE = meanSE(slices.DeleteFunc(rewards, func(r float64) bool { return r < reward.Least }))
	row.RewardTarget = floats.Dot(weights, s.rewards)
	for i, judge := range s.judges {
		probabilities, features, err := judge.Evaluate(samples, 1)
		if err != nil {
			return err
		}
		target := make([]float64, judge.Config.Network.Classes)
		for j, class := range judge.classes {
			target[class] += weights[j]
		}
		shares, err := metric.Histogram(likeliest(probabilities), len(target))
		if err != nil {
			return err
		}
		l2 := floats.Distance(shares, target, 2)
		if i == 0 {
			row.Classes, row.Target, row.L2 = shares, target, l2
			row.L2Floor = math.Sqrt(max(1-floats.Dot(target, target), 0) / float64(len(probabilities))) // rounding may leave less than none
			continue
		}
		row.Second, row.L2Second = shares, l2
		for _, p := range probabilities {
			if floats.Max(p) > 0.9 {
				row.Confident += 1 / float64(len(probabilities))
			}
		}
		if err := s.distances(row, features, weights, rng); err != nil {
			return err
		}
	}
	return nil
}

// distances fills in Fréchet's distance of features from those of the target, and its floor.
func (s *DigitsSteering) distances(row *DigitsSteeringRow, features [][]float64, weights []float64, rng *rand.Rand) error {
	reference, err := metric.NewMoments(s.features, weights)
	if err != nil {
		return err
	}
	drawn := make([][]float64, len(features))
	for i := range drawn {
		drawn[i] = s.features[draw(rng, weights)]
	}
	for to, set := range map[*float64][][]float64{&row.Distance: features, &row.DistFloor: drawn} {
		moments, err := metric.NewMoments(set, nil)
		if err != nil {
			return err
		}
		if *to, err = metric.Frechet(moments, reference); err != nil {
			return err
		}
	}
	return nil
}

// likeliest returns the class of largest probability in each row.
func likeliest(probabilities [][]float64) []int {
	out := make([]int, len(probabilities))
	for i, p := range probabilities {
		out[i] = argmax(p)
	}
	return out
}
