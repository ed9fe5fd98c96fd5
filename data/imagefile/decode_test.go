package imagefile

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decodeFile(t testing.TB, name string) *image.RGBA {
	t.Helper()
	img, err := Decode(readFile(t, name))
	if err != nil {
		t.Fatalf("%s %v", name, err)
	}
	return img
}

// compare fails the test if two pictures differ in size, or by more gray levels than most or on
// average than mean.
func compare(t *testing.T, name string, got, want *image.RGBA, most int, mean float64) {
	t.Helper()
	if got.Rect != want.Rect {
		t.Errorf("%s: %v, want %v", name, got.Rect, want.Rect)
		return
	}
	sum, worst := 0, 0
	for i, p := range got.Pix {
		d := int(p) - int(want.Pix[i])
		worst, sum = max(worst, d, -d), sum+max(d, -d)
	}
	average := float64(sum) / float64(len(got.Pix)/4*3)
	t.Logf("%s: mean difference %.3f gray levels, at most %d", name, average, worst)
	if worst > most || average > mean {
		t.Errorf("%s: mean difference %.3f gray levels, at most %d; want %g and %d", name, average, worst, mean, most)
	}
}

// Pictures are those of PIL (testdata/make_pictures.py). Two decoders of JPEG and of lossy WebP may
// differ by rounding; files of other formats are read exactly.
func TestDecode(t *testing.T) {
	wants, err := filepath.Glob("testdata/*.want.png")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, want := range wants {
		stem, _, _ := strings.Cut(filepath.Base(want), ".")
		for _, ext := range Extensions() {
			if _, err := os.Stat(filepath.Join("testdata", stem+ext)); err != nil {
				continue
			}
			most, mean := 0, 0.0
			if ext == ".jpg" || strings.HasSuffix(stem, "lossy") {
				most, mean = 4, 0.5
			}
			compare(t, stem+ext, decodeFile(t, stem+ext), decodeFile(t, stem+".want.png"), most, mean)
			read++
		}
	}
	if read != 26 {
		t.Errorf("%d pictures are compared, want 26", read)
	}
}

// Of 16 bits in a channel the upper eight are kept, of transparent pixels the color.
func TestDecodeKeepsUpperBits(t *testing.T) {
	for _, alpha := range []uint16{0, 1, 0x8000, 0xffff} {
		deep := image.NewNRGBA64(image.Rect(0, 0, 1, 1))
		deep.SetNRGBA64(0, 0, color.NRGBA64{0x12ff, 0x7f80, 0xfe00, alpha})
		if img, err := Decode(encoded(t, deep)); err != nil || !slices.Equal(img.Pix, []byte{0x12, 0x7f, 0xfe, 0xff}) {
			t.Errorf("alpha %#x: pixels %v (%v)", alpha, img, err)
		}
	}
}

func encoded(t testing.TB, img image.Image) []byte {
	t.Helper()
	var raw bytes.Buffer
	if err := png.Encode(&raw, img); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

// Each file that is not a usable picture is an error that says why, and what to do.
func TestDecodeRejects(t *testing.T) {
	photo, picture, lossy := readFile(t, "jpeg_420.jpg"), readFile(t, "png_gray.png"), readFile(t, "webp_lossy.webp")
	replaced := func(content []byte, at int, with ...byte) []byte {
		return slices.Replace(slices.Clone(content), at, at+len(with), with...)
	}
	canvas := slices.Concat([]byte("RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00"),
		[]byte{255, 255, 255, 255, 255, 255}, lossy[12:])
	for name, tc := range map[string]struct {
		content []byte
		want    string
	}{
		"zero bytes":            {nil, "is empty: replace"},
		"text":                  {[]byte("hello, world"), "is no PNG, JPEG or WebP image, or damaged: it starts with 68 65"},
		"GIF":                   {readFile(t, "animated.gif"), "is no PNG, JPEG or WebP image"},
		"truncated JPEG":        {photo[:len(photo)-400], "is no JPEG image, or damaged: invalid JPEG format: short Huffman data: replace"},
		"truncated PNG":         {picture[:len(picture)-30], "is no PNG image, or damaged: png: invalid format: not enough pixel data"},
		"truncated WebP":        {lossy[:len(lossy)-400], "is no WebP image, or damaged: it ends within a chunk"},
		"header alone":          {photo[:160], "is no JPEG image, or damaged: "},
		"PNG with a wrong bit":  {replaced(picture, len(picture)-20, picture[len(picture)-20]^1), "is no PNG image, or damaged: "},
		"sound":                 {[]byte("RIFF\x04\x00\x00\x00WAVE"), "a RIFF file of another kind"},
		"WebP without pixels":   {lossy[:12], "it ends before its pixels"},
		"huge PNG":              {huge(t, MaxSide+1, 1), "has 1x16385 pixels, more than 16384 along a side"},
		"large PNG":             {huge(t, MaxSide, MaxSide), "has 16384x16384 pixels, more than 89478485"},
		"PNG of few bytes":      {huge(t, 4096, 4096), "are too few for 4096x4096 pixels"},
		"huge WebP":             {replaced(lossy, 26, 0xff, 0x3f, 0xff, 0x3f), "has 16383x16383 pixels"},
		"WebP on a huge canvas": {canvas, "a frame of 27x33 pixels on a canvas of 16777216x16777216"},
		"animated PNG":          {readFile(t, "animated.png"), "is animated: save one frame"},
		"animated WebP":         {readFile(t, "animated.webp"), "is animated"},
	} {
		if img, err := Decode(tc.content); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: picture %v, error %v, want %q", name, img != nil, err, tc.want)
		}
	}
}

// A damaged EXIF block leaves the picture as it is stored.
func TestOrientation(t *testing.T) {
	little := []byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00")
	big := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	if a, b := orientation(little), orientation(big); a != 6 || b != 6 {
		t.Errorf("orientations %d and %d, want 6", a, b)
	}
	for n := range little {
		if got := orientation(little[:n]); got != 1 && n < 22 {
			t.Errorf("orientation %d of %d bytes", got, n)
		}
	}
	little[18] = 9
	if got := orientation(little); got != 1 {
		t.Errorf("orientation 9 is %d, want 1", got)
	}
}

func BenchmarkDecode(b *testing.B) {
	noise := image.NewRGBA(image.Rect(0, 0, 500, 375))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(i*i>>14 | 1)
	}
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, noise, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		img, err := Decode(photo.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		CenterCrop(img, 64, 64)
	}
}
