package latents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/progress"
)

// Files of a cache.
const (
	indexFile = "latents.json"
	rowsFile  = "latents.bin"
	lockFile  = "latents.lock"
)

// momentsFileOf returns the file with the statistics of the rows, those with mirror images if flip
// is set.
func momentsFileOf(flip bool) string {
	if flip {
		return "latents.safetensors"
	}
	return "latents-unflipped.safetensors"
}

// newLock returns the lock of the writers of a cache.
func newLock(dir string) *flock.Flock {
	return flock.New(filepath.Join(dir, lockFile), flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
}

// index is the description of a cache of latents.
type index struct {
	Origin string `json:"origin"` // see [Set]
	Shape  []int  `json:"shape"`  // of a latent, [height, width, channels]
	// Count is the number of rows, 0 while they are being written.
	Count int `json:"count"`
	// ClassNames are the names of the classes and ClassCounts their numbers of rows, by label.
	ClassNames  []string `json:"class_names,omitempty"`
	ClassCounts []int    `json:"class_counts,omitempty"`
	// Bad are the files without a row, in the order of the set.
	Bad []leftOut `json:"bad"`
}

// maxSize bounds the number of elements of a latent.
const maxSize = 1 << 26

// parseIndex reads a description. It returns an error if it is not that of a cache.
func parseIndex(raw []byte) (x index, err error) {
	if err := strictjson.Decode(raw, &x); err != nil {
		return x, err
	}
	size := 1
	for _, d := range x.Shape {
		if d < 1 || d > maxSize/size {
			return x, fmt.Errorf("shape is %v: want positive sizes, %d elements at most", x.Shape, maxSize)
		}
		size *= d
	}
	if len(x.Shape) != 3 || x.Count < 0 || len(x.ClassCounts) > stream.MaxLabel+1 {
		return x, fmt.Errorf("shape %v, count %d and %d classes are not those of latents [height, width, channels]",
			x.Shape, x.Count, len(x.ClassCounts))
	}
	for i, b := range x.Bad {
		if b.BadFile == nil || b.Index < 0 || i > 0 && b.Index <= x.Bad[i-1].Index {
			return x, errors.New("the bad files are not in the order of the set")
		}
	}
	return x, nil
}

// rows returns the rows of a cache in a file.
func (x index) rows(f *os.File) rows { return rows{f, x.Count, x.Shape[0] * x.Shape[1] * x.Shape[2]} }

// readIndex reads the description of the cache in a folder.
func readIndex(dir string) (index, error) {
	path := filepath.Join(dir, indexFile)
	raw, err := config.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return index{}, err
	}
	x := index{}
	if err == nil {
		x, err = parseIndex(raw)
	}
	if err != nil {
		return x, fmt.Errorf("%s: %w: remove the folder to encode the images again", path, err)
	}
	return x, nil
}

// latents returns the latents of a complete cache, which are not loaded. f has its rows.
func (x index) latents(f *os.File) (*Set, error) {
	l := &Set{
		N: x.Count, Height: x.Shape[0], Width: x.Shape[1], Channels: x.Shape[2], Origin: x.Origin, file: f,
		counts: x.ClassCounts,
	}
	l.leaveOut(x.Bad)
	return l, l.rows().check()
}

// openCache returns the latents of the complete cache in a folder. They are not loaded, but keep
// the file of the rows open.
//
// It takes no lock, so that several processes read a cache at the same time, also in a folder that
// they must not write. Another process may replace the cache meanwhile: it removes the description,
// replaces the rows by a new file, and then writes the description ([index.begin]). So the rows are
// those of the description if they were opened before it was read and are still in their place
// after that.
func openCache(dir string) (l *Set, err error) {
	f, err := os.Open(filepath.Join(dir, rowsFile))
	if err != nil {
		return nil, err
	}
	x, err := readIndex(dir)
	if err == nil && (x.Count == 0 || !inPlace(f)) {
		err = fmt.Errorf("cache %s: it is incomplete: another process writes it", dir)
	}
	if err == nil {
		l, err = x.latents(f)
	}
	if err != nil {
		f.Close()
	}
	return l, err
}

// inPlace reports whether the path of an open file still leads to it.
func inPlace(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Name())
	return err == nil && os.SameFile(opened, there)
}

// Job is a set of images to encode.
type Job struct {
	// Codec identifies the autoencoder, and Content the images.
	Codec, Content string
	// Files says that the images are picture files. Their cache is not replaced by another one.
	Files bool
	// Shape is that of a latent, [height, width, channels].
	Shape []int
	// ClassNames are the names of the classes, if they are known.
	ClassNames []string
	Images     int  // number of images, with bad files
	Labeled    bool // whether they have labels
	MaxBad     int  // number of bad files that may be left out
	// Sink shows the progress of writing a cache. Nil means no progress bar.
	Sink progress.Sink
	// Encode encodes the images from index first on. It calls emit with each chunk, and returns its
	// error.
	Encode func(ctx context.Context, first int, emit func(Chunk) error) error
}

// ofFiles is the part of an origin that tells picture files from images in memory.
const ofFiles = "/files-"

// index returns the description of the cache, without rows.
func (j Job) index() index {
	separator := "/"
	if j.Files {
		separator = ofFiles
	}
	return index{Origin: j.Codec + separator + j.Content, Shape: j.Shape, ClassNames: j.ClassNames, Bad: []leftOut{}}
}

// InMemory encodes the images.
func (j Job) InMemory(ctx context.Context) (*Set, error) {
	l := &Set{Height: j.Shape[0], Width: j.Shape[1], Channels: j.Shape[2], Origin: j.index().Origin}
	values := 2 * j.Images * l.Size()
	l.Mean, l.Std = make([]float32, 0, values), make([]float32, 0, values)
	var bad []leftOut
	err := j.Encode(ctx, 0, func(c Chunk) error {
		if bad = append(bad, c.bad...); len(bad) > j.MaxBad {
			return tooManyBad(len(bad), j.MaxBad, bad[j.MaxBad].BadFile)
		}
		c.Each(l.add)
		return nil
	})
	if err == nil && len(l.Labels) == 0 {
		err = j.noPictures()
	}
	if err != nil {
		return nil, err
	}
	l.leaveOut(bad)
	if l.N = len(l.Labels); !j.Labeled {
		l.Labels = nil
	}
	return l, nil
}

func (j Job) noPictures() error {
	return fmt.Errorf("encoding images: none of the %d files is a picture that can be read", j.Images)
}

// Cached returns the latents of the cache in dir, which it writes or completes first. They are not
// loaded. A cache of other picture files or of another codec is an error that wraps [ErrOther], and
// one that another process writes is an error that wraps [checkpoint.ErrLocked]; that of other
// images in memory is replaced.
func (j Job) Cached(ctx context.Context, dir string) (*Set, error) {
	origin := j.index().Origin
	l, err := openCache(dir)
	if err == nil && l.Origin != origin {
		l.file.Close()
	}
	if err != nil || l.Origin != origin {
		if l, err = j.write(ctx, dir); err != nil {
			return nil, err
		}
	}
	if n := len(l.Bad); n > j.MaxBad {
		l.file.Close()
		return nil, fmt.Errorf("cache %s: %w", dir, tooManyBad(n, j.MaxBad, l.Bad[j.MaxBad]))
	}
	return l, nil
}

// write writes or completes the cache in dir, unless another process has done so, and opens it.
func (j Job) write(ctx context.Context, dir string) (*Set, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock := newLock(dir)
	if locked, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("cache of latents: %w", err)
	} else if !locked {
		return nil, fmt.Errorf("%w: another process writes latents to %s: wait for it, end it, or choose another "+
			"folder", checkpoint.ErrLocked, dir)
	}
	defer lock.Unlock()
	want := j.index()
	x, err := readIndex(dir)
	switch missing := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !missing:
		return nil, err
	case missing, x.Origin != want.Origin && !j.Files && !strings.Contains(x.Origin, ofFiles):
		if x, err = want, want.begin(dir); err != nil {
			return nil, err
		}
	case x.Origin != want.Origin || !slices.Equal(x.Shape, j.Shape):
		return nil, fmt.Errorf("cache %s: %w: use another folder, or remove it", dir, ErrOther)
	}
	if x.Count == 0 {
		if err := j.complete(ctx, dir, &x); err != nil {
			return nil, err
		}
	}
	return openCache(dir)
}

// ErrOther is wrapped by the error of a cache of other picture files or of another codec.
var ErrOther = errors.New("it has the latents of other images or of another autoencoder")

// begin begins a cache in a folder. The description is removed before the rows and written after
// that, so that it never describes rows of another origin.
func (x index) begin(dir string) error {
	for _, name := range []string{indexFile, rowsFile, momentsFileOf(true), momentsFileOf(false)} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return run.WriteJSON(filepath.Join(dir, indexFile), x)
}

// complete appends the missing rows to a cache. The first row that a stopped process left
// incomplete or damaged is cut, with those after it. Bad files are noted before the rows after them
// are written, so that the number of rows gives the next file.
func (j Job) complete(ctx context.Context, dir string, x *index) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, rowsFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := x.rows(f)
	n, err := r.sound(ctx)
	if err != nil {
		return err
	}
	next, known := n, 0
	for known < len(x.Bad) && x.Bad[known].Index <= next {
		next, known = next+1, known+1
	}
	x.Bad = x.Bad[:known]
	if err := f.Truncate(int64(n) * rowBytes(r.size)); err != nil {
		return err
	}
	if j.Sink != nil {
		begin := next
		defer func() {
			j.Sink.Done(progress.Report{Step: int64(next), Total: int64(j.Images), Unit: "image"}, err)
		}()
		j.Sink.Update(progress.Report{Step: int64(begin), Total: int64(j.Images), Unit: "image"})
	}
	err = j.Encode(ctx, next, func(c Chunk) error {
		if x.Bad = append(x.Bad, c.bad...); len(x.Bad) > j.MaxBad {
			return tooManyBad(len(x.Bad), j.MaxBad, x.Bad[j.MaxBad].BadFile)
		}
		if len(c.bad) > 0 {
			if err := cmp.Or(f.Sync(), run.WriteJSON(filepath.Join(dir, indexFile), x)); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(c.rows, int64(n)*rowBytes(r.size)); err != nil {
			return err
		}
		n, next = n+len(c.rows)/int(rowBytes(r.size)), c.End
		if j.Sink != nil {
			j.Sink.Update(progress.Report{Step: int64(next), Total: int64(j.Images), Unit: "image"})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return j.noPictures()
	}
	if err := f.Sync(); err != nil {
		return err
	}
	r.n = n
	both, counts, err := r.statistics(ctx, x.Shape)
	for i, flip := range []bool{false, true} {
		if err == nil {
			err = both[i].Write(filepath.Join(dir, momentsFileOf(flip)))
		}
	}
	if err != nil {
		return err
	}
	if x.Count = n; j.Labeled {
		x.ClassCounts = counts
	}
	return run.WriteJSON(filepath.Join(dir, indexFile), x)
}

// tooManyBad returns the error of n bad files, more than the limit. beyond is the first above it.
func tooManyBad(n, limit int, beyond *stream.BadFile) error {
	return fmt.Errorf("%d bad files, %d are allowed: %w", n, limit, beyond)
}
