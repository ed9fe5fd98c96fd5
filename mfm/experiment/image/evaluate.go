package image

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
)

// nearestImages is the number of samples and of held-out images that are compared with all training
// images.
const nearestImages = 200

// GenerationResult is the quality of unconditional samples, those of the posterior at t = 0, as a
// classifier of clean images evaluates them.
type GenerationResult struct {
	Steps           int       `json:"steps"` // NFE of a sample
	Samples         int       `json:"samples"`
	Confident       float64   `json:"confident"`         // share with a class above 0.9
	ConfidentSE     float64   `json:"confident_se"`      // its standard error
	Classes         []float64 `json:"classes"`           // histogram of the most likely class
	ClassesData     []float64 `json:"classes_data"`      // that of the training images, by label
	LargestGap      float64   `json:"largest_gap"`       // largest difference between the two
	LargestGapFloor float64   `json:"largest_gap_floor"` // its mean for exact samples
	// NearestSamples is the distance of a sample to the nearest training image, root mean square
	// per pixel: the median over the first 200 samples, or all of fewer, of an even number the
	// upper one ([metric.MedianNearest]). NearestHeldOut is the same for held-out images; memorized
	// samples are closer.
	NearestSamples float64 `json:"nearest_samples"`
	NearestHeldOut float64 `json:"nearest_held_out"`
}

// ClassResult compares the classes of posterior samples with p(class | x_t) at one time, for
// contexts x_t of held-out images.
type ClassResult struct {
	T              float64 `json:"t"`
	Contexts       int     `json:"contexts"`
	Samples        int     `json:"samples"`         // of each context
	TotalVariation float64 `json:"total_variation"` // mean over contexts
	StandardError  float64 `json:"standard_error"`  // of that mean
	Floor          float64 `json:"floor"`           // that of exact classes
	// TrainingSet is the mean for the exact posterior of the empirical distribution, by the labels
	// of the training images; 0 without labels.
	TrainingSet float64 `json:"training_set"`
	Std         float64 `json:"std"` // standard deviation of the samples per pixel, mean over contexts
}

// Generation evaluates n unconditional samples of the map by a classifier of clean images. The
// training images need labels.
func (e *Experiment) Generation(ctx context.Context, sampler *mfm.Sampler, evaluator *Classifier, heldOut *data.Images,
	n int, seed int64) (GenerationResult, error) {
	r := GenerationResult{Steps: sampler.NFE(), Samples: n}
	if err := evaluator.Config.CheckLabels(e.Data); err != nil {
		return r, fmt.Errorf("comparing samples with the classes of the training images: %w", err)
	}
	samples, err := mfm.Flat(sampler.Unconditional(ctx, seed, n, nil))
	if err != nil {
		return r, err
	}
	probabilities, err := evaluator.Probabilities(samples, 1)
	if err != nil {
		return r, err
	}
	confident := 0
	for _, p := range probabilities {
		if floats.Max(p) > 0.9 {
			confident++
		}
	}
	r.Confident = float64(confident) / float64(n)
	r.ConfidentSE = math.Sqrt(r.Confident * (1 - r.Confident) / float64(n))
	k := evaluator.Config.Network.Classes
	if r.Classes, err = metric.Histogram(stats.ArgMax(probabilities), k); err != nil {
		return r, err
	}
	counts, err := e.Data.ClassCounts(k)
	if err != nil {
		return r, err
	}
	for c, count := range counts {
		r.ClassesData = append(r.ClassesData, float64(count)/float64(e.Data.N))
		r.LargestGap = max(r.LargestGap, math.Abs(r.Classes[c]-r.ClassesData[c]))
	}
	r.LargestGapFloor = gapFloor(r.ClassesData, n, rand.New(rand.NewPCG(uint64(seed), 2)))
	if r.NearestSamples, err = e.nearest(ctx, samples); err != nil {
		return r, err
	}
	r.NearestHeldOut, err = e.nearest(ctx, heldOut.Float32())
	return r, err
}

// nearest returns the upper median distance of the first [nearestImages] images, flat, to the
// nearest training image ([metric.MedianNearest]).
func (e *Experiment) nearest(ctx context.Context, images []float32) (float64, error) {
	rows := func(flat []float32) [][]float32 { return slices.Collect(slices.Chunk(flat, e.Data.Dim())) }
	images = images[:min(len(images), nearestImages*e.Data.Dim())]
	_, upper, err := metric.MedianNearest(ctx, rows(e.Data.Float32()), rows(images))
	return upper, err
}

// gapFloor returns the mean over 1,000 histograms of n exact classes of the largest gap between
// histogram and probabilities.
func gapFloor(probabilities []float64, n int, rng *rand.Rand) float64 {
	const repeats = 1000
	mean := 0.0
	for range repeats {
		counts := make([]float64, len(probabilities))
		for range n {
			counts[stats.Categorical(rng, probabilities)]++
		}
		largest := 0.0
		for c, p := range probabilities {
			largest = max(largest, math.Abs(counts[c]/float64(n)-p))
		}
		mean += largest / repeats
	}
	return mean
}

// Classes compares the classes of posterior samples at time t, by a classifier of clean images,
// with p(class | x_t) by a classifier of noised images. There are n samples, at least two, for each
// of the given number of contexts, which [Experiment.Contexts] makes of held-out images.
func (e *Experiment) Classes(ctx context.Context, sampler *mfm.Sampler, evaluator, noised *Classifier,
	heldOut *data.Images, t float64, contexts, n int, seed int64) (ClassResult, error) {
	r := ClassResult{T: t, Contexts: contexts, Samples: n}
	if !noised.Config.Noised {
		return r, fmt.Errorf("comparing classes: the second classifier was not trained on noised images")
	}
	if _, linear := e.Map.Interpolant.(interpolant.Linear); !linear {
		return r, fmt.Errorf("comparing classes: the classifier was trained on the linear interpolant, the "+
			"map is of %q",
			e.Config.Interpolant)
	}
	if contexts < 1 || contexts > heldOut.N {
		return r, fmt.Errorf("comparing classes: contexts = %d: must lie in [1, %d], the number of held-out images",
			contexts, heldOut.N)
	}
	if e.Data.Labels != nil {
		if err := noised.Config.CheckLabels(e.Data); err != nil {
			return r, fmt.Errorf("comparing classes with those of the training images: %w", err)
		}
	}
	size, rng := e.Data.Dim(), rand.New(rand.NewPCG(uint64(seed), 1))
	x := e.Contexts(heldOut, t, contexts, rng)
	truth, err := noised.Probabilities(x, t)
	if err != nil {
		return r, err
	}
	samples, err := mfm.Flat(sampler.Posterior(ctx, seed, t, e.States(x), n, nil))
	if err != nil {
		return r, err
	}
	probabilities, err := evaluator.Probabilities(samples, 1)
	if err != nil {
		return r, err
	}
	points, err := e.Empirical()
	if err != nil {
		return r, err
	}
	rows := mfm.Rows(x, size)
	distances := make([]float64, contexts)
	for i := range contexts {
		if e.Data.Labels != nil {
			shares := make([]float64, len(truth[i]))
			for j, w := range points.PosteriorWeights(e.Map.Interpolant, t, rows[i]) {
				shares[e.Data.Labels[j]] += w
			}
			distance, err := metric.TotalVariation(shares, truth[i])
			if err != nil {
				return r, err
			}
			r.TrainingSet += distance / float64(contexts)
		}
		exact := make([]int, n)
		for j := range exact {
			exact[j] = stats.Categorical(rng, truth[i])
		}
		if distances[i], err = variation(stats.ArgMax(probabilities[i*n:(i+1)*n]), truth[i]); err != nil {
			return r, err
		}
		floor, err := variation(exact, truth[i])
		if err != nil {
			return r, err
		}
		r.Floor += floor / float64(contexts)
		deviation, err := metric.Std(mfm.Rows(samples[i*n*size:(i+1)*n*size], size))
		if err != nil {
			return r, err
		}
		r.Std += deviation / float64(contexts)
	}
	r.TotalVariation, r.StandardError = metric.MeanSE(distances)
	return r, nil
}

// Contexts returns x_t of n images at equal distances in the data set, flat.
func (e *Experiment) Contexts(images *data.Images, t float64, n int, rng *rand.Rand) []float32 {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	x := Spaced(images, n)
	for i, p := range x {
		x[i] = float32(alpha*rng.NormFloat64() + beta*float64(p))
	}
	return x
}

// Spaced returns n images at equal distances in the data set, flat.
func Spaced(images *data.Images, n int) []float32 {
	x, _ := spaced(images.Float32(), nil, images.Dim(), n)
	return x
}

// spaced returns n samples of a size at equal distances in a list, flat, and their labels, nil for
// none.
func spaced(all []float32, labels []int32, size, n int) (x []float32, of []int32) {
	count := len(all) / size
	for i := range n {
		k := i * count / n
		x = append(x, all[k*size:(k+1)*size]...)
		if labels != nil {
			of = append(of, labels[k])
		}
	}
	return x, of
}

// variation returns the total variation between the histogram of classes and p.
func variation(classes []int, p []float64) (float64, error) {
	q, err := metric.Histogram(classes, len(p))
	if err != nil {
		return 0, err
	}
	return metric.TotalVariation(q, p)
}
