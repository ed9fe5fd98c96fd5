package text_test

import (
	"fmt"
	"maps"
	"path/filepath"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/text"
)

// A parser that knows the rewards of this package reads one from JSON. Here the weights are random.
func ExampleLoader() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	vocabulary := filepath.Join("..", "..", "nn", "clip", "bpe", "testdata", "tiny_vocabulary.txt")
	p := reward.Parser{Kinds: reward.Kinds()}
	maps.Copy(p.Kinds, text.Loader{Backend: b, Vocabulary: vocabulary}.Kinds())
	r, err := p.Parse([]byte(`{"kind": "text_match", "prompt": "a cat", "others": ["a dog"],
		"weights": "testdata/transformers"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	exec, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, images *Node) *Node {
		return Exp(reward.Values(r, images, reward.Condition{}))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	gray := tensors.FromShape(shapes.Make(dtypes.Float32, 1, 20, 30, 3))
	probability, err := exec.Call1(gray)
	fmt.Printf("%.2f %v\n", tensors.MustCopyFlatData[float32](probability), err)
	// Output: [0.85] <nil>
}
