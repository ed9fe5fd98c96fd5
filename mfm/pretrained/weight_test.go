package pretrained_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
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

// A moving average whose names have lost their dots gets those of the other copy. A copy at the top
// has not the tensors of the copies below it.
func TestCopies(t *testing.T) {
	value := func(v float32) *tensors.Tensor { return tensors.FromValue([]float32{v}) }
	all := checkpoint.Tensors{
		"sd.net.x.w": value(1), "sd.net.b.0.w": value(2), "sd.average.netxw": value(3), "sd.average.netb0w": value(4),
		"sd.average.decay": value(5), "sd.average.nets": value(6), "x.w": value(7), "b.0.w": value(8), "sd.other": value(9),
	}
	copies := pretrained.Copies(all, "x.w")
	for prefix, want := range map[string]map[string]float32{
		"sd.net.": {"x.w": 1, "b.0.w": 2}, "sd.average.net": {"x.w": 3, "b.0.w": 4, "s": 6},
		"": {"x.w": 7, "b.0.w": 8, "sd.other": 9, "sd.average.decay": 5},
	} {
		got := make(map[string]float32)
		for name, v := range copies[prefix] {
			got[name] = tensors.MustCopyFlatData[float32](v)[0]
		}
		if !maps.Equal(got, want) {
			t.Errorf("copy %q is %v, want %v", prefix, got, want)
		}
	}
	if len(copies) != 3 {
		t.Errorf("%d copies, want 3", len(copies))
	}
	if _, prefix, err := pretrained.Choose(all, "x.w", "verage"); err == nil {
		t.Errorf("a part of a name chooses %q", prefix)
	}
	if _, _, err := pretrained.Choose(all, "y.w", ""); err == nil || !strings.Contains(err.Error(), `no tensor "y.w"`) {
		t.Errorf("no copy: %v", err)
	}
	if chosen, prefix, err := pretrained.Choose(checkpoint.Tensors{"x.w": value(1)}, "x.w", ""); err != nil || prefix != "" || len(chosen) != 1 {
		t.Errorf("the only copy: %v of %q, %v", chosen, prefix, err)
	}
}
