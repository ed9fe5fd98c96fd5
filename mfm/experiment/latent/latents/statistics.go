package latents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/train"
)

// Statistics are moments of latents.
type Statistics struct {
	Shape    []int     // of a latent, [height, width, channels]
	Mean     []float32 // of each element over the images and, if they are data, their mirror images
	Variance float32   // of the elements about their means, with the noise
	Noise    []float32 // variance of the encoder's Gaussian per channel, positive, mean over the images
}

// minNoise is the smallest variance of the noise: a deterministic encoder has none.
const minNoise = 1e-6

// versions returns the number of latents of an image that are data: that of its mirror image counts
// if flip is set.
func versions(flip bool) int {
	if flip {
		return 2
	}
	return 1
}

func newStatistics(l *Set, flip bool) Statistics {
	size, each := l.Size(), versions(flip)
	n := each * l.N
	mean, noise, variance := make([]float64, size), make([]float64, l.Channels), 0.
	for i, v := range l.Mean {
		if i/size%2 < each {
			mean[i%size] += float64(v) / float64(n)
			noise[i%l.Channels] += float64(l.Std[i]) * float64(l.Std[i]) / float64(n*size/l.Channels)
		}
	}
	for i, v := range l.Mean {
		if i/size%2 < each {
			d := float64(v) - mean[i%size]
			variance += d * d / float64(n*size)
		}
	}
	return toStatistics(l.Shape(), mean, noise, variance)
}

// Statistics returns those of the latents, with those of mirror images if flip is set: of streamed
// ones those that the cache keeps, of others, which it loads, those of the moments in memory. A
// cache of an earlier version keeps none without mirror images: they take a pass over its rows,
// which ends with ctx, and are then kept if the folder can be written.
func (l *Set) Statistics(ctx context.Context, streamed, flip bool) (Statistics, error) {
	if !streamed {
		if err := l.Load(); err != nil {
			return Statistics{}, err
		}
		return newStatistics(l, flip), nil
	}
	if !flip && l.unflipped != nil {
		return *l.unflipped, nil
	}
	if !l.Cached() {
		return Statistics{}, errors.New("statistics of streamed latents: they are in memory, keep them in a folder")
	}
	dir := filepath.Dir(l.file.Name())
	s, err := ReadStatistics(filepath.Join(dir, momentsFileOf(flip)))
	computed := !flip && errors.Is(err, fs.ErrNotExist)
	if computed {
		var both [2]Statistics
		both, _, err = l.rows().statistics(ctx, l.Shape())
		s = both[0]
	}
	switch {
	case !inPlace(l.file): // afterwards, since the rows are replaced before the statistics
		err = fmt.Errorf("%s: another process has replaced the latents: use another folder", dir)
	case err == nil && !slices.Equal(s.Shape, l.Shape()):
		err = fmt.Errorf("%s: the statistics are of latents %v, not %v: remove the folder to encode the images again",
			dir, s.Shape, l.Shape())
	}
	if err != nil {
		return s, err
	}
	if computed {
		l.keep(s)
	}
	if !flip {
		l.unflipped = &s
	}
	return s, nil
}

// keep writes the statistics without mirror images to the cache, unless another process replaces it
// or it must not be written: then they are computed again.
func (l *Set) keep(s Statistics) {
	dir := filepath.Dir(l.file.Name())
	lock := newLock(dir)
	if locked, err := lock.TryLock(); err != nil || !locked {
		return
	}
	defer lock.Unlock()
	if inPlace(l.file) {
		_ = s.Write(filepath.Join(dir, momentsFileOf(false)))
	}
}

// sums are those of the moments of latents, over their number.
type sums struct {
	mean, noise []float64
	square      float64
	n           float64 // of latents
}

// add adds the means and standard deviations of a latent.
func (s *sums) add(means, stds []float32) {
	size, channels := float64(len(means)), len(s.noise)
	for j, v := range means {
		v, std := float64(v), float64(stds[j])
		s.mean[j] += v / s.n
		s.square += v * v / (s.n * size)
		s.noise[j%channels] += std * std / (s.n * float64(len(means)/channels))
	}
}

// statistics returns those of the rows of latents of a shape, without and with those of mirror
// images, and the numbers of rows by label, in one pass. It returns an error when ctx ends.
func (r rows) statistics(ctx context.Context, shape []int) (both [2]Statistics, counts []int, err error) {
	var all [2]sums
	for i := range all {
		all[i] = sums{
			mean: make([]float64, r.size), noise: make([]float64, shape[2]), n: float64((i + 1) * r.n),
		}
	}
	err = r.each(ctx, func(i int, moments []float32, label int32) error {
		if label < 0 || label > stream.MaxLabel {
			return fmt.Errorf("%s: row %d has label %d: use 0 to %d", r.f.Name(), i, label, stream.MaxLabel)
		}
		for int(label) >= len(counts) {
			counts = append(counts, 0)
		}
		counts[label]++
		for k := range 2 {
			means, stds := moments[2*k*r.size:(2*k+1)*r.size], moments[(2*k+1)*r.size:(2*k+2)*r.size]
			if k == 0 {
				all[0].add(means, stds)
			}
			all[1].add(means, stds)
		}
		return nil
	})
	for i, a := range all {
		for _, v := range a.mean {
			a.square -= v * v / float64(r.size)
		}
		both[i] = toStatistics(shape, a.mean, a.noise, a.square)
	}
	return both, counts, err
}

// toStatistics returns statistics from means, variances of the noise before the bound [minNoise],
// and the variance without the noise.
func toStatistics(shape []int, mean, noise []float64, variance float64) Statistics {
	s := Statistics{Shape: shape}
	for _, v := range mean {
		s.Mean = append(s.Mean, float32(v))
	}
	for _, v := range noise {
		v = max(v, minNoise)
		variance += v / float64(len(noise))
		s.Noise = append(s.Noise, float32(v))
	}
	s.Variance = float32(variance)
	return s
}

// Write writes the statistics to a file.
func (s Statistics) Write(path string) error {
	return checkpoint.WriteWeights(path, checkpoint.Tensors{
		"mean":     tensors.FromFlatDataAndDimensions(s.Mean, s.Shape...),
		"variance": tensors.FromFlatDataAndDimensions([]float32{s.Variance}, 1),
		"noise":    tensors.FromFlatDataAndDimensions(s.Noise, len(s.Noise)),
	}, nil)
}

// ReadStatistics reads the statistics in a file. Tensors that do not fit together are a
// [train.FitError], wrapped.
func ReadStatistics(path string) (s Statistics, err error) {
	s.Shape = []int{1, 1, 1}
	t, _, err := checkpoint.ReadFitting(path, func(t checkpoint.Tensors) error {
		if mean := t["mean"]; mean != nil && mean.Shape().Rank() == 3 {
			s.Shape = mean.Shape().Dimensions
		}
		want := make(map[string]shapes.Shape)
		for name, dims := range map[string][]int{"mean": s.Shape, "variance": {1}, "noise": s.Shape[2:]} {
			want[name] = shapes.Make(dtypes.Float32, dims...)
		}
		if err := train.Fit(t, want); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	var variance []float32
	for name, to := range map[string]*[]float32{"mean": &s.Mean, "variance": &variance, "noise": &s.Noise} {
		if *to, err = tensors.CopyFlatData[float32](t[name]); err != nil {
			return s, err
		}
	}
	for _, v := range append(variance, s.Noise...) {
		if !(v > 0) {
			return s, fmt.Errorf("%s: a variance is %g: must be positive", path, v)
		}
	}
	s.Variance = variance[0]
	return s, nil
}
