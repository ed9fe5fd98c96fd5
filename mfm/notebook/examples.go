package notebook

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
)

// ExamplePoints writes 4,000 points of a set of package sets, such as "two-moons", to a file that
// [tabular.Read] reads, with the columns x0, x1, ..., unless the file exists.
func ExamplePoints(path, set string) {
	if _, err := os.Stat(path); err == nil {
		return
	}
	Must(os.MkdirAll(filepath.Dir(path), 0o755))
	Must(tabular.Write(path, Must1(sets.Lookup(set)).Table(4000, 1)))
}

// ExamplePictures writes 400 gray PNGs of 16 x 16 pixels, each with a white disc of random center
// and a radius from 2 to 4 pixels on black, to a folder, unless the folder exists.
func ExamplePictures(dir string) {
	if _, err := os.Stat(dir); err == nil {
		return
	}
	part := dir + ".part" // so that an interruption leaves no folder with a few pictures
	Must(os.RemoveAll(part))
	Must(os.MkdirAll(part, 0o755))
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 400 {
		f := Must1(os.Create(filepath.Join(part, fmt.Sprintf("%03d.png", i))))
		Must(png.Encode(f, disc(4+8*rng.Float64(), 4+8*rng.Float64(), 2+2*rng.Float64())))
		Must(f.Close())
	}
	Must(os.Rename(part, dir))
}

// disc returns a picture of a disc with center (x, y) and radius r in pixels, with a soft edge one
// pixel wide.
func disc(x, y, r float64) *image.Gray {
	picture := image.NewGray(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		inside := r - math.Hypot(float64(i%16)-x, float64(i/16)-y)
		picture.SetGray(i%16, i/16, color.Gray{Y: uint8(255 * min(max(inside+0.5, 0), 1))})
	}
	return picture
}
