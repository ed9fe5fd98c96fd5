// Package latents holds the latents of images, in memory or in a cache on disk: a [Set], which a
// [Job] makes.
//
// A cache is a folder. Its rows, one for each image, have checksums, so that a job which was
// stopped anywhere goes on at the first missing or damaged row, and several processes may read it.
package latents

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/gomfm/gomfm/data/stream"
)

// Set has the latents of N images and of their mirror images: Gaussians with diagonal
// covariance, normalized ([nn.Autoencoder.Normalize]), with moments rounded to float16.
type Set struct {
	N, Height, Width, Channels int
	// Mean and Std are the means and standard deviations, [N, 2, Height, Width, Channels]: of an
	// image, then of its mirror image. They are nil until [Set.Load] if a cache has them.
	Mean, Std []float32
	Labels    []int32 // of the images, [N], or nil; in a cache like Mean
	// Origin identifies the codec and the images: the content of images in memory, or what
	// [stream.Set.Hash] has of picture files and their size.
	Origin string
	// Bad are the picture files that were left out.
	Bad []*stream.BadFile

	places []int    // of the bad files in the set
	file   *os.File // the cache's rows, or nil
	counts []int    // numbers of images by label, of a cache with labels

	unflipped *Statistics // of the rows of a cache without mirror images, once they are known
}

// Shape returns the shape of one latent, [height, width, channels].
func (l *Set) Shape() []int { return []int{l.Height, l.Width, l.Channels} }

// Size returns the number of elements of one latent.
func (l *Set) Size() int { return l.Height * l.Width * l.Channels }

// Means returns the means of the images without those of their mirror images, [N, height, width,
// channels].
func (l *Set) Means() []float32 {
	var means []float32
	for i := range l.N {
		means = append(means, l.Mean[2*i*l.Size():(2*i+1)*l.Size()]...)
	}
	return means
}

// Hash returns a hash of the codec, the images and the places of bad files in the set. The latents
// themselves differ in rounding from one machine to another.
func (l *Set) Hash() string {
	h := sha256.New()
	h.Write([]byte(l.Origin))
	for _, i := range l.places {
		fmt.Fprintf(h, "\n%d", i)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Load reads the moments and labels from the cache, unless they are in memory. A damaged row is an
// error that names the file.
func (l *Set) Load() error {
	if l.Mean != nil {
		return nil
	}
	values := 2 * l.N * l.Size()
	loaded := Set{Mean: make([]float32, 0, values), Std: make([]float32, 0, values)}
	err := l.rows().each(context.Background(), func(_ int, moments []float32, label int32) error {
		loaded.add(moments, label)
		return nil
	})
	if err != nil {
		return err
	}
	l.Mean, l.Std = loaded.Mean, loaded.Std
	if l.counts != nil {
		l.Labels = loaded.Labels
	}
	return nil
}

// add appends the moments [2, 2, size] and the label of a row.
func (l *Set) add(moments []float32, label int32) {
	size := len(moments) / 4
	for k := range 2 {
		l.Mean = append(l.Mean, moments[2*k*size:(2*k+1)*size]...)
		l.Std = append(l.Std, moments[(2*k+1)*size:(2*k+2)*size]...)
	}
	l.Labels = append(l.Labels, label)
}

// leaveOut notes bad files.
func (l *Set) leaveOut(bad []leftOut) {
	for _, b := range bad {
		l.Bad, l.places = append(l.Bad, b.BadFile), append(l.places, b.Index)
	}
}

// rows returns the rows of the cache.
func (l *Set) rows() rows { return rows{l.file, l.N, l.Size()} }

// Cached reports whether a cache on disk has the latents.
func (l *Set) Cached() bool { return l.file != nil }

// ClassCounts returns the numbers of images by label, nil without labels. A negative label is an
// error.
func (l *Set) ClassCounts() ([]int, error) {
	if l.Labels == nil {
		return l.counts, nil
	}
	var counts []int
	for i, label := range l.Labels {
		if label < 0 || label > stream.MaxLabel {
			return nil, fmt.Errorf("label %d of %d is %d: use 0 to %d", i, l.N, label, stream.MaxLabel)
		}
		for int(label) >= len(counts) {
			counts = append(counts, 0)
		}
		counts[label]++
	}
	return counts, nil
}

// Batch returns the moments of images of a cache, flat [n, 2, height, width, channels], the mean
// and then the standard deviation, of the images with the given indices, or of their mirror images
// where mirrored is set, and their labels. It reads as many rows at the same time as there are
// workers, 0 meaning two for each CPU. A damaged row is an error that names the file.
func (l *Set) Batch(ctx context.Context, indices []int, mirrored []bool, workers int) (values []float32, labels []int32,
	err error) {
	if workers == 0 {
		workers = 2 * runtime.GOMAXPROCS(0)
	}
	r, n := l.rows(), len(indices)
	size := 2 * r.size // of an image's moments
	values, labels = make([]float32, n*size), make([]int32, n)
	errs := make([]error, n)
	var wait sync.WaitGroup
	for w := range min(workers, n) {
		wait.Go(func() {
			row := make([]byte, rowBytes(r.size))
			for i := w; i < n && ctx.Err() == nil; i += workers {
				if errs[i] = r.read(indices[i], row); errs[i] != nil {
					return
				}
				from := 0
				if mirrored[i] {
					from = size
				}
				moments(values[i*size:(i+1)*size], row, from)
				labels[i] = labelOf(row)
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return values, labels, cmp.Or(errs...)
}
