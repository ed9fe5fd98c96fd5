package latent

import (
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// statisticsFile keeps the statistics of a run's latents, with which the map can be used without the
// latents.
const statisticsFile = "statistics.safetensors"

// statistics are moments of latents.
type statistics struct {
	shape    []int     // of a latent, [height, width, channels]
	mean     []float32 // of each element over the images and their mirror images
	variance float32   // of the elements about their means, with the noise
	noise    []float32 // variance of the encoder's Gaussian per channel, positive, mean over the images
}

// minNoise is the smallest variance of the noise: a deterministic encoder has none.
const minNoise = 1e-6

func newStatistics(l *Latents) statistics {
	size := l.Size()
	mean, noise, variance := make([]float64, size), make([]float64, l.Channels), 0.
	for i, v := range l.Mean {
		mean[i%size] += float64(v) / float64(2*l.N)
		noise[i%l.Channels] += float64(l.Std[i]) * float64(l.Std[i]) / float64(len(l.Mean)/l.Channels)
	}
	for i, v := range l.Mean {
		d := float64(v) - mean[i%size]
		variance += d * d / float64(len(l.Mean))
	}
	s := statistics{shape: l.Shape()}
	for _, v := range mean {
		s.mean = append(s.mean, float32(v))
	}
	for _, v := range noise {
		v = max(v, minNoise)
		variance += v / float64(l.Channels)
		s.noise = append(s.noise, float32(v))
	}
	s.variance = float32(variance)
	return s
}

// newMap returns the untrained map of a configuration.
func (s statistics) newMap(c Config) (*mfm.Map, error) {
	ip, err := c.Interpolant.Schedule()
	if err != nil {
		return nil, err
	}
	m := &mfm.Map{Interpolant: ip, Backbone: c.Network.Backbone(), Parametrization: mfm.Plain{}}
	if c.Parametrization == mfm.GaussianName {
		g := &mfm.Gaussian{Variance: []float64{float64(s.variance)}}
		for _, v := range s.mean {
			g.Mean = append(g.Mean, float64(v))
		}
		m.Parametrization = g
	}
	return m, nil
}

// modelOf returns a map with the weights that store has in [train.WeightsScope].
func modelOf(c Config, m *mfm.Map, s statistics, store *model.Store) mfm.Model {
	return mfm.Model{Map: m, Weights: store.Scope(train.WeightsScope), Shape: s.shape, Classes: c.Network.ClassCount(),
		Scales: c.Train.Loss.Guidance.Scales}
}

// write writes the statistics to the folder of a run.
func (s statistics) write(dir string) error {
	return checkpoint.WriteWeights(filepath.Join(dir, statisticsFile), checkpoint.Tensors{
		"mean":     tensors.FromFlatDataAndDimensions(s.mean, s.shape...),
		"variance": tensors.FromFlatDataAndDimensions([]float32{s.variance}, 1),
		"noise":    tensors.FromFlatDataAndDimensions(s.noise, len(s.noise)),
	}, nil)
}

// readStatistics reads the statistics in the folder of a run. Tensors that do not fit together are a
// [train.FitError], wrapped.
func readStatistics(dir string) (s statistics, err error) {
	t, _, err := checkpoint.ReadWeights(filepath.Join(dir, statisticsFile))
	if err != nil {
		return s, err
	}
	s.shape = []int{1, 1, 1}
	if mean := t["mean"]; mean != nil && mean.Shape().Rank() == 3 {
		s.shape = mean.Shape().Dimensions
	}
	want := make(map[string]shapes.Shape)
	for name, dims := range map[string][]int{"mean": s.shape, "variance": {1}, "noise": s.shape[2:]} {
		want[name] = shapes.Make(dtypes.Float32, dims...)
	}
	if err := train.Fit(t, want); err != nil {
		return s, fmt.Errorf("%s: %w", filepath.Join(dir, statisticsFile), err)
	}
	var variance []float32
	for name, to := range map[string]*[]float32{"mean": &s.mean, "variance": &variance, "noise": &s.noise} {
		if *to, err = tensors.CopyFlatData[float32](t[name]); err != nil {
			return s, err
		}
	}
	for _, v := range append(variance, s.noise...) {
		if !(v > 0) {
			return s, fmt.Errorf("%s: a variance is %g: must be positive", filepath.Join(dir, statisticsFile), v)
		}
	}
	s.variance = variance[0]
	return s, nil
}
