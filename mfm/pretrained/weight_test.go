package pretrained_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// Export is the inverse of Import, for every layout.
func TestExport(t *testing.T) {
	list := []pretrained.Weight{
		{File: "a", Path: "/a", Layout: pretrained.Same, Shape: []int{2, 3}},
		{File: "b", Path: "/b", Layout: pretrained.Linear, Shape: []int{2, 3}},
		{File: "c", Path: "/c", Layout: pretrained.Convolution, Shape: []int{2, 3, 4, 5}},
		{File: "d", Path: "/d", Layout: pretrained.PatchEmbedding, Shape: []int{2, 3, 4, 5}},
	}
	from := make(checkpoint.Tensors)
	for _, w := range list {
		size := 1
		for _, n := range w.Shape {
			size *= n
		}
		from[w.File] = tensors.FromFlatDataAndDimensions(count(size), w.Shape...)
	}
	ours, err := pretrained.Import(from, list)
	if err != nil {
		t.Fatal(err)
	}
	// Element [o, i, y, x] of a convolution is [y, x, i, o] here.
	if got := ours["/c"].Shape().Dimensions; !slices.Equal(got, []int{4, 5, 3, 2}) {
		t.Errorf("a convolution has shape %v", got)
	}
	if v := tensors.MustCopyFlatData[float32](ours["/c"])[((1*5+2)*3+1)*2+1]; v != ((1*3+1)*4+1)*5+2 {
		t.Errorf("element [1, 1, 1, 2] of the convolution is %g", v)
	}
	back, err := pretrained.Export(ours, list)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range from {
		if !back[name].Equal(want) {
			t.Errorf("%s is %v, want %v", name, back[name], want)
		}
	}
	delete(ours, "/b")
	if _, err := pretrained.Export(ours, list); err == nil {
		t.Error("a variable that is missing is exported")
	}
}

// A file with two copies of the weights has two prefixes.
func TestPrefixes(t *testing.T) {
	all, _, err := pretrained.Open(filepath.Join("testdata", "dit_qk_norm.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	copies := make(checkpoint.Tensors)
	for name, value := range pretrained.Below(all, "weight.") {
		copies["ema."+name], copies[name] = value, value
	}
	c := nn.DiTConfig{Patch: 2, Width: 16, Depth: 2, Encoder: 1, Heads: 2, Classes: 2, Guidance: []float64{2, 3},
		ContextGuidance: []float64{1.5}, QKNorm: true}
	list := pretrained.DiTWeights(c, 3)
	if got := pretrained.Prefixes(copies, list); !slices.Equal(got, []string{"", "ema."}) {
		t.Errorf("prefixes %q", got)
	}
	delete(copies, "ema.final_layer.linear.bias")
	if got := pretrained.Prefixes(copies, list); !slices.Equal(got, []string{""}) {
		t.Errorf("prefixes %q of a copy that is not whole", got)
	}
}
