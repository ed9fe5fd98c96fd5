package distance

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/internal/npy"
)

// Pictures are 8-bit pictures of one size, which are read when they are needed. It must not be used
// by several goroutines at once.
type Pictures struct {
	N, Height, Width int

	set *stream.Set // of picture files, or nil

	path, name string     // of an array
	channels   int        // of the array, 1 or 3
	array      *npy.Array // at picture at, or nil
	at         int
}

// PictureError is the error of a picture that cannot be used: damaged, or of another size than the
// first.
type PictureError struct{ error }

func (e PictureError) Unwrap() error { return e.error }

// maxPicture bounds the height and width of pictures in an array.
const maxPicture = 1 << 14

// OpenPictures opens the pictures of [stream.Open], such as a folder of PNGs, or an array of uint8
// [n, height, width, 3], or of gray levels, in a file of numpy.savez or numpy.save; name chooses an
// array of several, empty means the first, which ADM calls "arr_0". The first picture determines
// the size. An error names the file.
func OpenPictures(path, name string) (*Pictures, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if ext := filepath.Ext(path); !info.IsDir() && (ext == ".npz" || ext == ".npy") {
		return openArray(path, name)
	}
	p := &Pictures{path: path}
	if p.set, err = stream.Open(path); err != nil {
		return nil, err
	}
	first, err := p.set.Picture(0)
	if err != nil {
		return nil, err
	}
	p.N, p.Height, p.Width = p.set.Len(), first.Rect.Dy(), first.Rect.Dx()
	return p, nil
}

func openArray(path, name string) (*Pictures, error) {
	p := &Pictures{path: path, name: name, channels: 1}
	if err := p.open(); err != nil {
		return nil, err
	}
	a, shape := p.array, p.array.Shape
	wrong := a.Type != "|u1" || len(shape) != 3 && len(shape) != 4
	for i, d := range shape {
		wrong = wrong || d < 1 || i > 0 && d > maxPicture
	}
	if !wrong && len(shape) == 4 {
		p.channels = int(shape[3])
		wrong = p.channels != 1 && p.channels != 3
	}
	if wrong {
		p.Close()
		return nil, fmt.Errorf("%s: has elements of type %q and shape %v, want uint8 [n, height, width, 3]", path, a.Type, shape)
	}
	p.N, p.Height, p.Width = int(shape[0]), int(shape[1]), int(shape[2])
	return p, nil
}

// open opens the array at its first picture.
func (p *Pictures) open() (err error) {
	p.Close()
	p.array, err = npy.Open(p.path, p.name)
	p.at = 0
	return err
}

// Close closes the file of an array.
func (p *Pictures) Close() {
	if p.array != nil {
		p.array.Close()
		p.array = nil
	}
}

// Hash returns a hash of the pictures: of picture files that of [stream.Set.Hash], of an array the
// SHA-256 of its file and the array's name. It returns an error when ctx ends.
func (p *Pictures) Hash(ctx context.Context) (string, error) {
	if p.set != nil {
		return p.set.Hash(ctx)
	}
	sum, err := data.FileSHA256Context(ctx, p.path)
	return fmt.Sprintf("%s %q", sum, p.name), err
}

// Levels returns the levels, 0 to 255, of pictures from to to-1, [to-from, height, width, 3]. It
// returns a [PictureError], wrapped, for a bad one, and another error when ctx ends.
func (p *Pictures) Levels(ctx context.Context, from, to int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading pictures: %w", context.Cause(ctx))
	}
	if p.set == nil {
		levels, err := p.ofArray(from, to)
		if err != nil {
			err = PictureError{err}
		}
		return levels, err
	}
	size := p.Height * p.Width * 3
	levels, errs := make([]byte, (to-from)*size), make([]error, to-from)
	var group sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i := range to - from {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			errs[i] = p.file(from+i, levels[i*size:(i+1)*size])
		})
	}
	group.Wait()
	return levels, cmp.Or(errs...)
}

// file fills the levels of a picture file.
func (p *Pictures) file(i int, levels []byte) error {
	img, err := p.set.Picture(i)
	if err != nil {
		return PictureError{err}
	}
	if h, w := img.Rect.Dy(), img.Rect.Dx(); h != p.Height || w != p.Width {
		return PictureError{fmt.Errorf("%s has %dx%d pixels, the first picture %dx%d: give pictures of one size",
			p.set.Name(i), h, w, p.Height, p.Width)}
	}
	for y := range p.Height {
		for x := range p.Width {
			copy(levels[3*(y*p.Width+x):][:3], img.Pix[y*img.Stride+4*x:])
		}
	}
	return nil
}

// ofArray is Levels of an array.
func (p *Pictures) ofArray(from, to int) ([]byte, error) {
	if p.array == nil || from < p.at {
		if err := p.open(); err != nil {
			return nil, err
		}
	}
	each := p.Height * p.Width * p.channels
	for ; p.at < from; p.at++ {
		if err := p.array.Skip(each); err != nil {
			return nil, err
		}
	}
	var levels []byte // it grows as they arrive
	for ; p.at < to; p.at++ {
		raw, err := p.array.Bytes(each)
		if err != nil {
			return nil, err
		}
		if p.channels == 3 {
			levels = append(levels, raw...)
			continue
		}
		for _, v := range raw {
			levels = append(levels, v, v, v)
		}
	}
	return levels, nil
}
