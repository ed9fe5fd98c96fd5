package pretrained_test

import (
	"fmt"
	"path/filepath"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/train"
)

// A transformer's weights lie below the prefix "weight." of a file, and become the weights of a
// map.
func ExampleImportDiT() {
	tensors, _, err := pretrained.Open(filepath.Join("testdata", "dit_qk_norm.safetensors"))
	if err != nil {
		fmt.Println(err)
		return
	}
	config := nn.DiTConfig{
		Patch: 2, Width: 16, Depth: 2, Encoder: 1, Heads: 2, Classes: 2, Guidance: []float64{2, 3},
		ContextGuidance: []float64{1.5}, QKNorm: true, BlindAtZero: true, Reversed: true,
	}
	const channels = 3
	transformer, prefix, err := pretrained.Choose(tensors, pretrained.DiTAnchor, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	weights, err := pretrained.ImportDiT(transformer, config, channels)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := model.NewStore()
	if err := pretrained.Load(store, train.WeightsScope, weights); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(prefix, len(weights), "weights")
	// Output:
	// weight. 60 weights
}
