package latent

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/latents"
)

// source are images to encode.
type source interface {
	// len is their number, shape their height, width and channels.
	len() int
	shape() (height, width, channels int)
	// label is the class of an image, 0 without labels.
	label(i int) int32
	// levels returns the gray levels of images from to to-1, and the error of each one that is bad,
	// whose levels are 0; no errors mean that all are good.
	levels(ctx context.Context, from, to int) ([]byte, []*stream.BadFile, error)
}

// inMemory is a source of images in memory.
type inMemory struct{ *data.Images }

func (m inMemory) len() int { return m.N }

func (m inMemory) shape() (height, width, channels int) { return m.Height, m.Width, m.Channels }

func (m inMemory) label(i int) int32 {
	if m.Labels == nil {
		return 0
	}
	return m.Labels[i]
}

func (m inMemory) levels(_ context.Context, from, to int) ([]byte, []*stream.BadFile, error) {
	return m.Pixels[from*m.Dim() : to*m.Dim()], nil, nil
}

// chunk is the number of images of a call of a graph, if the codec has no tiles.
const chunk = 16

// encode encodes the images of a source from index first on. It calls emit with each chunk. Each
// image has a fixed place in its chunk, so that its latent is the same to the bit wherever encoding
// starts. Images are read while those before are encoded.
func (c *Codec) encode(ctx context.Context, s source, first int, emit func(latents.Chunk) error) error {
	ctx, stop := context.WithCancel(ctx)
	type part struct {
		from, to int
		levels   []byte
		bad      []*stream.BadFile
		err      error
	}
	parts, chunk := make(chan part), c.batch()
	defer func() {
		stop()
		for range parts {
		}
	}()
	go func() {
		defer close(parts)
		for from := first / chunk * chunk; from < s.len(); from += chunk {
			p := part{from: from, to: min(from+chunk, s.len())}
			p.levels, p.bad, p.err = s.levels(ctx, p.from, p.to)
			select {
			case parts <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	for p := range parts {
		if err := ctx.Err(); err != nil {
			break
		}
		if p.err != nil {
			return p.err
		}
		e, err := c.encodeChunk(s, p.levels, p.bad, p.from, max(p.from, first), p.to)
		if err == nil {
			err = emit(e)
		}
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("encoding images: %w", context.Cause(ctx))
	}
	return nil
}

// encodeChunk encodes the images of a chunk, which begins at index from, and returns those from
// first to to-1.
func (c *Codec) encodeChunk(s source, levels []byte, bad []*stream.BadFile, from, first, to int) (
	latents.Chunk, error) {
	e, chunk := latents.Chunk{End: to}, c.batch()
	height, width, channels := s.shape()
	padded := make([]byte, chunk*height*width*channels)
	copy(padded, levels)
	out, err := c.encoder.Call(tensors.FromFlatDataAndDimensions(padded, chunk, height, width, channels))
	if err != nil {
		return e, fmt.Errorf("encoding images: %w", err)
	}
	var flat [2][]float32 // means and standard deviations, of images and then of their mirror images
	for k := range flat {
		if flat[k], err = mfm.Flat(out[k], nil); err != nil {
			return e, fmt.Errorf("encoding images: %w", err)
		}
		out[k].MustFinalizeAll()
	}
	size := len(flat[0]) / (2 * chunk)
	e.Size = size
	for i := first; i < to; i++ {
		if bad != nil && bad[i-from] != nil {
			e.LeaveOut(i, bad[i-from])
			continue
		}
		var moments []float32
		for _, at := range []int{i - from, chunk + i - from} {
			moments = append(moments, flat[0][at*size:(at+1)*size]...)
			moments = append(moments, flat[1][at*size:(at+1)*size]...)
		}
		if err := e.Add(moments, s.label(i)); err != nil {
			return e, fmt.Errorf("encoding image %d: %w", i, err)
		}
	}
	return e, nil
}

// Latents returns the latents of images. It returns an error if the images do not fit, or, between
// two calls of the compiled graph, if ctx has ended.
func (c *Codec) Latents(ctx context.Context, images *data.Images) (*latents.Set, error) {
	return c.Cached(ctx, "", images)
}

// Cached returns the latents of images from the cache in dir, or [Codec.Latents], which it keeps
// there. An empty dir means no cache. A cache of other images in memory or of another codec is
// replaced, one of picture files is an error that wraps [latents.ErrOther].
func (c *Codec) Cached(ctx context.Context, dir string, images *data.Images) (*latents.Set, error) {
	if err := c.CheckImages(images); err != nil {
		return nil, err
	}
	j := c.job(inMemory{images})
	j.Content, j.Labeled = images.Hash(), images.Labels != nil
	if dir == "" {
		return j.InMemory(ctx)
	}
	l, err := j.Cached(ctx, dir)
	if err != nil {
		return nil, err
	}
	return l, l.Load()
}

// CachedFiles returns the latents of picture files from the cache in dir, which it writes first. An
// interrupted call, also by the end of the process, goes on with the first missing latent at the
// next one. The latents are not loaded ([latents.Set.Load]); the file with them stays open as long
// as they are in use. An empty dir means no cache: the latents are in memory. Errors are those of
// [latents.Job.Cached].
func (c *Codec) CachedFiles(ctx context.Context, dir string, f Files) (*latents.Set, error) {
	if err := c.checkSize(f.shape()); err != nil {
		return nil, err
	}
	hash, err := f.hash(ctx)
	if err != nil {
		return nil, err
	}
	j := c.job(f)
	j.Content, j.Files, j.ClassNames, j.Labeled = hash, true, f.Set.Classes(), f.Set.Classes() != nil
	j.MaxBad, j.Sink = f.MaxBad, f.Sink
	if dir == "" {
		return j.InMemory(ctx)
	}
	return j.Cached(ctx, dir)
}

// job returns the job of a source.
func (c *Codec) job(s source) latents.Job {
	height, width, _ := s.shape()
	f := c.Factor()
	return latents.Job{
		Codec: c.Hash, Shape: []int{height / f, width / f, c.LatentChannels()}, Images: s.len(),
		Encode: func(ctx context.Context, first int, emit func(latents.Chunk) error) error {
			return c.encode(ctx, s, first, emit)
		},
	}
}
