package data

import (
	"fmt"
	"image"
	_ "image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/draw"
)

// maxDensity bounds the pixels in a byte of an image file, so that a damaged header cannot cause a
// large allocation: a byte of a PNG has at most eight pixels, and deflate, its compression, makes
// data at most 1032 times smaller. JPEG stores fewer.
const maxDensity = 8 * 1032

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// loadFolder is the Load of image folders: PNG and JPEG images without labels, or a subfolder of
// them for each class, numbered from 0 in the order of their names. If the only subfolders are
// "train" and "test", each has this form, with the same classes, and the images of "test" are held
// out. Hidden files, and files that are no images, are not read. The images have one channel if all
// pixels of all images are gray, else three.
func loadFolder(l Location) (train, heldOut *Images, err error) {
	r := &folderReader{height: l.Height, width: l.Width, resize: l.Height != 0}
	_, folders, err := list(l.Path)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Equal(folders, []string{"test", "train"}) {
		all, _, err := r.read(l.Path)
		if err != nil {
			return nil, nil, err
		}
		r.finish(all)
		return holdOut(all, l.Path)
	}
	dirs := [2]string{filepath.Join(l.Path, "train"), filepath.Join(l.Path, "test")}
	var classes [2][]string
	if train, classes[0], err = r.read(dirs[0]); err != nil {
		return nil, nil, err
	}
	if heldOut, classes[1], err = r.read(dirs[1]); err != nil {
		return nil, nil, err
	}
	if !slices.Equal(classes[0], classes[1]) {
		return nil, nil, fmt.Errorf("data: %s has the classes %q, but %s has %q: give both the same subfolders",
			dirs[0], classes[0], dirs[1], classes[1])
	}
	r.finish(train, heldOut)
	return train, heldOut, nil
}

// list returns the names of the images and of the subfolders of a folder, sorted.
func list(dir string) (images, folders []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fileSource(dir).fail(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		switch ext := strings.ToLower(filepath.Ext(name)); {
		case strings.HasPrefix(name, "."):
		case isFolder(path):
			folders = append(folders, name)
		case ext == ".png" || ext == ".jpg" || ext == ".jpeg":
			images = append(images, name)
		case slices.Contains([]string{".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}, ext):
			return nil, nil, fmt.Errorf("data: %s: images of type %s cannot be read: convert it to PNG or JPEG",
				path, ext)
		}
	}
	return images, folders, nil
}

// folderReader reads images of one size as RGB.
type folderReader struct {
	height, width int    // of all images; 0 means that none is read yet
	resize        bool   // crop and resize images of other sizes
	first         string // path of the first image
	color         bool   // whether a pixel of an image is not gray
	bytes         int
}

// read returns the images of a folder and the names of its classes, nil without labels.
func (r *folderReader) read(dir string) (*Images, []string, error) {
	files, classes, err := list(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(files) > 0 && len(classes) > 0 {
		return nil, nil, fmt.Errorf("data: %s has images, such as %s, beside subfolders, such as %s: "+
			"move all images to subfolders, one for each class, or none", dir, files[0], classes[0])
	}
	m := &Images{Channels: 3}
	add := func(dir string, files []string) error {
		if len(files) == 0 {
			return fmt.Errorf("data: %s has no PNG or JPEG images: add some, or remove it", dir)
		}
		m.N += len(files)
		for _, name := range files {
			rgb, err := r.decode(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			m.Pixels = append(m.Pixels, rgb...)
		}
		return nil
	}
	if len(classes) == 0 {
		err = add(dir, files)
	}
	for class, name := range classes {
		path := filepath.Join(dir, name)
		files, deeper, err := list(path)
		if err != nil {
			return nil, nil, err
		}
		if len(deeper) > 0 {
			return nil, nil, fmt.Errorf("data: %s is a subfolder of a class: move its images to %s",
				filepath.Join(path, deeper[0]), path)
		}
		if err := add(path, files); err != nil {
			return nil, nil, err
		}
		m.Labels = append(m.Labels, slices.Repeat([]int32{int32(class)}, len(files))...)
	}
	m.Height, m.Width = r.height, r.width
	return m, classes, err
}

// decode returns the pixels of a file, [height, width, 3].
func (r *folderReader) decode(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileSource(path).fail(err)
	}
	defer f.Close()
	return r.decodeFrom(path, f)
}

// decodeFrom is decode of the content f of the file called path.
func (r *folderReader) decodeFrom(path string, f io.ReadSeeker) ([]byte, error) {
	var size int64
	config, _, err := image.DecodeConfig(f)
	if err == nil {
		err = r.check(path, config.Height, config.Width)
		if err != nil {
			return nil, err
		}
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil && int64(config.Height)*int64(config.Width) > maxDensity*size {
		err = fmt.Errorf("its %d bytes are too few for %dx%d pixels", size, config.Height, config.Width)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	var img image.Image
	if err == nil {
		img, err = DecodeImage(f)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %s is no PNG or JPEG image, or damaged: %w: replace or remove it", path, err)
	}
	if o, ok := img.(interface{ Opaque() bool }); ok && !o.Opaque() {
		return nil, fmt.Errorf("data: %s has transparent pixels: save it without an alpha channel", path)
	}
	out := image.NewRGBA(image.Rect(0, 0, r.width, r.height))
	if crop := centerCrop(img.Bounds(), r.height, r.width); crop.Size() == out.Rect.Size() {
		draw.Draw(out, out.Rect, img, crop.Min, draw.Src)
	} else {
		draw.CatmullRom.Scale(out, out.Rect, img, crop, draw.Src, nil)
	}
	rgb := make([]byte, 0, 3*r.height*r.width)
	for p := range slices.Chunk(out.Pix, 4) {
		rgb = append(rgb, p[:3]...)
		r.color = r.color || p[0] != p[1] || p[1] != p[2]
	}
	return rgb, nil
}

// check returns an error for an image whose size differs from that of the others, or is too large.
func (r *folderReader) check(path string, height, width int) error {
	if height < 1 || width < 1 {
		return fmt.Errorf("data: %s has %dx%d pixels, which is no image: replace or remove it", path, height, width)
	}
	if height > maxSide || width > maxSide {
		return fmt.Errorf("data: %s has %dx%d pixels, more than %d along a side: make it smaller",
			path, height, width, maxSide)
	}
	if r.height == 0 {
		r.height, r.width, r.first = height, width, path
	}
	if !r.resize && (height != r.height || width != r.width) {
		return fmt.Errorf("data: %s has %dx%d pixels (height x width), but %s has %dx%d: "+
			"give images of one size, or a size to crop and resize all images to",
			path, height, width, r.first, r.height, r.width)
	}
	if r.bytes += 3 * r.height * r.width; r.bytes > maxBytes {
		return fmt.Errorf("data: %s: the images up to this one have more than %d bytes: use fewer or smaller images",
			path, maxBytes)
	}
	return nil
}

// centerCrop returns the largest rectangle with the proportions of height and width in the middle
// of another.
func centerCrop(of image.Rectangle, height, width int) image.Rectangle {
	h, w := of.Dy(), of.Dx()
	if w*height > h*width {
		w = max(1, int(math.Round(float64(h*width)/float64(height))))
	} else {
		h = max(1, int(math.Round(float64(w*height)/float64(width))))
	}
	corner := of.Min.Add(image.Pt((of.Dx()-w)/2, (of.Dy()-h)/2))
	return image.Rectangle{corner, corner.Add(image.Pt(w, h))}
}

// finish reduces images without color to one channel.
func (r *folderReader) finish(all ...*Images) {
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
