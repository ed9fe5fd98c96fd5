package latent

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm"
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

// leftOut is a bad file.
type leftOut struct {
	Index int `json:"index"` // of the file in the set
	*stream.BadFile
}

// encoded are the rows of consecutive images, see [appendRow], in their order.
type encoded struct {
	rows []byte
	bad  []leftOut // images without a row
	end  int       // index of the image after the last one
	size int       // of a latent in elements
}

// each calls do with the moments, [2, 2, size], and the label of each row.
func (e encoded) each(do func(moments []float32, label int32)) {
	m, bytes := make([]float32, 4*e.size), int(rowBytes(e.size))
	for at := 0; at < len(e.rows); at += bytes {
		row := e.rows[at : at+bytes]
		moments(m, row, 0)
		do(m, labelOf(row))
	}
}

// chunk is the number of images of a call of a graph, if the codec has no tiles.
const chunk = 16

// encode encodes the images of a source from index first on. It calls emit with each chunk. Each
// image has a fixed place in its chunk, so that its latent is the same to the bit wherever encoding
// starts. Images are read while those before are encoded.
func (c *Codec) encode(ctx context.Context, s source, first int, emit func(encoded) error) error {
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
func (c *Codec) encodeChunk(s source, levels []byte, bad []*stream.BadFile, from, first, to int) (encoded, error) {
	e, chunk := encoded{end: to}, c.batch()
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
	e.size = size
	for i := first; i < to; i++ {
		if bad != nil && bad[i-from] != nil {
			e.bad = append(e.bad, leftOut{i, bad[i-from]})
			continue
		}
		var moments []float32
		for _, at := range []int{i - from, chunk + i - from} {
			moments = append(moments, flat[0][at*size:(at+1)*size]...)
			moments = append(moments, flat[1][at*size:(at+1)*size]...)
		}
		if e.rows, err = appendRow(e.rows, moments, s.label(i)); err != nil {
			return e, fmt.Errorf("encoding image %d: %w", i, err)
		}
	}
	return e, nil
}
