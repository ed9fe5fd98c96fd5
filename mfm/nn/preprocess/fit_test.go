package preprocess_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
)

// pictures are the names of pictures in the references of package text: two of which an odd number
// of pixels is cut off, a square one and one that is enlarged.
var pictures = []string{"wide", "high", "square", "small"}

// fits are those of the references, by their names there.
var fits = map[preprocess.Fit]string{
	preprocess.Shortest: "shortest", preprocess.ShortestRounded: "shortest_rounded", preprocess.Longest: "longest",
}

// side is that of the squares in the references.
const side = 16

// references reads the references of package text, which PIL, torchvision, transformers and
// HPSv2's code made.
func references(t *testing.T) checkpoint.Tensors {
	t.Helper()
	all, _, err := checkpoint.ReadFile(filepath.Join("..", "..", "reward", "text", "testdata", "references.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// levels returns the levels of a picture, flat, and its height and width.
func levels(t *testing.T, all checkpoint.Tensors, name string) (flat []float32, height, width int) {
	t.Helper()
	of := all[name+".pixels"]
	return tensors.MustCopyFlatData[float32](of), of.Shape().Dim(0), of.Shape().Dim(1)
}

// normalized returns squares, flat [side, side, 3] in [-1, 1], in CLIP's units, [3, side, side], by
// the graph that apply builds of an image.
func normalized(t *testing.T, apply func(x *Node) *Node, flat []float32, height, width int) []float32 {
	t.Helper()
	exec, err := NewExec(backendtest.New(t), func(x *Node) *Node {
		return TransposeAllAxes(clip.Normalize(apply(x)), 0, 3, 1, 2)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call1(tensors.FromFlatDataAndDimensions(flat, 1, height, width, 3))
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](out)
}

// Prepared pictures of the graph are those of PIL on floating-point numbers, and differ from what
// the originals prepare by the rounding to 8 bits alone.
func TestFitApply(t *testing.T) {
	all := references(t)
	var largest, squares, count float64
	for _, name := range pictures {
		for f, of := range fits {
			flat, height, width := levels(t, all, name)
			for i, v := range flat {
				flat[i] = v/127.5 - 1
			}
			got := normalized(t, func(x *Node) *Node { return f.Apply(x, side) }, flat, height, width)
			key := fmt.Sprintf("%s.%s.", name, of)
			near(t, key, got, tensors.MustCopyFlatData[float32](all[key+"prepared"]), 1e-5)
			rounded := tensors.MustCopyFlatData[float32](all[key+"rounded"])
			for i, v := range got {
				// A level is 1/255 of the colors' range, in units of their standard deviation.
				levels := math.Abs(float64(v-rounded[i])) * 255 * []float64{0.26862954, 0.26130258, 0.27577711}[i/(side*side)]
				largest = max(largest, levels)
				squares += levels * levels
				count++
			}
		}
	}
	mean := math.Sqrt(squares / count)
	t.Logf("rounding to 8 bits: at most %.2f levels, %.2f in the root mean square", largest, mean)
	if largest > 1.2 || mean > 0.4 || mean < 0.2 {
		t.Errorf("at most %.2f levels, %.2f in the root mean square: more than the rounding", largest, mean)
	}
}

// Prepared PNGs are those of the originals: of transformers' image processor, of torchvision's
// transforms and of HPSv2's.
func TestFitPicture(t *testing.T) {
	all := references(t)
	for _, name := range pictures {
		flat, height, width := levels(t, all, name)
		source := image.NewRGBA(image.Rect(0, 0, width, height))
		for i := range height * width {
			for c := range 3 {
				source.Pix[4*i+c] = uint8(flat[3*i+c])
			}
			source.Pix[4*i+3] = 0xff
		}
		var file bytes.Buffer
		err := png.Encode(&file, source)
		var picture *image.RGBA
		if err == nil {
			picture, err = imagefile.Decode(file.Bytes())
		}
		if err != nil {
			t.Fatal(err)
		}
		for f, of := range fits {
			square := f.Picture(picture, side)
			if square.Rect != image.Rect(0, 0, side, side) || !square.Opaque() {
				t.Fatalf("%s: a picture of %v, opaque %t", name, square.Rect, square.Opaque())
			}
			got := normalized(t, func(x *Node) *Node { return x }, preprocess.Pixels(square), side, side)
			key := fmt.Sprintf("%s.%s.rounded", name, of)
			near(t, key, got, tensors.MustCopyFlatData[float32](all[key]), 1e-5)
			// The graph leaves a prepared picture as it is.
			again := normalized(t, func(x *Node) *Node { return f.Apply(x, side) }, preprocess.Pixels(square), side, side)
			near(t, key+" again", again, got, 1e-6)
		}
	}
}

// near fails the test unless numbers are as they should be.
func near(t *testing.T, name string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", name, len(got), len(want))
	}
	largest := 0.
	for i, v := range got {
		d := math.Abs(float64(v - want[i]))
		if !(d <= tolerance) {
			t.Fatalf("%s: number %d is %g, want %g", name, i, v, want[i])
		}
		largest = max(largest, d)
	}
	t.Logf("%s: largest difference %.2g", name, largest)
}

// A picture that is prepared for its own size, and whose colors are rounded, stays as it is.
func TestFromPixels(t *testing.T) {
	pixels := []float32{-1, 0, 1, -2, 2, float32(math.NaN()), 0.25, -0.999, 1. / 127.5}
	picture := preprocess.FromPixels(pixels, 1, 3)
	want := []uint8{0, 128, 255, 255, 0, 255, 0, 255, 159, 0, 129, 255}
	if !bytes.Equal(picture.Pix, want) {
		t.Errorf("levels %v, want %v", picture.Pix, want)
	}
	again := preprocess.FromPixels(preprocess.Pixels(picture), 1, 3)
	if !bytes.Equal(again.Pix, want) {
		t.Errorf("rounded again, the levels are %v", again.Pix)
	}
	all := image.NewRGBA(image.Rect(0, 0, 256, 1))
	for i := range 256 {
		copy(all.Pix[4*i:], []uint8{uint8(i), uint8(255 - i), 7, 255})
	}
	part := all.SubImage(image.Rect(3, 0, 200, 1)).(*image.RGBA)
	if got := preprocess.FromPixels(preprocess.Pixels(part), 1, 197); !bytes.Equal(got.Pix, part.Pix[:4*197]) {
		t.Error("levels change when they become numbers and levels again")
	}
}
