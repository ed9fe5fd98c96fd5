package stream

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"sync"

	"github.com/gomfm/gomfm/data/imagefile"
)

// Config describes the batches of a [Loader].
type Config struct {
	// Height and Width are the size in pixels to which pictures are cropped and resized, see
	// [imagefile.CenterCrop].
	Height, Width int
	// Batch is the number of pictures in a batch.
	Batch int
	// Seed determines the order of each epoch and the flips.
	Seed uint64
	// Flip mirrors half of the pictures, at random in each epoch, left to right.
	Flip bool
	// Workers is the number of pictures that are decoded at the same time. 0 means one for each
	// CPU. It does not change the batches.
	Workers int
	// MaxBad is the number of bad files, see [BadFile], that a loader leaves out; one more is an
	// error.
	MaxBad int
}

// Validate returns an error if a number is out of range.
func (c Config) Validate() error {
	for _, f := range []struct {
		name             string
		value, min, most int
	}{
		{"height", c.Height, 1, imagefile.MaxSide}, {"width", c.Width, 1, imagefile.MaxSide},
		{"batch", c.Batch, 1, 1 << 20}, {"workers", c.Workers, 0, 1 << 10}, {"max_bad", c.MaxBad, 0, 1 << 30},
	} {
		if f.value < f.min || f.value > f.most {
			return fmt.Errorf("data: %s = %d: use %d to %d", f.name, f.value, f.min, f.most)
		}
	}
	if values := c.Batch * c.Height * c.Width * 3; values > math.MaxInt32 {
		return fmt.Errorf("data: batch = %d of %dx%d pixels: use fewer or smaller pictures, at most %d values",
			c.Batch, c.Height, c.Width, math.MaxInt32)
	}
	return nil
}

// Loader makes batches of the pictures of a set. In each epoch every picture occurs once, in a new
// random order; the next epoch follows without a gap, also within a batch. Instead of a bad file
// the next good one of the order is used.
//
// A batch is a function of the set, the configuration without its workers, and the step: training
// can resume at any step. The count of bad files then starts again. Memory for the decoded pictures
// is that of one for each worker and of the batch. The methods may be called at the same time.
type Loader struct {
	set    *Set
	config Config
	levels [256]float32 // of a byte, in [-1, 1]

	mu    sync.Mutex
	order *Order
	bad   []*BadFile
	isBad map[int]bool
}

// Batch is a batch of pictures.
type Batch struct {
	// Pixels are x/127.5 - 1 of the gray levels x, [batch, height, width, 3], in [-1, 1].
	Pixels []float32
	// Labels are the numbers of the classes, [batch], or nil without labels.
	Labels []int32
}

// NewLoader returns a loader of the pictures of a set. It returns an error for a configuration that
// is not valid.
func NewLoader(s *Set, config Config) (*Loader, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	l := &Loader{set: s, config: config, order: NewOrder(s.Len(), config.Seed), isBad: make(map[int]bool)}
	for i := range l.levels {
		l.levels[i] = float32(float64(i)/127.5 - 1)
	}
	return l, nil
}

// Config returns the configuration.
func (l *Loader) Config() Config { return l.config }

// Bad returns the bad files that were met so far, in an order that depends on the batches alone.
func (l *Loader) Bad() []*BadFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bad)
}

// Batch returns the batch of a step, which counts from 1. It returns an error if more than MaxBad
// files were bad so far, if a file cannot be read for another reason, or when ctx ends.
func (l *Loader) Batch(ctx context.Context, step int64) (Batch, error) {
	if step < 1 {
		return Batch{}, fmt.Errorf("data: batch of step %d: steps count from 1", step)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.config
	at := l.order.batch(step, c.Batch)
	size := c.Height * c.Width * 3
	b := Batch{Pixels: make([]float32, c.Batch*size)}
	if l.set.classes != nil {
		b.Labels = make([]int32, c.Batch)
	}
	found := make([][]badAt, c.Batch)
	err := parallel(ctx, c.Batch, c.Workers, func(i int) error {
		e := at[i].epoch
		index, img, bad, err := l.next(e, at[i].position)
		found[i] = bad
		if err != nil || img == nil {
			return err
		}
		l.fill(b.Pixels[i*size:][:size], imagefile.CenterCrop(img, c.Height, c.Width), c.Flip && e.flip[index])
		if b.Labels != nil {
			b.Labels[i] = l.set.files[index].class
		}
		return nil
	})
	if err != nil {
		return Batch{}, err
	}
	for _, bad := range slices.Concat(found...) {
		if !l.isBad[bad.index] { // two samples may meet one bad file
			l.isBad[bad.index] = true
			l.bad = append(l.bad, bad.file)
		}
	}
	if bad := len(l.bad); bad > c.MaxBad {
		return Batch{}, fmt.Errorf("data: %d bad files, %d are allowed: %w", bad, c.MaxBad, l.bad[bad-1])
	}
	return b, nil
}

// badAt is a bad file and its index in the set.
type badAt struct {
	index int
	file  *BadFile
}

// next returns the first picture that is good at a position of an epoch or after it, its index, and
// the bad files before it, without those of earlier batches. The picture is nil if they are more
// than the limit allows.
func (l *Loader) next(e *epoch, position int) (index int, img *image.RGBA, bad []badAt, err error) {
	for i := range e.order {
		index = e.order[(position+i)%len(e.order)]
		if l.isBad[index] {
			continue
		}
		img, err = l.set.Picture(index)
		file, ok := errors.AsType[*BadFile](err)
		if !ok {
			return index, img, bad, err
		}
		bad = append(bad, badAt{index, file})
		if len(l.bad)+len(bad) > l.config.MaxBad {
			return index, nil, bad, nil
		}
	}
	return 0, nil, bad, fmt.Errorf("data: none of the %d files is a picture that can be read", len(e.order))
}

// fill writes the pixels of a picture.
func (l *Loader) fill(to []float32, img *image.RGBA, flip bool) {
	width := l.config.Width
	for y := range l.config.Height {
		for x := range width {
			from := x
			if flip {
				from = width - 1 - x
			}
			p, at := img.Pix[y*img.Stride+4*from:][:3], to[3*(y*width+x):][:3]
			at[0], at[1], at[2] = l.levels[p[0]], l.levels[p[1]], l.levels[p[2]]
		}
	}
}
