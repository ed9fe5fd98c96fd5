package data

import (
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/data/stream"
)

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// loadPictures is the Load of the sets of picture files that [stream.Open] lists. If the only
// subfolders of a folder are "train" and "test", each is such a set, with the same classes, and the
// images of "test" are held out. The images have one channel if all pixels of all images are gray,
// else three. Of the files that are no usable pictures as many as the location allows are left out.
func loadPictures(l Location) (train, heldOut *Images, err error) {
	r := &pictureReader{height: l.Height, width: l.Width, resize: l.Height != 0, skip: l.Skip}
	if !isSplit(l.Path) {
		all, _, err := r.read(l.Path)
		if err != nil {
			return nil, nil, err
		}
		r.finish(all)
		if train, heldOut, err = holdOut(all, l.Path); err != nil {
			return nil, nil, err
		}
		train.Bad = r.bad
		return train, heldOut, nil
	}
	dirs := [2]string{filepath.Join(l.Path, "train"), filepath.Join(l.Path, "test")}
	var classes [2][]string
	if train, classes[0], err = r.read(dirs[0]); err != nil {
		return nil, nil, err
	}
	if heldOut, classes[1], err = r.read(dirs[1]); err != nil {
		return nil, nil, err
	}
	if err := sameClasses(l.Path, classes[0], classes[1]); err != nil {
		return nil, nil, err
	}
	r.finish(train, heldOut)
	train.Bad = r.bad
	return train, heldOut, nil
}

// OpenPictures lists the training pictures and the held-out pictures of a location, those of [Load]
// if no file is bad, without reading them. Both are nil for a location of another form than picture
// files.
func OpenPictures(l Location) (train, heldOut *stream.Set, err error) {
	format, err := formatOf(l)
	if err != nil || !format.Pictures {
		return nil, nil, err
	}
	if isSplit(l.Path) {
		return openSplit(l.Path)
	}
	all, err := stream.Open(l.Path)
	if err != nil {
		return nil, nil, err
	}
	if all.Len() < 2 {
		return nil, nil, fmt.Errorf("data: %s has one image: give at least two, one of which is held out", l.Path)
	}
	first, rest := heldOutOf(all.Len())
	return all.Subset(rest), all.Subset(first), nil
}

// openSplit lists the pictures in the subfolders "train" and "test".
func openSplit(path string) (train, heldOut *stream.Set, err error) {
	if train, err = stream.Open(filepath.Join(path, "train")); err != nil {
		return nil, nil, err
	}
	if heldOut, err = stream.Open(filepath.Join(path, "test")); err != nil {
		return nil, nil, err
	}
	return train, heldOut, sameClasses(path, train.Classes(), heldOut.Classes())
}

// sameClasses returns an error unless the subfolders "train" and "test" have the same classes.
func sameClasses(path string, train, test []string) error {
	if slices.Equal(train, test) {
		return nil
	}
	return fmt.Errorf("data: %s has the classes %q, but %s has %q: give both the same classes",
		filepath.Join(path, "train"), train, filepath.Join(path, "test"), test)
}

// isSplit reports whether a path is a folder whose only subfolders are "train" and "test".
func isSplit(path string) bool {
	_, folders, err := stream.List(path)
	return err == nil && slices.Equal(folders, []string{"test", "train"})
}

// ErrSize is the error, wrapped, of picture files whose size is missing or does not fit. The size
// of a [Location] crops and resizes them.
var ErrSize = errors.New("data: size of pictures")

// pictureReader reads pictures of one size as RGB.
type pictureReader struct {
	height, width int    // of all pictures; 0 means that none is read yet
	resize        bool   // crop and resize pictures of other sizes
	first         string // name of the first picture
	color         bool   // whether a pixel of a picture is not gray
	bytes         int
	skip          int // number of bad files to leave out
	bad           []*stream.BadFile
}

// read returns the images of a set and the names of its classes, nil without labels.
func (r *pictureReader) read(path string) (*Images, []string, error) {
	s, err := stream.Open(path)
	if err != nil {
		return nil, nil, err
	}
	m := &Images{Channels: 3}
	for i := range s.Len() {
		img, err := s.Picture(i)
		if file, ok := errors.AsType[*stream.BadFile](err); ok && len(r.bad) < r.skip {
			r.bad = append(r.bad, file)
			continue
		}
		if err == nil {
			img, err = r.fit(s.Name(i), img)
		}
		if err != nil {
			return nil, nil, err
		}
		m.N++
		m.Pixels = r.appendRGB(m.Pixels, img)
		if s.Classes() != nil {
			m.Labels = append(m.Labels, s.Class(i))
		}
	}
	if m.N == 0 {
		return nil, nil, fmt.Errorf("data: %s has no image that can be read: add some", path)
	}
	m.Height, m.Width, m.Names = r.height, r.width, s.Classes()
	return m, s.Classes(), nil
}

// fit returns a picture in the size of the others, or an error if it differs and is not to be
// resized, or if the pictures are too many.
func (r *pictureReader) fit(name string, img *image.RGBA) (*image.RGBA, error) {
	height, width := img.Rect.Dy(), img.Rect.Dx()
	if r.height == 0 {
		r.height, r.width, r.first = height, width, name
	}
	if !r.resize && (height != r.height || width != r.width) {
		return nil, fmt.Errorf("%w: %s has %dx%d pixels (height x width), but %s has %dx%d: "+
			"give images of one size, or a size to crop and resize all images to",
			ErrSize, name, height, width, r.first, r.height, r.width)
	}
	if r.bytes += 3 * r.height * r.width; r.bytes > maxBytes {
		return nil, fmt.Errorf("data: %s: the images up to this one have more than %d bytes: "+
			"use fewer or smaller images", name, maxBytes)
	}
	if height == r.height && width == r.width {
		return img, nil
	}
	return imagefile.CenterCrop(img, r.height, r.width), nil
}

// appendRGB appends the pixels of a picture, [height, width, 3].
func (r *pictureReader) appendRGB(rgb []byte, img *image.RGBA) []byte {
	for p := range slices.Chunk(img.Pix, 4) {
		rgb = append(rgb, p[:3]...)
		r.color = r.color || p[0] != p[1] || p[1] != p[2]
	}
	return rgb
}

// finish reduces images without color to one channel.
func (r *pictureReader) finish(all ...*Images) {
	for _, m := range all {
		if r.color {
			continue
		}
		for i := range len(m.Pixels) / 3 {
			m.Pixels[i] = m.Pixels[3*i]
		}
		m.Channels, m.Pixels = 1, m.Pixels[:len(m.Pixels)/3]
	}
}
