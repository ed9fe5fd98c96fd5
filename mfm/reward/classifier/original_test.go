package classifier_test

import (
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// The scores of a PNG are the rewards of what TensorFlow's evaluation prepares of it.
func TestOriginals(t *testing.T) {
	dir := filepath.Join("..", "..", "nn", "preprocess", "testdata")
	all, _, err := checkpoint.ReadFile(filepath.Join(dir, "efficientnet.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "wide.png"))
	var picture *image.RGBA
	if err == nil {
		picture, err = imagefile.Decode(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := tiny(t)
	c.Size = 16
	for path, w := range c.Weights {
		flat := tensors.MustCopyFlatData[float64](w)
		single := make([]float32, len(flat))
		for i, v := range flat {
			single[i] = float32(v)
		}
		c.Weights[path] = tensors.FromFlatDataAndDimensions(single, w.Shape().Dimensions...)
	}
	prepared := tensors.MustCopyFlatData[float32](all["wide.16"])
	for i, v := range prepared {
		prepared[i] = (v*128+127)/127.5 - 1
	}
	b := backendtest.New(t)
	exec, err := model.NewExec(b, model.NewStore(), func(root *model.Scope, x *Node) []*Node {
		reward.SetWeights(root, c.Weights)
		_, logits := c.Network.Evaluate(root, x)
		return []*Node{SliceAxis(LogSoftmax(logits), 1, AxisElem(1)), Log(ReduceSum(Exp(logits), 1))}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(prepared, 1, 16, 16, 3))
	if err != nil {
		t.Fatal(err)
	}
	class, err := c.LogProbability(1)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range []reward.Original{class, c.Energy()} {
		scorer, err := reward.NewScorer(b, r)
		if err != nil {
			t.Fatal(err)
		}
		defer scorer.Finalize()
		got, err := scorer.Score(picture, picture)
		if err != nil {
			t.Fatal(err)
		}
		want := float64(tensors.MustCopyFlatData[float32](out[i])[0])
		if !(math.Abs(got[0]-want) <= 1e-4*math.Abs(want)) || got[1] != got[0] {
			t.Errorf("scores %v, of what TensorFlow prepares %g", got, want)
		}
	}
}
