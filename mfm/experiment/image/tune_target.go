package image

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tunedWeights returns the weights of the training images in the target of a tuning, which sum to
// 1: those of the given class, or for nil those of all classes. Each class of a map with classes is
// tilted by itself, and so keeps its share of the images. Errors are those of weights.
func (s *Steering) tunedWeights(lambda float64, class *int) ([]float64, error) {
	if s.Model.Classes == 0 || class != nil {
		return s.weights(lambda, class)
	}
	all := make([]float64, len(s.rewards))
	for class := range s.Model.Classes {
		rewards, n := s.ofClass(&class)
		if n == 0 {
			continue
		}
		weights, err := steering.TiltedWeights(rewards, lambda, 0)
		if err != nil {
			return nil, fmt.Errorf("class %d: %w", class, err)
		}
		floats.AddScaled(all, float64(n)/float64(len(all)), weights)
	}
	if effective := 1 / floats.Dot(all, all); effective < least(len(all)) {
		return nil, fmt.Errorf("lambda = %g: %d images of all classes have an effective number of %.0f, too few: "+
			"use a smaller lambda, a wider reward, or one class", lambda, len(all), effective)
	}
	return all, nil
}

// target returns what is known of the tilted distribution from the weighted training images, those
// of the given class or for nil of all classes: their standard deviation, and their divergence from
// equal weights of the n images, Σ w log(n w). The slack is 5: copies that come near the target are
// up to three times as far from the base on the grid of the evaluations.
func (s *Steering) target(lambda float64, class *int) (tune.Target, error) {
	weights, err := s.tunedWeights(lambda, class)
	if err != nil {
		return tune.Target{}, err
	}
	_, n := s.ofClass(class)
	images := s.Experiment.Data
	moments, err := metric.NewMoments(mfm.Rows(images.Float32(), images.Dim()), weights)
	if err != nil {
		return tune.Target{}, fmt.Errorf("standard deviation of the target: %w", err)
	}
	kl, _ := steering.Divergence(weights, n)
	return tune.Target{Std: moments.Std(), KL: kl, Slack: 5}, nil
}

// shares returns the shares of the classes among the paths and the samples, see
// [tuning.Config.ClassShares].
func (t *Tuning) shares() []float64 {
	return t.Config.ClassShares(t.Model.Classes, t.Experiment.Data.Labels)
}

// source returns a source of the images that the states are interpolants of.
func (t *Tuning) source() (train.Source, error) {
	images, class := t.Experiment.Data, t.Config.Class
	var chosen []int
	switch {
	case t.Config.Tilted:
		weights, err := t.tunedWeights(t.Config.Tune.Lambda, class)
		if err != nil {
			return nil, err
		}
		// Systematic resampling by the weights, to the same number of images.
		rng := rand.New(rand.NewPCG(uint64(t.Config.Tune.Seed), 19))
		sum, offset := 0.0, rng.Float64()
		for i, w := range weights {
			sum += w * float64(images.N)
			for ; sum > offset; offset++ {
				chosen = append(chosen, i)
			}
		}
	case class != nil:
		for i, label := range images.Labels {
			if int(label) == *class {
				chosen = append(chosen, i)
			}
		}
	default:
		return t.Experiment.Source()
	}
	pixels, size := images.Float32(), images.Dim()
	data, labels := make([]float32, 0, len(chosen)*size), make([]int32, len(chosen))
	for k, i := range chosen {
		data = append(data, pixels[i*size:(i+1)*size]...)
		if t.Model.Classes > 0 {
			labels[k] = images.Labels[i]
		}
	}
	dims := append([]int{len(chosen)}, t.Model.Shape...)
	all := tensors.FromFlatDataAndDimensions(data, dims...)
	if t.Model.Classes == 0 {
		return train.DataSet(all, nil)
	}
	return train.DataSet(all, tensors.FromValue(labels))
}
