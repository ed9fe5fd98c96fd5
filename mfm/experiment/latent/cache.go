package latent

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
	indexFile   = "latents.json"
	rowsFile    = "latents.bin"
	momentsFile = "latents.safetensors" // the statistics of the rows, with mirror images
	lockFile    = "latents.lock"
)

// index is the description of a cache of latents.
type index struct {
	Origin string `json:"origin"` // see [Latents]
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
func (x index) latents(f *os.File) (*Latents, error) {
	l := &Latents{
		N: x.Count, Height: x.Shape[0], Width: x.Shape[1], Channels: x.Shape[2], Origin: x.Origin, file: f,
		counts: x.ClassCounts,
	}
	l.leaveOut(x.Bad)
	return l, l.rows().check()
}

// openCache returns the latents of the complete cache in a folder. They are not loaded, but keep the
// file of the rows open.
//
// It takes no lock, so that several processes read a cache at the same time, also in a folder that
// they must not write. Another process may replace the cache meanwhile: it removes the description,
// replaces the rows by a new file, and then writes the description ([job.begin]). So the rows are
// those of the description if they were opened before it was read and are still in their place
// after that.
func openCache(dir string) (l *Latents, err error) {
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

// job is a source to encode into a cache.
type job struct {
	source
	index        // the description of the cache, without rows
	labeled bool // whether the images have labels
	maxBad  int  // number of bad files that may be left out
	replace bool // whether to replace a cache of another origin
	sink    progress.Sink
}

// ofFiles is the part of an origin that tells picture files from images in memory.
const ofFiles = "/files-"

// cached returns the latents of the cache in dir, which it writes or completes first.
func (c *Codec) cached(ctx context.Context, dir string, j job) (*Latents, error) {
	l, err := openCache(dir)
	if err == nil && l.Origin != j.Origin {
		l.file.Close()
	}
	if err != nil || l.Origin != j.Origin {
		if l, err = c.write(ctx, dir, j); err != nil {
			return nil, err
		}
	}
	if n := len(l.Bad); n > j.maxBad {
		l.file.Close()
		return nil, fmt.Errorf("cache %s: %w", dir, tooManyBad(n, j.maxBad, l.Bad[j.maxBad]))
	}
	return l, nil
}

// write writes or completes the cache in dir, unless another process has done so, and opens it.
func (c *Codec) write(ctx context.Context, dir string, j job) (*Latents, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
	if locked, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("cache of latents: %w", err)
	} else if !locked {
		return nil, fmt.Errorf("%w: another process writes latents to %s: wait for it, end it, or choose another "+
			"folder", checkpoint.ErrLocked, dir)
	}
	defer lock.Unlock()
	x, err := readIndex(dir)
	switch missing := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !missing:
		return nil, err
	case missing, x.Origin != j.Origin && j.replace && !strings.Contains(x.Origin, ofFiles):
		if x, err = j.begin(dir); err != nil {
			return nil, err
		}
	case x.Origin != j.Origin || !slices.Equal(x.Shape, j.Shape):
		return nil, fmt.Errorf("cache %s: %w: use another folder, or remove it", dir, ErrOtherLatents)
	}
	if x.Count == 0 {
		if err := c.complete(ctx, dir, &x, j); err != nil {
			return nil, err
		}
	}
	return openCache(dir)
}

// ErrOtherLatents is wrapped by the error of a cache of other picture files or of another codec.
var ErrOtherLatents = errors.New("it has the latents of other images or of another autoencoder")

// begin begins a cache in a folder. The description is removed before the rows and written after
// that, so that it never describes rows of another origin.
func (j job) begin(dir string) (index, error) {
	for _, name := range []string{indexFile, rowsFile, momentsFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return index{}, err
		}
	}
	return j.index, run.WriteJSON(filepath.Join(dir, indexFile), j.index)
}

// complete appends the missing rows to a cache. A row that a stopped process left incomplete or
// damaged at the end is cut. Bad files are noted before the rows after them are written, so that
// the number of rows gives the next file.
func (c *Codec) complete(ctx context.Context, dir string, x *index, j job) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, rowsFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := x.rows(f)
	n, err := r.sound()
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
	if j.sink != nil {
		begin := next
		defer func() {
			j.sink.Done(progress.Report{Step: int64(next), Total: int64(j.len())}, err)
		}()
		j.sink.Update(progress.Report{Step: int64(begin), Total: int64(j.len())})
	}
	err = c.encode(ctx, j.source, next, func(e encoded) error {
		if x.Bad = append(x.Bad, e.bad...); len(x.Bad) > j.maxBad {
			return tooManyBad(len(x.Bad), j.maxBad, x.Bad[j.maxBad].BadFile)
		}
		if len(e.bad) > 0 {
			if err := cmp.Or(f.Sync(), run.WriteJSON(filepath.Join(dir, indexFile), x)); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(e.rows, int64(n)*rowBytes(r.size)); err != nil {
			return err
		}
		n, next = n+len(e.rows)/int(rowBytes(r.size)), e.end
		if j.sink != nil {
			j.sink.Update(progress.Report{Step: int64(next), Total: int64(j.len())})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("encoding images: none of the %d files is a picture that can be read", j.len())
	}
	if err := f.Sync(); err != nil {
		return err
	}
	r.n = n
	s, counts, err := r.statistics(x.Shape, true)
	if err == nil {
		err = s.write(filepath.Join(dir, momentsFile))
	}
	if err != nil {
		return err
	}
	if x.Count = n; j.labeled {
		x.ClassCounts = counts
	}
	return run.WriteJSON(filepath.Join(dir, indexFile), x)
}

// tooManyBad returns the error of n bad files, more than the limit. beyond is the first above it.
func tooManyBad(n, limit int, beyond *stream.BadFile) error {
	return fmt.Errorf("%d bad files, %d are allowed: %w", n, limit, beyond)
}
