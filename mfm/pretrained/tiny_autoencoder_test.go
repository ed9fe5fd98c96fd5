package pretrained_test

import (
	"bytes"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// pictures returns the first n pictures below a folder as [n, 64, 64, 3] in [-1, 1].
func pictures(t *testing.T, dir string, n int) *tensors.Tensor {
	t.Helper()
	var pixels []float32
	count := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || count == n || strings.HasSuffix(path, ".md") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		img, err := imagefile.Decode(raw)
		if err != nil {
			return nil
		}
		for y := range 64 {
			for x := range 64 {
				r, g, b, _ := img.At(x, y).RGBA()
				for _, v := range []uint32{r, g, b} {
					pixels = append(pixels, float32(v>>8)/127.5-1)
				}
			}
		}
		count++
		return nil
	})
	if err != nil || count < n {
		t.Skipf("%d pictures: %v", count, err)
	}
	return tensors.FromFlatDataAndDimensions(pixels, n, 64, 64, 3)
}

func TestTinyAutoencoderReconstructsPictures(t *testing.T) {
	a := nn.FLUX2TinyAutoencoder()
	store := model.NewStore()
	for part, parameters := range map[string][]pretrained.Weight{
		"encoder": pretrained.TinyEncoderWeights(a), "decoder": pretrained.TinyDecoderWeights(a),
	} {
		file, err := os.ReadFile(shared(t, "weights", "taef2_"+part+".pth"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := pretrained.ReadTorch(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		weights, err := pretrained.Import(raw, parameters)
		if err != nil {
			t.Fatal(err)
		}
		if err := pretrained.Load(store, model.RootScopePath, weights); err != nil {
			t.Fatal(err)
		}
	}
	images := pictures(t, shared(t, "data", "imagenet64"), 32)
	exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x *Node) []*Node {
		z := a.Latent(scope, x)
		decoded := ClipScalar(a.Decode(scope, z), -1, 1)
		square := ReduceMean(Square(DivScalar(Sub(decoded, x), 2)), 1, 2, 3)
		return []*Node{square, Sqrt(ReduceAllMean(Square(Sub(z, ReduceAllMean(z)))))}
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call(images)
	if err != nil {
		t.Fatal(err)
	}
	var psnr float64
	for _, square := range tensors.MustCopyFlatData[float32](out[0]) {
		psnr -= 10 * math.Log10(float64(square)) / 32
	}
	t.Logf("PSNR %.2f dB, standard deviation of the latents %.3f", psnr, tensors.ToScalar[float32](out[1]))
	const original = 26.24 // of the original module on these pictures
	if math.Abs(psnr-original) > 0.05 {
		t.Errorf("mean PSNR %.2f dB, the original has %g", psnr, original)
	}
}
