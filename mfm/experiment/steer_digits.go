package experiment

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
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

// DigitsSteering steers samples of a map of images.
type DigitsSteering struct {
	Digits *Digits
	Model  steer.Model
	Reward reward.Reward
	Store  *model.Store // with the weights of map and reward
	// Problem is a hash of map and reward, by which results of different ones are told apart.
	Problem string

	judges      [2]judged
	classifiers []string  // the folders of the reward's
	rewards     []float64 // of the training images; what is no number has no weight
	features    [][]float64
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
	if s.Model, err = steer.FromMap(e.Map, store.Scope(train.WeightsScope), mfm.DefaultSamplerConfig()); err != nil {
		return nil, err
	}
	if s.Reward, s.classifiers, err = imageReward(b, store, c.Reward, e.Shape()); err != nil {
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
	if err := s.name(c); err != nil {
		return nil, err
	}
	s.rewards, err = rewardsOf(b, s.Store, s.Reward, images.Float32(), e.Shape())
	return s, err
}

// imageReward returns a reward whose classifiers' weights it puts into store, and their folders.
func imageReward(b compute.Backend, store *model.Store, raw json.RawMessage, shape []int) (r reward.Reward, folders []string, err error) {
	r, err = reward.Parse(raw, func(dir string) (reward.Logits, int, error) {
		judge, err := OpenClassifier(b, dir, shape)
		if err != nil {
			return nil, 0, err
		}
		logits, err := judge.Logits(store, rewardScope(len(folders)))
		folders = append(folders, dir)
		return logits, judge.Config.Network.Classes, err
	})
	return r, folders, err
}

// name sets Problem: a hash of the map with its prior, the reward, the images and the judges, not of the folders' names.
func (s *DigitsSteering) name(c DigitsSteeringConfig) error {
	var canonical any
	if err := json.Unmarshal(c.Reward, &canonical); err != nil {
		return fmt.Errorf("reward: %w", err)
	}
	text, err := json.Marshal(canonical)
	if err != nil {
		return fmt.Errorf("reward: %w", err)
	}
	problem := struct {
		Config DigitsConfig
		Reward string
		Prior  string
		Judges [2]string
		Images [sha256.Size]byte
	}{Config: s.Digits.Config, Reward: string(text), Images: sha256.Sum256(append(slices.Clone(s.Digits.Data.Pixels), s.Digits.Data.Labels...))}
	for i, judge := range s.judges {
		if problem.Judges[i], err = hashProblem(judge.store, judge.Config); err != nil {
			return err
		}
	}
	// The reward's classifiers are in the store, the folders that they came from say nothing more.
	for i, dir := range s.classifiers {
		quoted, _ := json.Marshal(dir) // strings always encode
		problem.Reward = strings.ReplaceAll(problem.Reward, string(quoted), fmt.Sprintf("%q", rewardScope(i)))
	}
	if p, mixture := s.Digits.Map.Parametrization.(*mfm.MixturePrior); mixture {
		if problem.Prior, err = hashTensors(priorTensors(p)); err != nil {
			return err
		}
	}
	s.Problem, err = hashProblem(s.Store, problem)
	return err
}

func rewardScope(i int) string { return fmt.Sprintf("reward_%d", i+1) }

// weights returns those of the training images in the target.
func (s *DigitsSteering) weights(lambda float64) ([]float64, error) {
	return tilt(s.rewards, lambda, max(10, float64(len(s.rewards))/100))
}

// Check returns an error that says why a cell cannot be run.
func (s *DigitsSteering) Check(c SteerCell) error {
	if c.Method == "exact" || c.Method == "smc-exact" {
		return fmt.Errorf("method %s: images have no value in closed form", c.Method)
	}
	if _, err := s.weights(c.Config.Lambda); err != nil {
		return err
	}
	if _, err := s.drawModel(c); err != nil {
		return fmt.Errorf("method %s: %w", c.Method, err)
	}
	return c.check(nil)
}

// drawModel is [SteerCell.drawModel] of the map.
func (s *DigitsSteering) drawModel(c SteerCell) (steer.Model, error) {
	return c.drawModel(s.Model, s.Digits.Map, s.Store.Scope(train.WeightsScope))
}

// Run draws a cell's images and judges them.
func (s *DigitsSteering) Run(ctx context.Context, b compute.Backend, c SteerCell) (DigitsSteeringRow, error) {
	row := DigitsSteeringRow{Method: c.Method, Dynamics: string(c.Config.Dynamics), N: c.N, Seed: c.Seed, RunSettings: c.settings(b)}
	began := time.Now()
	samples, got, err := s.Draw(ctx, b, c)
	if err != nil {
		return row, err
	}
	row.Seconds = time.Since(began).Seconds()
	row.NFE = float64(got.Counts.NFE()) / float64(c.Samples)
	row.Warnings = warnings(got, c.N)
	if row.Diverged = !finite(got.Samples); row.Diverged {
		return row, nil
	}
	if c.Seed == 0 {
		if row.Images, err = strip(samples, s.Digits.Shape(), shownImages); err != nil {
			return row, err
		}
	}
	return row, s.judge(&row, samples, c.Config.Lambda, rand.New(rand.NewPCG(uint64(c.Seed), 7)), b)
}

// finite says that all values are numbers, none of them so large that the run must have diverged.
func finite(values []float32) bool {
	return lost(values, 1) == 0
}

// lost returns how many of samples of a size, flat, have a value that is not.
func lost(values []float32, size int) int {
	n := 0
	for sample := range slices.Chunk(values, size) {
		if slices.ContainsFunc(sample, func(v float32) bool { return !(math.Abs(float64(v)) <= 1e6) }) {
			n++
		}
	}
	return n
}

// Draw returns a cell's images, flat, those with weights drawn again by weight, and what the run says of itself.
func (s *DigitsSteering) Draw(ctx context.Context, b compute.Backend, c SteerCell) ([]float32, *steer.Result, error) {
	m, err := s.drawModel(c)
	if err != nil {
		return nil, nil, err
	}
	got, err := drawCell(ctx, b, s.Store, m, s.Reward, s.Digits.Shape(), c, nil)
	if err != nil {
		return nil, nil, err
	}
	return got.Resampled(rand.New(rand.NewPCG(uint64(c.Seed), 6))), got, nil
}
