package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

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
