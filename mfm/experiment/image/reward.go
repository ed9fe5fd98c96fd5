package image

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/reward"
)

// rewardKinds are kinds of rewards that refer to a data set.
type rewardKinds struct {
	images, heldOut *data.Images // nil means none
	measured        bool         // set once a reward refers to held-out images
	// The last reward of its kind, nil for none.
	blocks  *reward.BlockAverage
	strokes *reward.StrokeMass
}

// RewardKinds returns the kinds of package reward that this package extends, by name, with
// examples. A reward of kind block_average may have, instead of y, the index "image" of a held-out
// image, whose block averages are then the measurement. One of kind stroke_mass without "mean" and
// "std" has those of the training images.
func RewardKinds() map[string]reward.Kind { return new(rewardKinds).extended() }

// all returns all kinds of rewards of images.
func (k *rewardKinds) all() map[string]reward.Kind {
	kinds := reward.Kinds()
	for name, kind := range k.extended() {
		kinds[name] = kind
	}
	return kinds
}

func (k *rewardKinds) extended() map[string]reward.Kind {
	return map[string]reward.Kind{
		"block_average": {
			Example: `{"kind": "block_average", "rows": 5, "columns": 5, "image": 1, "sigma": 0.2}`,
			Parse:   k.blockAverage,
		},
		"stroke_mass": {
			Example: `{"kind": "stroke_mass", "target": 3, "width": 0.2}`,
			Parse:   k.strokeMass,
		},
	}
}

func (k *rewardKinds) blockAverage(_ reward.Parser, raw []byte) (reward.Reward, error) {
	var v struct {
		reward.BlockAverage
		Image *int `json:"image"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Image != nil {
		switch {
		case v.Y != nil:
			return nil, fmt.Errorf("a measurement y and an image: give one of the two")
		case k.heldOut == nil:
			return nil, fmt.Errorf("image = %d: there are no held-out images here, give the measurement y", *v.Image)
		case *v.Image < 0 || *v.Image >= k.heldOut.N:
			return nil, fmt.Errorf("image = %d: must lie in [0, %d), the held-out images", *v.Image, k.heldOut.N)
		}
		of, err := k.heldOut.Slice(*v.Image, *v.Image+1)
		if err != nil {
			return nil, err
		}
		if v.Y, err = v.Measure(of.Float32(), of.Height, of.Width, of.Channels); err != nil {
			return nil, err
		}
		k.measured = true
	}
	if err := v.Validate(); err != nil {
		return nil, err
	}
	k.blocks = &v.BlockAverage
	return v.Reward(), nil
}

func (k *rewardKinds) strokeMass(_ reward.Parser, raw []byte) (reward.Reward, error) {
	var v struct {
		Mean   *float64 `json:"mean"`
		Std    *float64 `json:"std"`
		Target float64  `json:"target"`
		Width  float64  `json:"width"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	switch {
	case (v.Mean == nil) != (v.Std == nil):
		return nil, fmt.Errorf("only one of mean and std: give both, or none for those of the training images")
	case v.Mean == nil && k.images == nil:
		return nil, fmt.Errorf("no mean and std, and there are no training images here: give both")
	case v.Mean == nil:
		mean, std := strokeMoments(k.images)
		v.Mean, v.Std = &mean, &std
	}
	s := reward.StrokeMass{Mean: *v.Mean, Std: *v.Std, Target: v.Target, Width: v.Width}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	k.strokes = &s
	return s.Reward(), nil
}

// strokeMoments returns mean and standard deviation over images of the mean intensity (x+1)/2 of
// their pixels.
func strokeMoments(images *data.Images) (mean, std float64) {
	return stat.MeanStdDev(strokeMasses(images), nil)
}

// strokeMasses returns the mean intensity (x+1)/2 of the pixels of each image.
func strokeMasses(images *data.Images) (masses []float64) {
	for _, x := range mfm.Rows(images.Float32(), images.Dim()) {
		masses = append(masses, (stat.Mean(x, nil)+1)/2)
	}
	return masses
}

// measurement is what a reward measures of images: statistics with Gaussian noise.
type measurement struct {
	*steering.Gaussian // of the statistics over the training images
	y                  []float64
	sigma              float64
}

// kl returns the divergence of the target of λ > 0 from the Gaussian, in nats.
func (m *measurement) kl(lambda float64) float64 { return m.MeasuredKL(m.y, m.sigma/math.Sqrt(lambda)) }

// measurement returns what the reward that was parsed measures, nil unless it is a single
// measurement.
func (k *rewardKinds) measurement(raw []byte) (*measurement, error) {
	var top struct{ Kind string }
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, err
	}
	m := new(measurement)
	var statistics [][]float64
	switch {
	case top.Kind == "block_average" && k.blocks != nil:
		m.y, m.sigma = k.blocks.Y, k.blocks.Sigma
		for x := range slices.Chunk(k.images.Float32(), k.images.Dim()) {
			y, err := k.blocks.Measure(x, k.images.Height, k.images.Width, k.images.Channels)
			if err != nil {
				return nil, err
			}
			statistics = append(statistics, y)
		}
	case top.Kind == "stroke_mass" && k.strokes != nil:
		m.y, m.sigma = []float64{k.strokes.Target}, k.strokes.Width
		for _, mass := range strokeMasses(k.images) {
			statistics = append(statistics, []float64{(mass - k.strokes.Mean) / k.strokes.Std})
		}
	default:
		return nil, nil
	}
	var err error
	m.Gaussian, err = steering.NewGaussian(statistics)
	return m, err
}
