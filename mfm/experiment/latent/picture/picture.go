// Package picture compares sets of pictures, such as generated ones, with training pictures: in the
// features of an [Evaluator], a network that has seen neither autoencoder nor map, and in pixels. A
// [Reference] holds the training pictures.
package picture

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/metric"
)

// Result compares a set of pictures with the training pictures, in the features of an
// [Evaluator]. Compare it with that of held-out pictures, [Reference.Floor]. The Fréchet distance
// falls with the number of pictures: compare only sets of equal size.
type Result struct {
	Pictures int     `json:"pictures"`
	Frechet  float64 `json:"frechet"` // squared Fréchet distance, see [metric.Frechet]
	// Kernel is the kernel distance, which does not depend on the number of pictures and may be
	// negative, and KernelSE its standard error; see [metric.KernelStream].
	Kernel   float64 `json:"kernel"`
	KernelSE float64 `json:"kernel_se"`
	// Accuracy is the share of the pictures whose class the linear classifier names right; nil for
	// pictures without classes.
	Accuracy *float64 `json:"accuracy,omitempty"`
	// NearestFeatures and NearestPixels are the median distances of a picture or its mirror image
	// to the nearest training picture, the mean of both medians of an even number
	// ([metric.MedianNearest]): root mean square differences of features, and of pixels in [-1, 1].
	// Values far below those of held-out pictures show that pictures are copied.
	NearestFeatures float64 `json:"nearest_features"`
	NearestPixels   float64 `json:"nearest_pixels"`
}

// Reference is a set of training pictures to compare others with.
type Reference struct {
	// Floor is the result of held-out pictures. Its Accuracy is that of the linear classifier,
	// which was fitted to the training pictures.
	Floor Result

	classifier    *linearClassifier // nil if the training pictures have no labels
	evaluator     *Evaluator
	height, width int
	pixels        [][]float32 // [n][height·width·3]
	features      [][]float64
	moments       metric.Moments
}

// NewReference evaluates training and held-out pictures of three channels, and fits the classifier
// if they have labels. It keeps all training pictures and their features in memory: of a large set
// give some thousands. It returns an error unless there are at least four training and four
// held-out pictures of equal size.
func NewReference(ctx context.Context, e *Evaluator, train, heldOut *data.Images) (*Reference, error) {
	for _, m := range []*data.Images{train, heldOut} {
		if err := m.Validate(); err != nil {
			return nil, err
		}
		if m.Channels != 3 || m.Height != train.Height || m.Width != train.Width {
			return nil, fmt.Errorf("pictures of shape [%d, %d, %d] beside [%d, %d, 3]: want equal sizes, three channels",
				m.Height, m.Width, m.Channels, train.Height, train.Width)
		}
	}
	r := &Reference{evaluator: e, height: train.Height, width: train.Width,
		pixels: slices.Collect(slices.Chunk(train.Float32(), train.Dim()))}
	var err error
	if r.features, err = e.FeaturesOf(ctx, train.Float32(), r.height, r.width); err != nil {
		return nil, err
	}
	if r.moments, err = metric.NewMoments(r.features, nil); err != nil {
		return nil, fmt.Errorf("training pictures: %w", err)
	}
	if train.Labels != nil {
		if r.classifier, err = fitLinear(r.features, train.Labels, train.Classes()); err != nil {
			return nil, err
		}
	}
	if r.Floor, err = r.Compare(ctx, heldOut.Float32(), heldOut.Labels); err != nil {
		return nil, fmt.Errorf("held-out pictures: %w", err)
	}
	return r, nil
}

// Compare compares pictures [n, height, width, 3], flat, in [-1, 1], with the training pictures.
// Their size is that of the training pictures, n is at least 4. classes, [n], are those for which
// the pictures were sampled, or nil.
func (r *Reference) Compare(ctx context.Context, pixels []float32, classes []int32) (Result, error) {
	features, err := r.evaluator.FeaturesOf(ctx, pixels, r.height, r.width)
	if err != nil {
		return Result{}, err
	}
	if classes != nil && len(classes) != len(features) {
		return Result{}, fmt.Errorf("%d pictures with %d classes", len(features), len(classes))
	}
	result := Result{Pictures: len(features)}
	moments, err := metric.NewMoments(features, nil)
	if err != nil {
		return result, err
	}
	if result.Frechet, err = metric.Frechet(moments, r.moments); err != nil {
		return result, err
	}
	if result.Kernel, result.KernelSE, err = metric.KernelOfBatches(features, r.features); err != nil {
		return result, err
	}
	if classes != nil && r.classifier != nil {
		right := 0.
		for i, class := range r.classifier.predict(features) {
			if class == classes[i] {
				right++
			}
		}
		right /= float64(len(classes))
		result.Accuracy = &right
	}
	mirrored := mirror(pixels, r.width)
	mirroredFeatures, err := r.evaluator.FeaturesOf(ctx, mirrored, r.height, r.width)
	if err != nil {
		return result, err
	}
	rows := func(flat []float32) [][]float32 { return slices.Collect(slices.Chunk(flat, r.height*r.width*3)) }
	lower, upper, err := metric.MedianNearest(ctx, r.pixels, rows(pixels), rows(mirrored))
	if err != nil {
		return result, err
	}
	result.NearestPixels = (lower + upper) / 2
	lower, upper, err = metric.MedianNearest(ctx, r.features, features, mirroredFeatures)
	result.NearestFeatures = (lower + upper) / 2
	return result, err
}

// mirror returns pictures of three channels mirrored left to right.
func mirror(pixels []float32, width int) []float32 {
	to := make([]float32, len(pixels))
	for row := 0; row < len(pixels); row += 3 * width {
		for x := range width {
			copy(to[row+3*x:row+3*x+3], pixels[row+3*(width-1-x):])
		}
	}
	return to
}
