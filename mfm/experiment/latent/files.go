package latent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/progress"
)

// Files are picture files, which are read when they are needed.
type Files struct {
	Set *stream.Set
	// Height and Width are the size in pixels to which pictures are cropped and resized.
	Height, Width int
	// Workers is the number of pictures that are decoded at the same time. 0 means one for each
	// CPU.
	Workers int
	// MaxBad is the number of bad files, see [stream.BadFile], that are left out; one more is an
	// error.
	MaxBad int
	// OnBad is called with each bad file that [TrainAutoencoderFiles] met, when it ends. Nil means
	// no callback.
	OnBad func(*stream.BadFile)
	// Sink shows the progress of encoding. Nil means no progress bar.
	Sink progress.Sink
}

func (f Files) len() int { return f.Set.Len() }

func (f Files) shape() (height, width, channels int) { return f.Height, f.Width, 3 }

func (f Files) label(i int) int32 { return f.Set.Class(i) }

func (f Files) levels(ctx context.Context, from, to int) ([]byte, []*stream.BadFile, error) {
	return f.Set.Levels(ctx, from, to, f.Height, f.Width, f.Workers)
}

// random returns n random files, always the same, in the order of the set, or all of fewer.
func (f Files) random(n int) Files {
	f.Set = f.Set.Subset(someOf(f.len(), n))
	return f
}

// someOf returns n of the numbers below of, random and always the same, sorted, or all if of is
// smaller. Sets are sorted by class, so that the first pictures are not like the others.
func someOf(of, n int) []int {
	some := rand.New(rand.NewPCG(0, 0)).Perm(of)
	some = some[:min(n, of)]
	slices.Sort(some)
	return some
}

// hash identifies the files and the size of the pictures.
func (f Files) hash(ctx context.Context) (string, error) {
	hash, err := f.Set.Hash(ctx)
	return fmt.Sprintf("%s-%dx%d", hash, f.Height, f.Width), err
}

// Pictures are images in memory or, if Images is nil, picture files.
type Pictures struct {
	Images *data.Images
	Files
}

// Load returns pictures to train on and held-out pictures: those at a location, or [data.Emoji] if
// it is empty. Picture files are not read yet ([data.OpenPictures]), and need a size; other forms
// are loaded ([data.Load]).
func Load(l data.Location) (train, heldOut Pictures, err error) {
	if l == (data.Location{}) {
		train.Images, heldOut.Images, err = data.Emoji()
		return train, heldOut, err
	}
	f := Files{Height: l.Height, Width: l.Width, MaxBad: l.Skip}
	train.Files, heldOut.Files = f, f
	if train.Set, heldOut.Set, err = data.OpenPictures(l); err != nil {
		return train, heldOut, err
	}
	if train.Set == nil {
		train.Images, heldOut.Images, err = data.Load(l)
	} else if l.Height == 0 {
		err = fmt.Errorf("%w: %s: the size is missing to which picture files are cropped and resized: give one, "+
			"such as 256x256", data.ErrSize, l.Path)
	}
	return train, heldOut, err
}

// LoadImages returns the training and held-out images at a location ([data.Load]). Those of picture
// files have three channels, also gray ones, as [Files] have, so that an autoencoder is trained on
// what a map takes.
func LoadImages(l data.Location) (train, heldOut *data.Images, err error) {
	set, _, err := data.OpenPictures(l)
	if err != nil {
		return nil, nil, err
	}
	if train, heldOut, err = data.Load(l); err != nil || set == nil {
		return train, heldOut, err
	}
	for _, m := range []*data.Images{train, heldOut} {
		if m.Channels != 1 {
			continue
		}
		pixels := make([]byte, 0, 3*len(m.Pixels))
		for _, v := range m.Pixels {
			pixels = append(pixels, v, v, v)
		}
		m.Channels, m.Pixels = 3, pixels
	}
	return train, heldOut, nil
}

// Len returns the number of pictures, including bad files.
func (p Pictures) Len() int {
	if p.Images != nil {
		return p.Images.N
	}
	return p.Set.Len()
}

// ClassNames returns the names of the classes, which are their numbers for images in memory, or nil
// without labels.
func (p Pictures) ClassNames() []string {
	if p.Images == nil {
		return p.Set.Classes()
	}
	var names []string
	for class := range p.Images.Classes() {
		names = append(names, strconv.Itoa(class))
	}
	return names
}

// Hash returns a hash of the images, or of picture files ([stream.Set.Hash]) and their size.
func (p Pictures) Hash(ctx context.Context) (string, error) {
	if p.Images != nil {
		return p.Images.Hash(), nil
	}
	return p.hash(ctx)
}

// Random returns n random pictures, always the same, or all of fewer, as [Pictures.Slice] does.
func (p Pictures) Random(ctx context.Context, n int) (*data.Images, error) {
	if p.Images != nil {
		return p.Images.Subset(someOf(p.Images.N, n))
	}
	p.Files = p.Files.random(n)
	return p.Slice(ctx, 0, p.Len())
}

// Slice returns pictures from to to-1 without the bad files, of which one more than MaxBad is an
// error. It fails unless 0 <= from < to <= Len.
func (p Pictures) Slice(ctx context.Context, from, to int) (*data.Images, error) {
	if p.Images != nil {
		return p.Images.Slice(from, to)
	}
	if n := p.Len(); from < 0 || from >= to || to > n {
		return nil, fmt.Errorf("pictures %d to %d of %d: choose others", from, to-1, n)
	}
	levels, bad, err := p.levels(ctx, from, to)
	if err != nil {
		return nil, err
	}
	m := &data.Images{Height: p.Height, Width: p.Width, Channels: 3}
	for i, b := range bad {
		if b != nil {
			if m.Bad = append(m.Bad, b); len(m.Bad) > p.MaxBad {
				return nil, fmt.Errorf("%d bad files, %d are allowed: %w", len(m.Bad), p.MaxBad, b)
			}
			continue
		}
		m.N++
		m.Pixels = append(m.Pixels, levels[i*m.Dim():(i+1)*m.Dim()]...)
		if p.Set.Classes() != nil {
			m.Labels = append(m.Labels, p.Set.Class(from+i))
		}
	}
	return m, m.Validate()
}
