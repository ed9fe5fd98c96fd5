package latent

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// numberedRows is the number of images of one call of the compiled graph. It is always the same, so
// that an image does not depend on the others.
const numberedRows = 16

// Numbered returns the images with the given numbers, flat [numbers, size] with pixels in [-1, 1]:
// samples at t = 0 of the noise that seed and number determine, with one label for each number, or
// nil. An image is the same whatever other images a call has. Errors are those of
// [mfm.Sampler.FromNoise].
func (g *Generator) Numbered(ctx context.Context, sampling mfm.SamplerConfig, seed int64, numbers []int, labels []int32,
) ([]float32, error) {
	if labels != nil && len(labels) != len(numbers) {
		return nil, fmt.Errorf("%d labels for %d images: give one for each", len(labels), len(numbers))
	}
	sampler, err := g.sampler(sampling)
	if err != nil {
		return nil, err
	}
	size := g.Elements()
	var pixels []float32
	for from := 0; from < len(numbers); from += numberedRows {
		part := numbers[from:min(from+numberedRows, len(numbers))]
		noise := make([]float32, numberedRows*size)
		for i, number := range part {
			rng := rand.New(rand.NewPCG(uint64(seed), uint64(number)))
			for j := range size {
				noise[i*size+j] = float32(rng.NormFloat64())
			}
		}
		var class []int32
		if labels != nil {
			class = make([]int32, numberedRows)
			copy(class, labels[from:from+len(part)])
		}
		blank := make([]float32, numberedRows*size) // of contexts, which are not seen at t = 0
		z, err := mfm.Flat(sampler.FromNoise(ctx, States(noise, g.Shape), 0, States(blank, g.Shape), class))
		if err != nil {
			return nil, err
		}
		images, err := g.Codec.Decode(ctx, z, g.Shape[0], g.Shape[1])
		if err != nil {
			return nil, err
		}
		pixels = append(pixels, images[:len(images)/numberedRows*len(part)]...)
	}
	return pixels, nil
}

// ImageSet is a folder of generated images: 000000.png and so on, with images.json, which says how
// they were made.
type ImageSet struct {
	Sampling mfm.SamplerConfig `json:"sampling"`
	Seed     int64             `json:"seed"`
	// Count is the number of images, 1 to 10 million. A folder takes more of them later.
	Count int `json:"-"`
	// Classes are the labels that the images have in turn: image i has label i mod len(Classes). Nil
	// means no classes.
	Classes []int32 `json:"classes,omitempty"`
	// Fingerprint is a hash of map, guidance and autoencoder.
	Fingerprint string `json:"fingerprint"`
}

// CheckImageCount returns an error for a number of images that an [ImageSet] cannot have.
func CheckImageCount(n int) error {
	if n < 1 || n > 10_000_000 {
		return fmt.Errorf("count = %d images: must lie in [1, 10000000]", n)
	}
	return nil
}

// ErrOtherImages says that a folder has images of another [ImageSet].
var ErrOtherImages = errors.New("the folder has other images: choose another one, or give the settings in its file")

// setFile has the [ImageSet] of a folder of images.
const setFile = "images.json"

// Generate writes the images of a shard, those whose number is shard modulo shards, to PNG files in
// dir. Images that are there as whole files are not drawn again, so that a stopped run resumes; the
// images do not depend on the number of shards, which may work at the same time. done is called
// with the numbers of images that are there and that the shard has; nil means no callback. A folder
// with images of another set is an error.
func (g *Generator) Generate(ctx context.Context, dir string, c ImageSet, shard, shards int, done func(n, of int)) error {
	if err := CheckImageCount(c.Count); err != nil {
		return err
	}
	if shards < 1 || shard < 0 || shard >= shards {
		return fmt.Errorf("shard %d of %d: must lie in [0, %[2]d)", shard, shards)
	}
	if err := claimSet(dir, c); err != nil {
		return err
	}
	var missing []int
	all := 0
	for i := shard; i < c.Count; i += shards {
		all++
		whole, err := wholePNG(imagePath(dir, i))
		if err != nil {
			return err
		}
		if !whole {
			missing = append(missing, i)
		}
	}
	size, there := g.Size(), all-len(missing)
	for numbers := range slices.Chunk(missing, numberedRows) {
		var labels []int32
		if c.Classes != nil {
			for _, i := range numbers {
				labels = append(labels, c.Classes[i%len(c.Classes)])
			}
		}
		pixels, err := g.Numbered(ctx, c.Sampling, c.Seed, numbers, labels)
		if err != nil {
			return err
		}
		for k, one := range slices.Collect(slices.Chunk(pixels, len(pixels)/len(numbers))) {
			if err := writeImage(imagePath(dir, numbers[k]), one, size); err != nil {
				return err
			}
		}
		there += len(numbers)
		if done != nil {
			done(there, all)
		}
	}
	return nil
}

// claimSet writes images.json, or returns an error if dir has that of another generation.
func claimSet(dir string, c ImageSet) error {
	path := filepath.Join(dir, setFile)
	err := run.ClaimJSON(path, c)
	if errors.Is(err, run.ErrOtherContent) {
		err = fmt.Errorf("%w: %s", ErrOtherImages, path)
	}
	return err
}

// pngEnd is the last chunk of a PNG: its length, 0, its type and its checksum.
const pngEnd = "\x00\x00\x00\x00IEND\xaeB`\x82"

// wholePNG reports whether a file is there and ends as a PNG does. One that a lost power has cut
// does not.
func wholePNG(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < int64(len(pngEnd)) {
		return false, err
	}
	end := make([]byte, len(pngEnd))
	_, err = f.ReadAt(end, info.Size()-int64(len(end)))
	return string(end) == pngEnd, err
}

func imagePath(dir string, number int) string {
	return filepath.Join(dir, fmt.Sprintf("%06d.png", number))
}

// writeImage writes pixels in [-1, 1], [height, width, channels], as 8-bit values, ⌊127.5 x + 128⌋
// up to 255.
func writeImage(path string, pixels []float32, size []int) error {
	picture := image.NewNRGBA(image.Rect(0, 0, size[1], size[0]))
	channels := size[2]
	for i := range size[0] * size[1] {
		for k := range 3 {
			picture.Pix[4*i+k] = uint8(min(max(127.5*pixels[i*channels+k%channels]+128, 0), 255))
		}
		picture.Pix[4*i+3] = 255
	}
	var file bytes.Buffer
	if err := png.Encode(&file, picture); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return run.ReplaceFile(path, file.Bytes())
}

// WriteNPZ writes all images of the folder of [Generator.Generate], in the order of their numbers,
// to one file of numpy.savez, which evaluations of others read: "arr_0", uint8 [count, height,
// width, 3], and for images with classes "arr_1", their labels as int64 [count]. The file is
// replaced in one step. It is an error if an image is missing or of another size than the first, or
// when ctx ends.
func (c ImageSet) WriteNPZ(ctx context.Context, dir, path string) (err error) {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
			return
		}
		err = os.Rename(f.Name(), path)
	}()
	z := zip.NewWriter(f)
	if err := c.writePixels(ctx, z, dir); err != nil {
		return err
	}
	if c.Classes != nil {
		labels := make([]int64, c.Count)
		for i := range labels {
			labels[i] = int64(c.Classes[i%len(c.Classes)])
		}
		w, err := npy.Entry(z, "arr_1")
		if err == nil {
			err = npy.Write(w, labels, c.Count)
		}
		if err != nil {
			return err
		}
	}
	return z.Close()
}

// writePixels writes the array of the images.
func (c ImageSet) writePixels(ctx context.Context, z *zip.Writer, dir string) error {
	w, err := npy.Entry(z, "arr_0")
	if err != nil {
		return err
	}
	var size image.Rectangle
	for i := range c.Count {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("joining images: %w", context.Cause(ctx))
		}
		raw, err := os.ReadFile(imagePath(dir, i))
		if err != nil {
			return err
		}
		picture, err := imagefile.Decode(raw)
		if err != nil {
			return fmt.Errorf("%s %w", imagePath(dir, i), err)
		}
		if i == 0 {
			size = picture.Rect
			if err := npy.WriteHeader(w, "|u1", c.Count, size.Dy(), size.Dx(), 3); err != nil {
				return err
			}
		}
		if picture.Rect != size {
			return fmt.Errorf("%s has %v pixels, the first image %v: remove it to draw it again", imagePath(dir, i),
				picture.Rect.Max, size.Max)
		}
		levels := make([]byte, 0, 3*size.Dx()*size.Dy())
		for p := range slices.Chunk(picture.Pix, 4) {
			levels = append(levels, p[:3]...)
		}
		if _, err := w.Write(levels); err != nil {
			return err
		}
	}
	return nil
}
