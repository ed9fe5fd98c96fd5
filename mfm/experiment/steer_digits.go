package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// DigitsSteeringConfig says what images are steered to, and who judges them. Folders are those of runs.
type DigitsSteeringConfig struct {
	Map    string          // the map's folder
	Reward json.RawMessage // as [reward.Parse] reads it; a classifier's name there is its folder
	Judge  string          // a classifier: that of the reward, where it has one
	Second string          // a classifier that the reward knows nothing of
}

// DigitsReward is the reward of the paper's digits experiment, log Σ_i w_i p(i|x) with weights (0,1,0,1,0,2,0,2,0,4)/10, by the classifier in a folder.
func DigitsReward(classifier string) json.RawMessage {
	return digitsReward(map[string]any{"kind": "class_mixture", "classifier": classifier, "weights": []float64{0, 0.1, 0, 0.1, 0, 0.2, 0, 0.2, 0, 0.4}})
}

// ClassReward is the reward log p(class|x) by the classifier in a folder.
func ClassReward(classifier string, class int) json.RawMessage {
	return digitsReward(map[string]any{"kind": "log_probability", "classifier": classifier, "class": class})
}

func digitsReward(of map[string]any) json.RawMessage {
	raw, _ := json.Marshal(of) // strings and numbers always encode
	return raw
}

// DigitsSteeringRow is the quality of steered images. Histograms are of the likeliest class; their target is that of the training images, each counted e^{λ r} times.
type DigitsSteeringRow struct {
	Method       string    `json:"method"`
	Dynamics     string    `json:"dynamics"`
	N            int       `json:"n"`
	NFE          float64   `json:"nfe"` // for each sample
	Seed         int64     `json:"seed"`
	Samples      int       `json:"samples"`
	Steps        int       `json:"steps"`
	L2           float64   `json:"l2"`              // of the histogram by the first judge from the target's
	L2Floor      float64   `json:"l2_floor"`        // root mean square of the same for as many draws from the target
	L2Second     float64   `json:"l2_second_judge"` // by the second judge
	Classes      []float64 `json:"classes"`
	Target       []float64 `json:"target"`
	Reward       float64   `json:"reward"` // mean of r over the samples; -Inf at 0
	RewardSE     float64   `json:"reward_se"`
	RewardTarget float64   `json:"reward_target"`  // the same of the target
	Distance     float64   `json:"distance"`       // Fréchet's, squared, from the target in the second judge's features
	DistFloor    float64   `json:"distance_floor"` // of as many draws from the target
	Confident    float64   `json:"confident"`      // share with a class of probability above 0.9 by the second judge
	Seconds      float64   `json:"seconds"`
	Warnings     []string  `json:"warnings,omitempty"`
	// Images are the first samples of seed 0, at most 20, side by side: a PNG.
	Images []byte `json:"images,omitempty"`
}

// shownImages is how many samples a row keeps.
const shownImages = 20

// DigitsSteering steers samples of a map of images.
type DigitsSteering struct {
	Digits *Digits
	Model  steer.Model
	Reward reward.Reward
	Store  *model.Store // with the weights of map and reward
	// Problem is a hash of map and reward, by which results of different ones are told apart.
	Problem string

	judges   [2]judged
	rewards  []float64 // of the training images
	features [][]float64
}

// judged is a classifier and what it says of the training images.
type judged struct {
	*Classifier
	classes []int
}

// NewDigitsSteering opens map, reward and judges, and shows the training images to the latter.
func NewDigitsSteering(b compute.Backend, c DigitsSteeringConfig, images *data.Images) (*DigitsSteering, error) {
	e, store, err := OpenDigits(c.Map, images)
	if err != nil {
		return nil, err
	}
	if e.Config.Network.Classes > 0 {
		return nil, fmt.Errorf("run %s: the map has classes: steering is for one without", c.Map)
	}
	s := &DigitsSteering{Digits: e, Store: store}
	if s.Model, err = steer.FromMap(e.Map, store.Scope(mfm.WeightsScope), mfm.DefaultSamplerConfig()); err != nil {
		return nil, err
	}
	opened := 0
	s.Reward, err = reward.Parse(c.Reward, func(dir string) (reward.Logits, int, error) {
		judge, err := OpenClassifier(b, dir, e.Shape())
		if err != nil {
			return nil, 0, err
		}
		opened++
		logits, err := judge.Logits(store, fmt.Sprintf("reward_%d", opened))
		return logits, judge.Config.Network.Classes, err
	})
	if err != nil {
		return nil, err
	}
	if s.Problem, err = hashProblem(store, struct {
		Config DigitsConfig
		Reward json.RawMessage
	}{e.Config, c.Reward}); err != nil {
		return nil, err
	}
	for i, dir := range []string{c.Judge, c.Second} {
		judge, err := OpenClassifier(b, dir, e.Shape())
		if err != nil {
			return nil, fmt.Errorf("judge: %w", err)
		}
		probabilities, features, err := judge.Evaluate(images.Float32(), 1)
		if err != nil {
			return nil, err
		}
		s.judges[i], s.features = judged{Classifier: judge, classes: likeliest(probabilities)}, features // those of the second stay
	}
	s.rewards, err = s.rewardsOf(b, images.Float32())
	return s, err
}

// rewardsOf returns r of images, flat.
func (s *DigitsSteering) rewardsOf(b compute.Backend, images []float32) ([]float64, error) {
	exec, err := model.NewExec(b, s.Store, func(_ *model.Scope, x *Node) *Node { return s.Reward(x) })
	if err != nil {
		return nil, fmt.Errorf("preparing the reward: %w", err)
	}
	defer exec.Finalize()
	exec.SetMaxCache(-1)
	const chunk = 500
	size := s.Digits.Data.Dim()
	var out []float64
	for from := 0; from < len(images)/size; from += chunk {
		to := min(from+chunk, len(images)/size)
		rewards, err := exec.Call1(tensors.FromFlatDataAndDimensions(images[from*size:to*size], append([]int{to - from}, s.Digits.Shape()...)...))
		if err != nil {
			return nil, fmt.Errorf("rewarding images: %w", err)
		}
		flat, err := tensors.CopyFlatData[float32](rewards)
		if err != nil {
			return nil, fmt.Errorf("rewarding images: %w", err)
		}
		for _, r := range flat {
			out = append(out, float64(r))
		}
	}
	return out, nil
}

// weights returns those of the training images in the target, e^{λ r} over its sum.
func (s *DigitsSteering) weights(lambda float64) []float64 {
	w := make([]float64, len(s.rewards))
	floats.ScaleTo(w, lambda, s.rewards)
	sum := floats.LogSumExp(w)
	for i := range w {
		w[i] = math.Exp(w[i] - sum)
	}
	return w
}

// Check returns an error that says why a cell cannot be run.
func (s *DigitsSteering) Check(c SteerCell) error {
	if c.Method == "exact" || c.Method == "smc-exact" {
		return fmt.Errorf("method %s: images have no value in closed form", c.Method)
	}
	return c.check(nil)
}

// Run draws a cell's images and judges them.
func (s *DigitsSteering) Run(ctx context.Context, b compute.Backend, c SteerCell) (DigitsSteeringRow, error) {
	row := DigitsSteeringRow{Method: c.Method, Dynamics: string(c.Config.Dynamics), N: c.N, Seed: c.Seed, Samples: c.Samples, Steps: c.Config.Steps}
	began := time.Now()
	samples, got, err := s.Draw(ctx, b, c)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(began).Seconds()
	row.NFE = float64(got.Counts.NFE()) / float64(c.Samples)
	row.Warnings = warnings(got, c.N)
	if c.Seed == 0 {
		if row.Images, err = strip(samples, s.Digits.Shape(), shownImages); err != nil {
			return row, err
		}
	}
	return row, s.judge(&row, samples, c.Config.Lambda, rand.New(rand.NewPCG(uint64(c.Seed), 7)), b)
}

// Draw returns a cell's images, flat, those with weights drawn again by weight, and what the run says of itself.
func (s *DigitsSteering) Draw(ctx context.Context, b compute.Backend, c SteerCell) ([]float32, *steer.Result, error) {
	method, err := c.SteerMethod(nil)
	if err != nil {
		return nil, nil, err
	}
	steerer, err := steer.New(b, s.Store, s.Model, s.Reward, s.Digits.Shape(), method)
	if err != nil {
		return nil, nil, err
	}
	defer steerer.Finalize()
	got, err := steerer.Sample(ctx, c.Seed, c.Samples, nil)
	if err != nil {
		return nil, nil, err
	}
	return got.Resampled(rand.New(rand.NewPCG(uint64(c.Seed), 6))), got, nil
}

// judge fills in what is said of samples.
func (s *DigitsSteering) judge(row *DigitsSteeringRow, samples []float32, lambda float64, rng *rand.Rand, b compute.Backend) error {
	weights := s.weights(lambda)
	rewards, err := s.rewardsOf(b, samples)
	if err != nil {
		return err
	}
	row.Reward, row.RewardSE = meanSE(rewards)
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
			row.L2Floor = math.Sqrt((1 - floats.Dot(target, target)) / float64(len(probabilities)))
			continue
		}
		row.L2Second = l2
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
