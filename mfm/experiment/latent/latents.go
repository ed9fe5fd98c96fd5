package latent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
)

// Latents are the latents of N images and of their mirror images: Gaussians with diagonal
// covariance, normalized ([nn.Autoencoder.Normalize]), with moments rounded to float16.
type Latents struct {
	N, Height, Width, Channels int
	// Mean and Std are the means and standard deviations, [N, 2, Height, Width, Channels]: of an
	// image, then of its mirror image. They are nil until [Latents.Load] if a cache has them.
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
}

// Shape returns the shape of one latent, [height, width, channels].
func (l *Latents) Shape() []int { return []int{l.Height, l.Width, l.Channels} }

// Size returns the number of elements of one latent.
func (l *Latents) Size() int { return l.Height * l.Width * l.Channels }

// States returns latents, flat, as states of a sampler, float32 [n, shape].
func States(flat []float32, shape []int) *tensors.Tensor {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{len(flat) / size}, shape...)...)
}

// Means returns the means of the images without those of their mirror images, [N, height, width,
// channels].
func (l *Latents) Means() []float32 {
	var means []float32
	for i := range l.N {
		means = append(means, l.Mean[2*i*l.Size():(2*i+1)*l.Size()]...)
	}
	return means
}

// Hash returns a hash of the codec, the images and the places of bad files in the set. The latents
// themselves differ in rounding from one machine to another.
func (l *Latents) Hash() string {
	h := sha256.New()
	h.Write([]byte(l.Origin))
	for _, i := range l.places {
		fmt.Fprintf(h, "\n%d", i)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Load reads the moments and labels from the cache, unless they are in memory. A damaged row is an
// error that names the file.
func (l *Latents) Load() error {
	if l.Mean != nil {
		return nil
	}
	values := 2 * l.N * l.Size()
	loaded := Latents{Mean: make([]float32, 0, values), Std: make([]float32, 0, values)}
	err := l.rows().each(func(_ int, moments []float32, label int32) error {
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
func (l *Latents) add(moments []float32, label int32) {
	size := len(moments) / 4
	for k := range 2 {
		l.Mean = append(l.Mean, moments[2*k*size:(2*k+1)*size]...)
		l.Std = append(l.Std, moments[(2*k+1)*size:(2*k+2)*size]...)
	}
	l.Labels = append(l.Labels, label)
}

// leaveOut notes bad files.
func (l *Latents) leaveOut(bad []leftOut) {
	for _, b := range bad {
		l.Bad, l.places = append(l.Bad, b.BadFile), append(l.places, b.Index)
	}
}

// rows returns the rows of the cache.
func (l *Latents) rows() rows { return rows{l.file, l.N, l.Size()} }

// classCounts returns the numbers of images by label, nil without labels. A negative label is an
// error.
func (l *Latents) classCounts() ([]int, error) {
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

// Latents returns the latents of images. It returns an error if the images do not fit, or, between
// two calls of the compiled graph, if ctx has ended.
func (c *Codec) Latents(ctx context.Context, images *data.Images) (*Latents, error) {
	j, err := c.jobOf(images)
	if err != nil {
		return nil, err
	}
	return c.encodeAll(ctx, j)
}

// Cached returns the latents of images from the cache in dir, or [Codec.Latents], which it keeps
// there. An empty dir means no cache. A cache of other images in memory or of another codec is
// replaced, one of picture files is an error that wraps [ErrOtherLatents].
func (c *Codec) Cached(ctx context.Context, dir string, images *data.Images) (*Latents, error) {
	j, err := c.jobOf(images)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return c.encodeAll(ctx, j)
	}
	l, err := c.cached(ctx, dir, j)
	if err != nil {
		return nil, err
	}
	return l, l.Load()
}

// CachedFiles returns the latents of picture files from the cache in dir, which it writes first. An
// interrupted call, also by the end of the process, goes on with the first missing latent at the
// next one. The latents are not loaded ([Latents.Load]); the file with them stays open as long as they
// are in use. An empty dir means no cache: the latents are in memory. A cache of other files or of
// another codec is an error that wraps [ErrOtherLatents], and one that another process writes is an
// error that wraps [checkpoint.ErrLocked].
func (c *Codec) CachedFiles(ctx context.Context, dir string, f Files) (*Latents, error) {
	if err := c.checkSize(f.shape()); err != nil {
		return nil, err
	}
	hash, err := f.hash(ctx)
	if err != nil {
		return nil, err
	}
	j := job{source: f, labeled: f.Set.Classes() != nil, maxBad: f.MaxBad, sink: f.Sink}
	j.index = c.indexOf(j, c.Hash+ofFiles+hash)
	j.ClassNames = f.Set.Classes()
	if dir == "" {
		return c.encodeAll(ctx, j)
	}
	return c.cached(ctx, dir, j)
}

// jobOf returns the job of images in memory.
func (c *Codec) jobOf(images *data.Images) (job, error) {
	j := job{source: inMemory{images}, labeled: images.Labels != nil, replace: true}
	if err := c.CheckImages(images); err != nil {
		return j, err
	}
	j.index = c.indexOf(j, c.Hash+"/"+images.Hash())
	return j, nil
}

// indexOf returns the description of a cache without rows.
func (c *Codec) indexOf(s source, origin string) index {
	height, width, _ := s.shape()
	f := c.Factor()
	return index{Origin: origin, Shape: []int{height / f, width / f, c.LatentChannels()}, Bad: []leftOut{}}
}

// encodeAll encodes a job without a cache.
func (c *Codec) encodeAll(ctx context.Context, j job) (*Latents, error) {
	l := &Latents{Height: j.Shape[0], Width: j.Shape[1], Channels: j.Shape[2], Origin: j.Origin}
	values := 2 * j.len() * l.Size()
	l.Mean, l.Std = make([]float32, 0, values), make([]float32, 0, values)
	var bad []leftOut
	err := c.encode(ctx, j.source, 0, func(e encoded) error {
		if bad = append(bad, e.bad...); len(bad) > j.maxBad {
			return tooManyBad(len(bad), j.maxBad, bad[j.maxBad].BadFile)
		}
		e.each(l.add)
		return nil
	})
	if err == nil && len(l.Labels) == 0 {
		err = fmt.Errorf("encoding images: none of the %d files is a picture that can be read", j.len())
	}
	if err != nil {
		return nil, err
	}
	l.leaveOut(bad)
	if l.N = len(l.Labels); !j.labeled {
		l.Labels = nil
	}
	return l, nil
}
