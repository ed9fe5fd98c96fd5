package imagefile

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// FuzzDecodeImage checks that any input gives an error, or a picture that is opaque and can be
// resized.
func FuzzDecodeImage(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Add(huge(f, MaxSide, MaxSide))
	f.Fuzz(func(t *testing.T, content []byte) {
		var img *image.RGBA
		size := len(content)
		if bytes.Contains(content, []byte("VP8L")) || bytes.Contains(content, []byte("ALPH")) {
			size += 1000 // tables of codes, at most 65,536 of 2,680 bytes
		}
		err := fuzztest.Read(t, size, 24*maxDensity, func() (err error) {
			img, err = Decode(content)
			return err
		})
		if err != nil {
			return
		}
		if !img.Opaque() || img.Rect.Min != (image.Point{}) || img.Rect.Empty() {
			t.Fatalf("picture %v, opaque %v", img.Rect, img.Opaque())
		}
		if got := CenterCrop(img, 2, 3); got.Rect != image.Rect(0, 0, 3, 2) || !got.Opaque() {
			t.Errorf("crop %v", got.Rect)
		}
	})
}

// FuzzOrientation checks that any EXIF block gives one of the eight orientations.
func FuzzOrientation(f *testing.F) {
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"))
	f.Add([]byte("MM\x00*\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, tiff []byte) {
		if got := orientation(tiff); got < 1 || got > 8 {
			t.Errorf("orientation %d", got)
		}
	})
}

// huge returns a PNG of one pixel whose header promises more.
func huge(t testing.TB, width, height uint32) []byte {
	t.Helper()
	b := encoded(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	header := b[12:29] // the type IHDR and its data, before their checksum
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(header))
	return b
}
