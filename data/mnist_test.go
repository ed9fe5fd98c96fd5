package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fashionDir is where Debian's package dataset-fashion-mnist installs its four files.
const fashionDir = "/usr/share/datasets/fashion-mnist"

func TestMNIST(t *testing.T) {
	train, heldOut, err := MNIST()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		m      *Images
		counts []int
	}{
		{"train", train, []int{899, 1001, 896, 933, 882, 778, 910, 965, 856, 880}},
		{"held out", heldOut, []int{102, 126, 95, 99, 98, 85, 104, 105, 88, 98}},
	} {
		if err := tc.m.Validate(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.m.Height != 28 || tc.m.Width != 28 || tc.m.Channels != 1 {
			t.Errorf("%s: shape %v", tc.name, tc.m.shape())
		}
		counts, err := tc.m.ClassCounts(10)
		if err != nil || !slices.Equal(counts, tc.counts) {
			t.Errorf("%s: class counts %v, %v, want %v", tc.name, counts, err, tc.counts)
		}
		variance, err := tc.m.Variance(train.Mean())
		if err != nil || math.Abs(variance-0.269) > 0.002 {
			t.Errorf("%s: variance %g, %v, want 0.269", tc.name, variance, err)
		}
	}
	seen := map[string]bool{}
	for i := range train.N {
		seen[string(train.Pixels[784*i:784*(i+1)])] = true
	}
	for i := range heldOut.N {
		if seen[string(heldOut.Pixels[784*i:784*(i+1)])] {
			t.Errorf("held-out digit %d is a training digit too", i)
		}
	}
}

// The checksums in mnist/README.md are right.
func TestMNISTReadme(t *testing.T) {
	readme, err := os.ReadFile("mnist/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("mnist/*.gz")
	if err != nil || len(files) != 4 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, file := range files {
		sum, err := FileSHA256(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(readme, fmt.Appendf(nil, "| %s |", sum)) {
			t.Errorf("%s has SHA-256 %s, which is missing in the README", file, sum)
		}
	}
}

// writeMNIST writes four files in the form of MNIST, with images of 28x28 pixels.
func writeMNIST(t *testing.T, suffix string, train, heldOut int, encode func([]byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	for set, n := range map[string]int{"train": train, "t10k": heldOut} {
		labels := make([]byte, n)
		for i := range labels {
			labels[i] = byte(i % 10)
		}
		for name, content := range map[string][]byte{
			"-images-idx3-ubyte": idx([]uint32{uint32(n), 28, 28}, count(784*n)),
			"-labels-idx1-ubyte": idx([]uint32{uint32(n)}, labels),
		} {
			if err := os.WriteFile(filepath.Join(dir, set+name+suffix), encode(content), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func plain(b []byte) []byte { return b }

func TestLoadMNIST(t *testing.T) {
	for name, dir := range map[string]string{
		"gzip as Fashion-MNIST": writeMNIST(t, ".gz", 60, 10, gz),
		"plain":                 writeMNIST(t, "", 60, 10, plain),
		"plain named .gz":       writeMNIST(t, ".gz", 60, 10, plain),
	} {
		train, heldOut, err := LoadMNIST(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if train.N != 60 || heldOut.N != 10 || train.Dim() != 784 || heldOut.Labels[9] != 9 ||
			!bytes.Equal(train.Pixels, count(784*60)) {
			t.Errorf("%s: read %v and %v", name, train.shape(), heldOut.shape())
		}
	}
}

func TestLoadMNISTRejects(t *testing.T) {
	for _, tc := range []struct {
		name, file string // the error names file
		content    []byte // replaces file; nil removes it
		want       string
	}{
		{"missing", "t10k-labels-idx1-ubyte", nil, "neither"},
		{"label 10", "train-labels-idx1-ubyte", idx([]uint32{3}, []byte{1, 10, 2}), "label 1 of 3 is 10, want 0 to 9"},
		{"counts", "train-labels-idx1-ubyte", idx([]uint32{2}, []byte{1, 2}), "2 labels"},
		{"sizes", "t10k-images-idx3-ubyte", idx([]uint32{3, 28, 27}, count(3*28*27)),
			"28x28 pixels but held-out images of 28x27"},
		{"damaged", "t10k-images-idx3-ubyte", []byte("not this"), "starts with 6e 6f 74 20"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeMNIST(t, "", 3, 3, plain)
			path := filepath.Join(dir, tc.file)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			named := path
			if tc.name == "sizes" {
				named = dir
			}
			if tc.content != nil {
				if err := os.WriteFile(path, tc.content, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := LoadMNIST(dir)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), named) {
				t.Errorf("error %v, want %q and %q", err, tc.want, named)
			}
			if tc.content == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %q is not fs.ErrNotExist", err)
			}
		})
	}
}

// The real Fashion-MNIST, if Debian's package is installed.
func TestFashionMNIST(t *testing.T) {
	if _, err := os.Stat(fashionDir); err != nil {
		t.Skip("dataset-fashion-mnist is not installed")
	}
	train, heldOut, err := LoadMNIST(fashionDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		m *Images
		n int
	}{{train, 60000}, {heldOut, 10000}} {
		counts, err := tc.m.ClassCounts(10)
		if err != nil || tc.m.N != tc.n || tc.m.Dim() != 784 {
			t.Fatalf("shape %v, %v", tc.m.shape(), err)
		}
		for c, n := range counts {
			if n != tc.n/10 { // all classes have the same size by design
				t.Errorf("class %d has %d of %d images", c, n, tc.n)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	images := writeFile(t, "images", idx([]uint32{4, 1, 2}, []byte{0, 255, 255, 255, 0, 255, 255, 255}))
	labels := writeFile(t, "labels", gz(idx([]uint32{4}, []byte{2, 0, 2, 2})))
	s, err := Inspect(images, labels)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	// The first pixel is -1, 1, -1, 1; the second is always 1.
	if want := `{"count":4,"shape":[1,2,1],"class_counts":[1,0,3],"mean":0.5,"variance":0.5}`; string(got) != want {
		t.Errorf("summary %s, want %s", got, want)
	}
	if _, err := Inspect(labels, images); err == nil {
		t.Error("no error for a swapped pair")
	}
	if _, err := new(Images).Summary(); err == nil {
		t.Error("no error for images without a pixel")
	}
}

func TestMNISTFiles(t *testing.T) {
	const public = "https://ossci-datasets.s3.amazonaws.com/mnist/ https://storage.googleapis.com/cvdf-datasets/mnist/"
	for mirrors, files := range map[string][]File{
		public:         MNISTFiles(),
		"http://here/": MNISTFiles("http://here/"),
	} {
		total := int64(0)
		for _, file := range files {
			if err := file.check(); err != nil {
				t.Error(err)
			}
			total += file.Size
			var want []string
			for base := range strings.FieldsSeq(mirrors) {
				want = append(want, base+file.Name)
			}
			if !slices.Equal(file.URLs, want) {
				t.Errorf("%s comes from %v, want %v", file.Name, file.URLs, want)
			}
		}
		if len(files) != 4 || total != 11594722 {
			t.Errorf("%d files of %d bytes in total", len(files), total)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "cache"))
	dir, err := DefaultDir()
	if cache, _ := os.UserCacheDir(); err != nil || cache != "" && dir != filepath.Join(cache, "gomfm") {
		t.Errorf("%q, %v", dir, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was created: %v", dir, err)
	}
}

// The URL of a mirror ends with a slash or not.
func TestMNISTFilesOfAMirror(t *testing.T) {
	const want = "http://host/mnist/train-images-idx3-ubyte.gz"
	for _, base := range []string{"http://host/mnist/", "http://host/mnist"} {
		if got := MNISTFiles(base)[0].URLs; !slices.Equal(got, []string{want}) {
			t.Errorf("mirror %s: URLs %q, want %q", base, got, want)
		}
	}
}
