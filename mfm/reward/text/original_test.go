package text_test

import (
	"image"
	"math"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/clip"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/text"
)

// The score of a picture of 8 bits is the reward of what the original prepares of it, by
// transformers, torchvision or HPSv2's code. That of the graph differs by the rounding.
func TestOriginals(t *testing.T) {
	all, prompts, templates := references(t)
	const name = "wide"
	of := all[name+".pixels"]
	levels, height, width := tensors.MustCopyFlatData[float32](of), of.Shape().Dim(0), of.Shape().Dim(1)
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	pixels := make([]float32, len(levels))
	for i, v := range levels {
		picture.Pix[i/3*4+i%3], picture.Pix[i/3*4+3] = uint8(v), 0xff
		pixels[i] = v/127.5 - 1
	}
	p, b := parser(t), backendtest.New(t)
	specs := specs(t, prompts, templates)
	for kind, prepared := range map[string]string{
		"clip_relevance": "shortest", "pickscore": "shortest", "hps": "longest", "aesthetic": "shortest_rounded",
		"clip_relevance_openclip": "shortest_rounded", "text_match": "shortest", "image_reward": "shortest_rounded",
	} {
		t.Run(kind, func(t *testing.T) {
			var r reward.Reward
			var err error
			if kind == "image_reward" {
				r, err = text.OpenImageReward(filepath.Join("testdata", "image_reward.pt"), words, small(), prompts[0])
			} else {
				r, err = p.Parse([]byte(specs[kind]))
			}
			if err != nil {
				t.Fatal(err)
			}
			original, is := r.(reward.Original)
			if !is {
				t.Fatalf("%T is no reward.Original", r)
			}
			scorer, err := reward.NewScorer(b, original)
			if err != nil {
				t.Fatal(err)
			}
			defer scorer.Finalize()
			got, err := scorer.Score(picture)
			if err != nil {
				t.Fatal(err)
			}
			exec, err := model.NewExec(b, model.NewStore(), func(root *model.Scope, x []*Node) []*Node {
				square := clip.Denormalize(TransposeAllAxes(x[0], 0, 2, 3, 1))
				return []*Node{
					original.BuildPrepared(root.Store().Scope(reward.Scope), square), reward.Values(r, x[1], reward.Condition{}),
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			out, err := exec.Call(all[name+"."+prepared+".rounded"], tensors.FromFlatDataAndDimensions(pixels, 1, height, width, 3))
			if err != nil {
				t.Fatal(err)
			}
			want := float64(tensors.MustCopyFlatData[float32](out[0])[0])
			graph := float64(tensors.MustCopyFlatData[float32](out[1])[0])
			if !(math.Abs(got[0]-want) <= 1e-4*math.Abs(want)) {
				t.Errorf("%g, what the original prepares has %g", got[0], want)
			}
			if graph == got[0] {
				t.Errorf("both forms have %g: the picture is not rounded", graph)
			}
			t.Logf("score %.6g, with the original's picture %.6g, by the graph %.6g", got[0], want, graph)
			host, err := scorer.Host()(pixels, []int{1, height, width, 3})
			if err != nil || host[0] != got[0] {
				t.Errorf("as a black box: %v, %v", host, err)
			}
		})
	}
}
