package data

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/internal/npy"
)

// saveImage writes an image as PNG or JPEG, by the ending of its name.
func saveImage(t *testing.T, img image.Image, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	var raw bytes.Buffer
	err := png.Encode(&raw, img)
	if strings.HasSuffix(name, ".jpg") {
		raw.Reset()
		err = jpeg.Encode(&raw, img, &jpeg.Options{Quality: 100})
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o777)
	}
	if err == nil {
		err = os.WriteFile(name, raw.Bytes(), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// painted returns an image with the given color at each point.
func painted(height, width int, at func(x, y int) color.Color) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, at(x, y))
		}
	}
	return img
}

func plainColor(c color.Color) func(x, y int) color.Color {
	return func(int, int) color.Color { return c }
}

// A folder gives its images with the numbers of their sorted subfolders, each image once.
func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		class := []string{"b", "a"}[i%2]
		saveImage(t, painted(3, 2, func(x, y int) color.Color {
			return color.RGBA{R: uint8(10 * i), G: uint8(x), B: uint8(y), A: 255}
		}), dir, class, fmt.Sprintf("%02d.PNG", i))
	}
	for _, ignored := range []string{"a/notes.txt", ".hidden.png", "labels.csv"} {
		if err := os.WriteFile(filepath.Join(dir, ignored), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	train, heldOut, err := Load(Location{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if train.N != 18 || heldOut.N != 2 {
		t.Fatalf("%d + %d images, want 18 + 2", train.N, heldOut.N)
	}
	if names := []string{"a", "b"}; !slices.Equal(train.Names, names) || !slices.Equal(heldOut.Names, names) {
		t.Errorf("classes %q and %q, want %q", train.Names, heldOut.Names, names)
	}
	seen := make(map[byte]bool)
	for _, m := range []*Images{train, heldOut} {
		if err := m.Validate(); err != nil || !slices.Equal(m.shape()[1:], []int{3, 2, 3}) {
			t.Fatalf("shape %v: %v", m.shape(), err)
		}
		for i := range m.N {
			p := m.Pixels[i*18 : (i+1)*18]
			number := p[0] / 10
			seen[number] = true
			if m.Labels[i] != int32(1-number%2) {
				t.Errorf("image %d has label %d", number, m.Labels[i])
			}
			if want := []byte{10 * number, 1, 2}; !slices.Equal(p[15:], want) {
				t.Errorf("the last pixel is %v, want %v", p[15:], want)
			}
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d different images, want 20", len(seen))
	}
	again, _, err := Load(Location{Path: dir})
	if err != nil || again.Hash() != train.Hash() {
		t.Errorf("a second time other images are held out (%v)", err)
	}
}

// Subfolders train and test are the two sets. Images of all color models without color have one
// channel.
func TestLoadFolderGray(t *testing.T) {
	dir := t.TempDir()
	gray := image.NewGray(image.Rect(0, 0, 4, 4))
	for i := range gray.Pix {
		gray.Pix[i] = 77
	}
	saveImage(t, gray, dir, "train", "x", "a.png")
	saveImage(t, painted(4, 4, plainColor(color.Gray16{Y: 0x4dff})), dir, "train", "y", "a.png")
	saveImage(t, gray, dir, "test", "x", "a.jpg")
	saveImage(t, gray, dir, "test", "y", "a.png")
	train, heldOut, err := Load(Location{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{77}, 32)
	for _, m := range []*Images{train, heldOut} {
		if m.N != 2 || m.Channels != 1 || !bytes.Equal(m.Pixels, want) || !slices.Equal(m.Labels, []int32{0, 1}) {
			t.Errorf("shape %v, labels %v, pixels %v", m.shape(), m.Labels, m.Pixels)
		}
	}
}

// A size crops the center and resizes what is left.
func TestLoadFolderSize(t *testing.T) {
	dir := t.TempDir()
	// Of 8x16 pixels the middle 8x8 is blue above and green below. The sides are red.
	at := func(x, y int) color.Color {
		switch {
		case x < 4 || x >= 12:
			return color.RGBA{R: 255, A: 255}
		case y < 4:
			return color.RGBA{B: 255, A: 255}
		}
		return color.RGBA{G: 255, A: 255}
	}
	saveImage(t, painted(8, 16, at), dir, "a.png")
	saveImage(t, painted(16, 8, func(x, y int) color.Color { return at(y, x) }), dir, "b.png") // transposed
	train, heldOut, err := Load(Location{Path: dir, Height: 2, Width: 2})
	if err != nil {
		t.Fatal(err)
	}
	blue, green := []byte{0, 0, 255}, []byte{0, 255, 0}
	wide, tall := slices.Concat(blue, blue, green, green), slices.Concat(blue, green, blue, green)
	for _, m := range []*Images{train, heldOut} {
		near := func(want []byte) bool {
			for i, p := range m.Pixels {
				if max(p, want[i])-min(p, want[i]) > 30 { // a cubic kernel mixes neighbors
					return false
				}
			}
			return true
		}
		if m.Labels != nil || !slices.Equal(m.shape(), []int{1, 2, 2, 3}) || !near(wide) && !near(tall) {
			t.Errorf("shape %v, labels %v, pixels %v", m.shape(), m.Labels, m.Pixels)
		}
	}
}

// Tar files and CSV files of paths are loaded as folders are. Bad files are left out up to a limit.
func TestLoadStreams(t *testing.T) {
	dir := t.TempDir()
	var tars [2]bytes.Buffer
	lines := "path,class\n"
	for i := range 12 {
		path := saveImage(t, painted(4, 6, plainColor(color.Gray{Y: uint8(20 * i)})), dir, "a", fmt.Sprintf("%02d.png", i))
		if i == 7 {
			if err := os.Truncate(path, 60); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines += fmt.Sprintf("a/%02d.png,%c\n", i, 'x'+i%2)
		w := tar.NewWriter(&tars[i/6])
		for name, content := range map[string]string{"png": string(raw), "cls": fmt.Sprint(i % 2)} {
			err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%02d.%s", i, name), Size: int64(len(content))})
			if err == nil {
				_, err = io.WriteString(w, content)
			}
			if err == nil {
				err = w.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, name := range []string{"train", "test"} {
		if err := os.MkdirAll(filepath.Join(dir, "tars", name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tars", name, "0.tar"), tars[i].Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "all.csv"), []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, counts := range map[string][2]int{"all.csv": {10, 1}, "tars": {6, 5}} {
		train, heldOut, err := Load(Location{Path: filepath.Join(dir, name), Height: 2, Width: 3, Skip: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]int{train.N, heldOut.N}; got != counts {
			t.Errorf("%s: %d images, want %d", name, got, counts)
		}
		if len(train.Bad) != 1 || !strings.Contains(train.Bad[0].File, "07.png") || heldOut.Bad != nil {
			t.Errorf("%s: bad files %v and %v, want 07.png", name, train.Bad, heldOut.Bad)
		}
		for _, m := range []*Images{train, heldOut} {
			if err := m.Validate(); err != nil || !slices.Equal(m.shape()[1:], []int{2, 3, 1}) {
				t.Fatalf("%s: shape %v: %v", name, m.shape(), err)
			}
			for i, k := range m.Labels {
				if level := m.Pixels[6*i]; level%20 != 0 || int32(level/20%2) != k {
					t.Errorf("%s: image of level %d has label %d", name, level, k)
				}
			}
		}
		if _, _, err := Load(Location{Path: filepath.Join(dir, name)}); err == nil || !strings.Contains(err.Error(), "07.png is no PNG image, or damaged") {
			t.Errorf("%s: error %v, want one about 07.png", name, err)
		}
	}
}

// npyFile encodes a .npy file.
func npyFile(version byte, header string, elements []byte) []byte {
	b := append([]byte(npy.Magic), version, 0)
	header += "\n"
	if version > 1 {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	}
	return append(append(b, header...), elements...)
}

func npyDict(descr, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }  ", descr, shape)
}

func TestReadNPY(t *testing.T) {
	for _, tc := range []struct {
		name           string
		images, labels []byte
		shape          []int
	}{
		{"gray", npyFile(1, npyDict("|u1", "2, 3, 4"), count(24)), npyFile(1, npyDict("<i8", "2,"), []byte{7, 1: 0, 15: 0, 9: 1}), []int{2, 3, 4, 1}},
		{"RGB", npyFile(2, npyDict("|u1", "2, 2, 2, 3"), count(24)), npyFile(1, npyDict(">i2", "2,"), []byte{0, 7, 1, 0}), []int{2, 2, 2, 3}},
		{"two channels", npyFile(3, npyDict("|u1", "2, 6, 1, 2"), count(24)), npyFile(1, npyDict("<u4", "2,"), []byte{7, 0, 0, 0, 0, 1, 0, 0}), []int{2, 6, 1, 2}},
	} {
		images, labels := writeFile(t, "x.npy", tc.images), writeFile(t, "y.npy", tc.labels)
		m, err := ReadNPY(images, labels)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if m.Validate() != nil || !slices.Equal(m.shape(), tc.shape) || !bytes.Equal(m.Pixels, count(24)) ||
			!slices.Equal(m.Labels, []int32{7, 256}) {
			t.Errorf("%s: shape %v, labels %v, pixels %v", tc.name, m.shape(), m.Labels, m.Pixels)
		}
		train, heldOut, err := Load(Location{Path: images, Labels: labels})
		if err != nil || train.N != 1 || heldOut.N != 1 || len(heldOut.Labels) != 1 {
			t.Errorf("%s: loaded %v and %v: %v", tc.name, train, heldOut, err)
		}
	}
}

// Each invalid data set is an error with the name of the file, what is wrong, and what to do.
func TestLoadRejects(t *testing.T) {
	dir := t.TempDir()
	black := painted(3, 2, plainColor(color.Black))
	folder := func(name string, paths ...string) string {
		for _, path := range paths {
			saveImage(t, black, dir, name, path)
		}
		return filepath.Join(dir, name)
	}
	file := func(name string, raw []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.npy", npyFile(1, npyDict("|u1", "2, 3, 4"), count(24)))
	array := func(name, descr, shape string, n int) Location {
		return Location{Path: file(name+".npy", npyFile(1, npyDict(descr, shape), count(n)))}
	}
	labels := func(name, descr, shape string, elements ...byte) Location {
		return Location{Path: good, Labels: file(name+".npy", npyFile(1, npyDict(descr, shape), elements))}
	}
	saveImage(t, painted(2, 3, plainColor(color.Black)), dir, "sizes", "b.png")
	file("damaged/a.png", []byte("\x89PNG\r\n\x1a\n and no more"))
	file("gif/a.gif", nil)
	file("bad/b.png", nil)
	file("bad/d.png", nil)
	if err := os.MkdirAll(filepath.Join(dir, "empty", "class"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		at   Location
		want []string
	}{
		"nothing there":      {Location{Path: filepath.Join(dir, "none")}, []string{"none", "no such file", "give a .npy file"}},
		"another file":       {Location{Path: file("a.txt", nil)}, []string{"a.txt", "not a data set", "a folder of PNG"}},
		"labels of a folder": {Location{Path: folder("plain", "a.png", "b.png"), Labels: good}, []string{"plain", "leave them out"}},
		"size of an array":   {Location{Path: good, Height: 2, Width: 2}, []string{"good.npy", "size 2x2", "leave it out"}},
		"skip of an array":   {Location{Path: good, Skip: 2}, []string{"good.npy", "skip 2", "leave it out"}},
		"size of MNIST":      {Location{Height: 2, Width: 2}, []string{"digits in the package", "leave it out"}},

		"two sizes":        {Location{Path: folder("sizes", "a.png")}, []string{"sizes/b.png has 2x3", "a.png has 3x2", "a size to crop"}},
		"damaged":          {Location{Path: folder("damaged")}, []string{"damaged/a.png", "damaged", "remove it"}},
		"GIF":              {Location{Path: folder("gif", "a.png")}, []string{"gif/a.gif", "convert it"}},
		"more damaged":     {Location{Path: folder("bad", "a.png", "c.png"), Skip: 1}, []string{"bad/d.png", "is empty"}},
		"all damaged":      {Location{Path: filepath.Join(dir, "damaged"), Skip: 1}, []string{"damaged", "no image that can be read"}},
		"no images":        {Location{Path: folder("empty")}, []string{"empty/class", "no PNG, JPEG or WebP", "add some"}},
		"one image":        {Location{Path: folder("one", "a.png")}, []string{"one", "at least two"}},
		"images beside":    {Location{Path: folder("beside", "a.png", "c/b.png")}, []string{"beside", "a.png", "move all images"}},
		"deeper":           {Location{Path: folder("deep", "c/d/b.png", "c/a.png")}, []string{"deep/c/d", "move its images"}},
		"other classes":    {Location{Path: folder("split", "train/a/a.png", "test/b/a.png")}, []string{`["a"]`, `["b"]`, "same classes"}},
		"floats":           {array("float", "<f4", "2, 3", 24), []string{"float.npy", "<f4", "astype"}},
		"objects":          {array("object", "|O", "2,", 24), []string{"object.npy", `"|O"`}},
		"a matrix":         {array("matrix", "|u1", "4, 6", 24), []string{"matrix.npy", "[4 6]", "reshape"}},
		"channels first":   {array("first", "|u1", "1, 3, 1, 8", 24), []string{"first.npy", "transpose(0, 2, 3, 1)"}},
		"zero images":      {array("zero", "|u1", "0, 3, 4", 0), []string{"zero.npy", "positive"}},
		"a huge array":     {array("huge", "|u1", "65536, 65536, 65536", 1), []string{"huge.npy", "at most"}},
		"truncated":        {array("short", "|u1", "2, 3, 4", 23), []string{"short.npy", "23 of 24 bytes"}},
		"more":             {array("long", "|u1", "2, 3, 4", 25), []string{"long.npy", "more than the 24"}},
		"no array":         {Location{Path: file("text.npy", []byte("some text"))}, []string{"text.npy", "magic", "numpy.save"}},
		"structured":       {Location{Path: file("s.npy", npyFile(1, "{'descr': [('a', '|u1')]}", nil))}, []string{"s.npy", "no plain"}},
		"Fortran order":    {Location{Path: file("f.npy", npyFile(1, strings.Replace(npyDict("|u1", "2, 3, 4"), "False", "True", 1), count(24)))}, []string{"f.npy", "ascontiguousarray"}},
		"labels of floats": {labels("l1", "<f4", "1,", 0, 0, 0, 0), []string{"l1.npy", "astype"}},
		"three labels":     {labels("l2", "|u1", "3,", 0, 1, 2), []string{"l2.npy", "3 labels", "2 images"}},
		"negative label":   {labels("l3", "|i1", "2,", 0, 255), []string{"l3.npy", "label 1 of 2"}},
		"large label":      {labels("l4", "<u4", "2,", 0, 0, 0, 0, 0, 0, 1, 0), []string{"l4.npy", "exceeds 65535"}},
	} {
		_, _, err := Load(tc.at)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(filepath.ToSlash(err.Error()), want) {
				t.Errorf("%s: error %q, want %q in it", name, err, want)
			}
		}
	}
}

func TestLocation(t *testing.T) {
	for text, want := range map[string]Location{
		"":                                {},
		"faces":                           {Path: "faces"},
		"why?/x=1":                        {Path: "why?/x=1"},
		"faces?size=24x32":                {Path: "faces", Height: 24, Width: 32},
		"a b.npy?labels=c+d%26.npy":       {Path: "a b.npy", Labels: "c d&.npy"},
		"x?labels=y.npy&size=8x8":         {Path: "x", Labels: "y.npy", Height: 8, Width: 8},
		"x?size=1x2&skip=30":              {Path: "x", Height: 1, Width: 2, Skip: 30},
		"x?size=1x1?labels=z%3Fsize%3D.n": {Path: "x?size=1x1", Labels: "z?size=.n"},
	} {
		got, err := ParseLocation(text)
		if err != nil || got != want || want.String() != text {
			t.Errorf("%q is parsed as %+v (%v), want %+v, which is written %q", text, got, err, want, want)
		}
	}
	for _, text := range []string{"x?size=0", "x?size=3x", "x?size=axb", "x?size=20000", "x?size=%zz", "x?skip=-1", "x?skip=a"} {
		if l, err := ParseLocation(text); err == nil {
			t.Errorf("%q is parsed as %+v", text, l)
		}
	}
	if h, w, err := ParseSize("32"); err != nil || h != 32 || w != 32 {
		t.Errorf("size 32 is %dx%d (%v)", h, w, err)
	}
}

// The sets of a location have the pictures that Load returns, also the held-out ones.
func TestOpenPictures(t *testing.T) {
	dir := t.TempDir()
	for i := range 23 {
		img := image.NewGray(image.Rect(0, 0, 2, 2))
		for p := range img.Pix {
			img.Pix[p] = uint8(i)
		}
		saveImage(t, img, dir, fmt.Sprint(i%3), fmt.Sprintf("%d.png", i))
	}
	l := Location{Path: dir}
	train, heldOut, err := OpenPictures(l)
	if err != nil {
		t.Fatal(err)
	}
	images, rest, err := Load(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		set  *stream.Set
		want *Images
	}{{train, images}, {heldOut, rest}} {
		levels, _, err := tc.set.Levels(t.Context(), 0, tc.set.Len(), 2, 2, 1)
		if err != nil || tc.set.Len() != tc.want.N {
			t.Fatalf("%d pictures, want %d: %v", tc.set.Len(), tc.want.N, err)
		}
		for i := range tc.want.N {
			if levels[12*i] != tc.want.Pixels[4*i] || tc.set.Class(i) != tc.want.Labels[i] {
				t.Errorf("picture %d is %d of class %d, want %d of class %d", i, levels[12*i], tc.set.Class(i),
					tc.want.Pixels[4*i], tc.want.Labels[i])
			}
		}
	}
	if train, heldOut, err := OpenPictures(Location{}); train != nil || heldOut != nil || err != nil {
		t.Errorf("digits are a set of picture files: %v", err)
	}
	if _, _, err := OpenPictures(Location{Path: filepath.Join(dir, "none")}); err == nil {
		t.Error("a missing folder is a set")
	}
}
