package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
)

// A strip has the colors of its images, or the first channel in gray.
func TestStrip(t *testing.T) {
	const n, height, width = 3, 2, 4
	for channels := range 4 {
		channels++
		pixels := make([]float32, n*height*width*channels)
		var want []float32
		for i := range pixels {
			pixels[i] = float32(i*37%256)/127.5 - 1 // a level of a PNG
			if i < (n-1)*height*width*channels && (channels == 3 || i%channels == 0) {
				want = append(want, pixels[i])
			}
		}
		shape := []int{height, width, channels}
		png, err := strip(pixels, shape, n)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Count(png, width); err != nil || got != n {
			t.Errorf("%d images, want %d (%v)", got, n, err)
		}
		if _, err := Count(png, width+1); err == nil {
			t.Error("images of another width")
		}
		got, err := Unstrip(png, shape, n-1)
		near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }
		if err != nil || !slices.EqualFunc(got, want, near) {
			t.Errorf("%d channels: %v, want %v (%v)", channels, got, want, err)
		}
		if _, err := Unstrip(png, shape, n+1); err == nil {
			t.Error("more images than there are")
		}
		if _, err := Unstrip(png, []int{height + 1, width, channels}, 1); err == nil {
			t.Error("images of another height")
		}
	}
	if _, err := Unstrip(nil, []int{1, 1, 1}, 1); err == nil {
		t.Error("no PNG")
	}
}

// A shift moves the pixels on a background of -1.
func TestShiftImages(t *testing.T) {
	const most, side = 2, 5
	pixels := make([]float32, side*side)
	for i := range pixels {
		pixels[i] = -1
	}
	pixels[2*side+2] = 1 // a dot in the middle, which a shift by two does not lose
	exec, err := NewExec(backendtest.New(t), func(state, x *Node) []*Node {
		rng := &solver.RNG{State: state}
		y := shiftImages(rng, x, most)
		return []*Node{y, rng.State}
	})
	if err != nil {
		t.Fatal(err)
	}
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	rows, columns := map[int]bool{}, map[int]bool{}
	for range 100 {
		out, err := exec.Call(state, tensors.FromFlatDataAndDimensions(pixels, 1, side, side, 1))
		if err != nil {
			t.Fatal(err)
		}
		state = out[1]
		y := tensors.MustCopyFlatData[float32](out[0])
		place := slices.Index(y, 1)
		if place < 0 || slices.Index(y[place+1:], 1) >= 0 || slices.Min(y) != -1 {
			t.Fatalf("shifted image %v has not one dot on a background of -1", y)
		}
		rows[place/side], columns[place%side] = true, true
	}
	// The probability that 100 shifts miss one of five places is 0.8^100 = 2e-10.
	if len(rows) != 2*most+1 || len(columns) != 2*most+1 {
		t.Errorf("the dot was in rows %v and columns %v, want all five", rows, columns)
	}
}

// FuzzUnstrip checks that any bytes give an error, or the pixels of the images that were asked for,
// which are the same after writing and reading again.
func FuzzUnstrip(f *testing.F) {
	for _, channels := range []int{1, 3} {
		shape := []int{2, 3, channels}
		pixels := make([]float32, 4*6*channels)
		for i := range pixels {
			pixels[i] = float32(i%9)/4 - 1
		}
		b, err := strip(pixels, shape, 4)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(4), channels == 3)
		f.Add(b, uint8(5), channels == 3)
		f.Add(b[:len(b)/2], uint8(1), channels == 1)
		b = bytes.Clone(b)
		header := b[12:29] // the type IHDR and its data, before their checksum
		binary.BigEndian.PutUint32(header[4:], 3<<28)
		binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(header))
		f.Add(b, uint8(1), false) // a strip of 800 million pixels along
	}
	f.Add([]byte(nil), uint8(1), true)
	f.Fuzz(func(t *testing.T, content []byte, n uint8, color bool) {
		shape := []int{2, 3, 1}
		if color {
			shape[2] = 3
		}
		var pixels []float32
		err := fuzztest.Read(t, len(content)+int(n), 1<<17, func() (err error) {
			pixels, err = Unstrip(content, shape, int(n))
			return err
		})
		if err != nil {
			return
		}
		if len(pixels) != int(n)*6*shape[2] {
			t.Fatalf("%d pixels of %d images", len(pixels), n)
		}
		if n == 0 {
			return
		}
		b, err := strip(pixels, shape, int(n))
		if err != nil {
			t.Fatal(err)
		}
		first, err := Unstrip(b, shape, int(n))
		for i, v := range first {
			if d := v - pixels[i]; d < -0.005 || d > 0.005 {
				t.Fatalf("pixel %d is read back as %g, want %g", i, v, pixels[i])
			}
		}
		if err != nil || len(first) != len(pixels) {
			t.Fatalf("read back as %d pixels, want %d (error %v)", len(first), len(pixels), err)
		}
	})
}
