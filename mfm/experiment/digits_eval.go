package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// nearestImages is how many samples and held-out images are compared with every training image.
const nearestImages = 200

// GenerationRow is the quality of unconditional samples, the posterior at t = 0, in the eyes of a classifier. The distances to training images are medians over the first 200
// samples and held-out images, or all where there are fewer.
type GenerationRow struct {
	Steps           int       `json:"steps"`             // of the flow map a sample; NFE
	Samples         int       `json:"samples"`           //
	Confident       float64   `json:"confident"`         // share of samples with a class of probability above 0.9
	ConfidentSE     float64   `json:"confident_se"`      // its standard error
	Classes         []float64 `json:"classes"`           // histogram of the likeliest class
	ClassesData     []float64 `json:"classes_data"`      // the same of the training data, by label
	LargestGap      float64   `json:"largest_gap"`       // largest difference between the two
	LargestGapFloor float64   `json:"largest_gap_floor"` // the same for as many exact draws of classes, in the mean
	NearestSamples  float64   `json:"nearest_samples"`   // median distance of a sample to its nearest training image, root mean square per pixel
	NearestHeldOut  float64   `json:"nearest_held_out"`  // the same of held-out images: memorised samples would lie closer
}

// ClassRow compares the classes of posterior samples with p(class | x_t), for contexts made from held-out images at one time.
type ClassRow struct {
	T              float64 `json:"t"`
	Contexts       int     `json:"contexts"`
	Samples        int     `json:"samples"`         // a context
	TotalVariation float64 `json:"total_variation"` // mean over contexts
	StandardError  float64 `json:"standard_error"`  // of that mean
	Floor          float64 `json:"floor"`           // the same when classes are drawn from p(class | x_t) itself
	TrainingSet    float64 `json:"training_set"`    // the same of the exact posterior of the training images as points, by their labels; 0 where they have none
	Spread         float64 `json:"spread"`          // root mean square deviation of the samples, per pixel, mean over contexts
}

// Generation judges n samples drawn with sampler from the map, by a classifier of clean images.
func (e *Digits) Generation(ctx context.Context, sampler *mfm.Sampler, judge *Classifier, heldOut *data.Images, n int, seed int64) (GenerationRow, error) {
	row := GenerationRow{Steps: sampler.NFE(), Samples: n}
	if err := judge.Config.CheckLabels(e.Data); err != nil {
		return row, fmt.Errorf("judging samples by the training images' classes: %w", err)
	}
	samples, err := sampler.Unconditional(ctx, seed, n, nil)
	if err != nil {
		return row, err
	}
	probabilities, err := judge.Probabilities(samples, 1)
	if err != nil {
		return row, err
	}
	classes, confident := make([]int, n), 0
	for i, p := range probabilities {
		classes[i] = argmax(p)
		if p[classes[i]] > 0.9 {
			confident++
		}
	}
	row.Confident = float64(confident) / float64(n)
	row.ConfidentSE = math.Sqrt(row.Confident * (1 - row.Confident) / float64(n))
	k := judge.Config.Network.Classes
	if row.Classes, err = metric.Histogram(classes, k); err != nil {
		return row, err
	}
	counts, err := e.Data.ClassCounts(k)
	if err != nil {
		return row, err
	}
	for c, count := range counts {
		row.ClassesData = append(row.ClassesData, float64(count)/float64(e.Data.N))
		row.LargestGap = max(row.LargestGap, math.Abs(row.Classes[c]-row.ClassesData[c]))
	}
	row.LargestGapFloor = gapFloor(row.ClassesData, n, rand.New(rand.NewPCG(uint64(seed), 2)))
	train, size := e.Data.Float32(), e.Data.Dim()
	row.NearestSamples = medianNearest(samples[:min(n, nearestImages)*size], train, size)
	held := heldOut.Float32()
	row.NearestHeldOut = medianNearest(held[:min(heldOut.N, nearestImages)*size], train, size)
	return row, nil
}

// gapFloor returns the mean over a thousand sets of n exact draws from a law of their histogram's largest gap from it.
func gapFloor(law []float64, n int, rng *rand.Rand) float64 {
	const sets = 1000
	mean := 0.0
	for range sets {
		counts := make([]float64, len(law))
		for range n {
			counts[draw(rng, law)]++
		}
		largest := 0.0
		for c, share := range law {
			largest = max(largest, math.Abs(counts[c]/float64(n)-share))
		}
		mean += largest / sets
	}
	return mean
}

// Classes compares, at time t, the classes of n posterior samples, at least two, for each of the given number of held-out images with what the noised classifier says.
func (e *Digits) Classes(ctx context.Context, sampler *mfm.Sampler, judge, noised *Classifier, heldOut *data.Images, t float64, contexts, n int, seed int64) (ClassRow, error) {
	row := ClassRow{T: t, Contexts: contexts, Samples: n}
	if !noised.Config.Noised {
		return row, fmt.Errorf("comparing classes: the second classifier was not trained on noised images")
	}
	if contexts < 1 || contexts > heldOut.N {
		return row, fmt.Errorf("comparing classes: contexts = %d: must lie in [1, %d], the number of held-out images", contexts, heldOut.N)
	}
	if e.Data.Labels != nil {
		if err := noised.Config.CheckLabels(e.Data); err != nil {
			return row, fmt.Errorf("comparing classes with those of the training images: %w", err)
		}
	}
	size, rng := e.Data.Dim(), rand.New(rand.NewPCG(uint64(seed), 1))
	x := e.Contexts(heldOut, t, contexts, rng)
	truth, err := noised.Probabilities(x, t)
	if err != nil {
		return row, err
	}
	samples, err := sampler.Posterior(ctx, seed, t, x, n, nil)
	if err != nil {
		return row, err
	}
	probabilities, err := judge.Probabilities(samples, 1)
	if err != nil {
		return row, err
	}
	points, err := e.Empirical()
	if err != nil {
		return row, err
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
				return row, err
			}
			row.TrainingSet += distance / float64(contexts)
		}
		classes, drawn := make([]int, n), make([]int, n)
		for j := range n {
			classes[j] = argmax(probabilities[i*n+j])
			drawn[j] = draw(rng, truth[i])
		}
		if distances[i], err = variation(classes, truth[i]); err != nil {
			return row, err
		}
		floor, err := variation(drawn, truth[i])
		if err != nil {
			return row, err
		}
		row.Floor += floor / float64(contexts)
		spread, err := metric.Spread(mfm.Rows(samples[i*n*size:(i+1)*n*size], size))
		if err != nil {
			return row, err
		}
		row.Spread += spread / float64(contexts)
	}
	row.TotalVariation, row.StandardError = meanSE(distances)
	return row, nil
}

// Contexts returns x_t for the first n images, drawn at equal distances through them, flat.
func (e *Digits) Contexts(images *data.Images, t float64, n int, rng *rand.Rand) []float32 {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	x := spaced(images, n)
	for i, p := range x {
		x[i] = float32(alpha*rng.NormFloat64() + beta*float64(p))
	}
	return x
}

// spaced returns n images, drawn at equal distances through them, flat.
func spaced(images *data.Images, n int) []float32 {
	size, pixels := images.Dim(), images.Float32()
	x := make([]float32, 0, n*size)
	for i := range n {
		from := i * images.N / n * size
		x = append(x, pixels[from:from+size]...)
	}
	return x
}

func variation(classes []int, p []float64) (float64, error) {
	q, err := metric.Histogram(classes, len(p))
	if err != nil {
		return 0, err
	}
	return metric.TotalVariation(q, p)
}

func draw(rng *rand.Rand, p []float64) int {
	u := rng.Float64()
	for c, v := range p {
		if u -= v; u < 0 {
			return c
		}
	}
	return argmax(p)
}

func meanSE(v []float64) (mean, se float64) {
	n := float64(len(v))
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		se += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(se / max(n*(n-1), 1))
}
