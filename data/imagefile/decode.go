// Package imagefile decodes single picture files, which nobody has checked, and brings them to one
// size as the field does for ImageNet.
//
// [Decode] reads PNG, JPEG and WebP to the pixels of PIL's convert("RGB"), turned upright as the
// EXIF orientation says. [CenterCrop] is the preprocessing of ADM, with PIL's filters. Any content
// gives a picture or an error; the memory is bounded by a limit on the pixels.
package imagefile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/webp"
)

// Limits on the size of a picture that a header promises.
const (
	// MaxSide is the largest height and width in pixels.
	MaxSide = 1 << 14
	// MaxPixels is the largest number of pixels, the one above which PIL warns of a decompression
	// bomb. Decoding takes about 20 bytes for each, and for a lossless WebP up to 176 MB more.
	MaxPixels = 89_478_485
	// maxDensity bounds the pixels in a byte of a file, so that a damaged header cannot cause a
	// large allocation: a byte of a PNG has at most eight pixels, and deflate, its compression,
	// makes data at most 1032 times smaller. Other files than those of a single color store fewer.
	maxDensity = 8 * 1032
)

// Extensions are the endings of the names of files that [Decode] reads, in lower case.
func Extensions() []string { return []string{".png", ".jpg", ".jpeg", ".webp"} }

// info is what a file says about its picture before the pixels.
type info struct {
	height, width int
	animated      bool
	exif          []byte // a TIFF file, or nil
}

// format is a file format of pictures.
type format struct {
	name   string
	magic  []byte
	header func(content []byte) (info, error)
	pixels func(content []byte) (image.Image, error)
}

func formats() []format {
	return []format{
		{"PNG", []byte("\x89PNG\r\n\x1a\n"), pngInfo, func(b []byte) (image.Image, error) {
			return png.Decode(bytes.NewReader(b))
		}},
		{"JPEG", []byte("\xff\xd8\xff"), jpegInfo, func(b []byte) (image.Image, error) {
			img, err := jpeg.Decode(bytes.NewReader(b))
			return upsampled(img, jpegRGB), err
		}},
		{"WebP", []byte("RIFF"), webpInfo, func(b []byte) (image.Image, error) {
			img, err := webp.Decode(bytes.NewReader(b))
			return upsampled(img, webpRGB), err
		}},
	}
}

// Decode decodes the content of a PNG, JPEG or WebP file, by its first bytes, as PIL's
// ImageOps.exif_transpose(Image.open(file)).convert("RGB") does: a PNG and a lossless WebP to the
// same pixels, a JPEG and a lossy WebP up to rounding: by at most 4 gray levels, 0.2 on average, in
// 1,000 JPEGs of ImageNet at 64x64. CMYK is converted. Of 16 bits the upper eight are kept, while
// PIL clips gray pictures of 16 bits at 255. ADM and torchvision ignore the orientation. An alpha
// channel is dropped, as by the loaders of ADM and torchvision: a transparent pixel has the color
// that its file stores under it, often black. Put such pictures on a background beforehand if it
// should have another one.
//
// It returns an error, which continues a sentence that begins with the file's name, for content of
// another format, for damaged, truncated and animated files, and for pictures without pixels or
// with more than [MaxSide] along a side, more than [MaxPixels], or more than their file can hold.
func Decode(content []byte) (*image.RGBA, error) {
	if len(content) == 0 {
		return nil, errors.New("is empty: replace or remove it")
	}
	for _, f := range formats() {
		if bytes.HasPrefix(content, f.magic) {
			return f.decode(content)
		}
	}
	return nil, fmt.Errorf("is no PNG, JPEG or WebP image, or damaged: it starts with % x: replace or remove it",
		content[:min(len(content), 8)])
}

func (f format) decode(content []byte) (*image.RGBA, error) {
	damaged := func(err error) error {
		return fmt.Errorf("is no %s image, or damaged: %w: replace or remove it", f.name, err)
	}
	head, err := f.header(content)
	if err != nil {
		return nil, damaged(err)
	}
	if err := head.check(len(content)); err != nil {
		return nil, err
	}
	img, err := f.pixels(content)
	if err != nil {
		return nil, damaged(err)
	}
	if size := img.Bounds().Size(); size != image.Pt(head.width, head.height) {
		return nil, damaged(fmt.Errorf("%dx%d pixels, but %dx%d in its header",
			size.Y, size.X, head.height, head.width))
	}
	dropAlpha(img)
	out, ok := img.(*image.RGBA)
	if !ok {
		out = image.NewRGBA(image.Rectangle{Max: img.Bounds().Size()})
		draw.Draw(out, out.Rect, img, img.Bounds().Min, draw.Src)
	}
	return upright(out, orientation(head.exif)), nil
}

// dropAlpha makes a picture opaque without changing its colors. Those of other types are opaque.
func dropAlpha(img image.Image) {
	switch img := img.(type) {
	case *image.NRGBA:
		for i := 3; i < len(img.Pix); i += 4 {
			img.Pix[i] = 0xff
		}
	case *image.NRGBA64:
		for i := 6; i < len(img.Pix); i += 8 {
			img.Pix[i], img.Pix[i+1] = 0xff, 0xff
		}
	case *image.Paletted:
		for i, c := range img.Palette {
			if c, ok := c.(color.NRGBA); ok {
				c.A = 0xff
				img.Palette[i] = c
			}
		}
	}
}

// check returns an error for a header that a file of size bytes should not have.
func (i info) check(size int) error {
	pixels := int64(i.height) * int64(i.width)
	switch {
	case i.animated:
		return errors.New("is animated: save one frame")
	case i.height < 1 || i.width < 1:
		return fmt.Errorf("has %dx%d pixels, which is no image: replace or remove it", i.height, i.width)
	case max(i.height, i.width) > MaxSide:
		return fmt.Errorf("has %dx%d pixels, more than %d along a side: make it smaller", i.height, i.width, MaxSide)
	case pixels > MaxPixels:
		return fmt.Errorf("has %dx%d pixels, more than %d: make it smaller", i.height, i.width, MaxPixels)
	case pixels > maxDensity*int64(size):
		return fmt.Errorf("is damaged: its %d bytes are too few for %dx%d pixels: replace or remove it",
			size, i.height, i.width)
	}
	return nil
}
