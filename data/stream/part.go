package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/data/imagefile"
)

// Subset returns the files at the given indices, in their order, with the classes of the whole set.
// It panics if an index is out of range.
func (s *Set) Subset(indices []int) *Set {
	part := &Set{root: s.root, classes: s.classes, files: make([]file, 0, len(indices))}
	for _, i := range indices {
		part.add(s.files[i])
	}
	return part
}

// Hash returns a hash of the names of the classes and of the files: their paths relative to the
// folder of the set, sizes in bytes and classes. It does not read the files, which takes too long
// for a large set, and so does not change with a file that is replaced by one of the same size. It
// returns an error when ctx ends.
func (s *Set) Hash(ctx context.Context) (string, error) {
	const workers = 64 // they wait for the file system
	sizes := make([]int64, s.Len())
	err := parallel(ctx, s.Len(), workers, func(i int) error {
		if sizes[i] = s.files[i].size; s.files[i].member == "" {
			sizes[i] = -1 // of a missing file
			if info, err := os.Stat(s.files[i].path); err == nil {
				sizes[i] = info.Size()
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", s.classes)
	for i, f := range s.files {
		path, err := filepath.Rel(s.root, f.path)
		if err != nil {
			path = f.path
		}
		fmt.Fprintf(h, "%q %q %d %d\n", filepath.ToSlash(path), f.member, sizes[i], f.class)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// Levels returns the gray levels of pictures from to to-1, cropped and resized as those of a
// [Loader], [to-from, height, width, 3], and the error of each bad file, nil for a good one. The
// levels of bad files are 0. As many are decoded at the same time as there are workers, 0 meaning
// one for each CPU. It returns an error if a file cannot be read for another reason than its
// content, or when ctx ends.
func (s *Set) Levels(ctx context.Context, from, to, height, width, workers int) ([]byte, []*BadFile, error) {
	size := height * width * 3
	levels, bad := make([]byte, (to-from)*size), make([]*BadFile, to-from)
	err := parallel(ctx, to-from, workers, func(i int) error {
		img, err := s.Picture(from + i)
		if file, ok := errors.AsType[*BadFile](err); ok {
			bad[i] = file
			return nil
		}
		if err != nil {
			return err
		}
		img = imagefile.CenterCrop(img, height, width)
		for y := range height {
			for x := range width {
				copy(levels[i*size+3*(y*width+x):][:3], img.Pix[y*img.Stride+4*x:])
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return levels, bad, nil
}
