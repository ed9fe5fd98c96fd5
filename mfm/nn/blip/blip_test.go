package blip_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/blip"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

func small() blip.Config {
	return blip.Config{
		Image: clip.Image{Transformer: clip.Transformer{Width: 8, Depth: 1, Heads: 2, Hidden: 12}, Size: 8, Patch: 4},
		Text: clip.Text{
			Transformer: clip.Transformer{Width: 6, Depth: 1, Heads: 2, Hidden: 12}, Vocabulary: 20, Tokens: 6,
		},
	}
}

func TestValidate(t *testing.T) {
	if err := blip.Large().Validate(); err != nil {
		t.Error(err)
	}
	c := small()
	c.Text.Heads = 4
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "blip, as clip: heads must divide") {
		t.Errorf("error %v", err)
	}
}

// Checkpoints change neither features nor gradients; numbers of 16 bits change them by their
// rounding. Tokens and images both matter.
func TestEmbed(t *testing.T) {
	store := nntest.NewStore(t, 1)
	images := nntest.Wave(dtypes.Float32, 0, 2, 8, 8, 3)
	network := func(c blip.Config) func(tokens []int32) (features, gradient []float64) {
		exec, err := model.NewExec(backendtest.New(t), store, func(scope *model.Scope, x, tokens *Node) []*Node {
			e := c.Embed(scope, x, tokens)
			return []*Node{e, Gradient(ReduceAllSum(Mul(e, Cos(e))), x)[0]}
		})
		if err != nil {
			t.Fatal(err)
		}
		return func(tokens []int32) (features, gradient []float64) {
			out, err := exec.Call(images, tokens)
			if err != nil {
				t.Fatal(err)
			}
			return nntest.Flat(t, out[0]), nntest.Flat(t, out[1])
		}
	}
	relative := func(a, b []float64) float64 {
		var difference, norm float64
		for i := range a {
			difference += (a[i] - b[i]) * (a[i] - b[i])
			norm += b[i] * b[i]
		}
		return math.Sqrt(difference / norm)
	}
	plain := network(small())
	features, gradient := plain([]int32{3, 7, 19})
	checkpointed, rounded := small(), small()
	checkpointed.Checkpoint, rounded.Compute = true, nn.BFloat16
	for name, c := range map[string]struct {
		config    blip.Config
		tolerance float64
	}{"checkpointed": {checkpointed, 1e-5}, "bfloat16": {rounded, 0.1}} {
		f, g := network(c.config)([]int32{3, 7, 19})
		if a, b := relative(f, features), relative(g, gradient); !(a <= c.tolerance && b <= c.tolerance) {
			t.Errorf("%s: relative errors %.3g and %.3g", name, a, b)
		}
	}
	if other, _ := plain([]int32{3, 8, 19}); relative(other, features) < 1e-3 {
		t.Error("another token changes nothing")
	}
	if n := len(features) / 2; relative(features[:n], features[n:]) < 1e-3 {
		t.Error("another image changes nothing")
	}
}
