package text

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn/clip"
)

// pictures are the names of pictures in references.safetensors: two of which an odd number of
// pixels is cut off, a square one and one that is enlarged.
var pictures = []string{"wide", "high", "square", "small"}

// references reads references.safetensors.
func references(t *testing.T) checkpoint.Tensors {
	t.Helper()
	all, _, err := checkpoint.ReadFile(filepath.Join("testdata", "references.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// picture returns a picture [1, height, width, 3] in [-1, 1].
func picture(t *testing.T, all checkpoint.Tensors, name string) *tensors.Tensor {
	t.Helper()
	levels := all[name+".pixels"]
	flat := tensors.MustCopyFlatData[float32](levels)
	for i, v := range flat {
		flat[i] = v/127.5 - 1
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{1}, levels.Shape().Dimensions...)...)
}

// Prepared pictures are those of PIL on floating-point numbers, and differ from what the originals
// prepare by the rounding to 8 bits alone.
func TestFit(t *testing.T) {
	all := references(t)
	const side = 16
	var largest, squares, count float64
	for _, name := range pictures {
		for f, of := range map[fit]string{shortest: "shortest", shortestRounded: "shortest_rounded", longest: "longest"} {
			exec, err := NewExec(backendtest.New(t), func(x *Node) *Node {
				return TransposeAllAxes(clip.Normalize(f.apply(x, side)), 0, 3, 1, 2)
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Call1(picture(t, all, name))
			if err != nil {
				t.Fatal(err)
			}
			got := tensors.MustCopyFlatData[float32](out)
			key := fmt.Sprintf("%s.%s.", name, of)
			prepared := tensors.MustCopyFlatData[float32](all[key+"prepared"])
			rounded := tensors.MustCopyFlatData[float32](all[key+"rounded"])
			if len(got) != len(prepared) || len(got) != len(rounded) {
				t.Fatalf("%s: %d colors, want %d", key, len(got), len(prepared))
			}
			for i, v := range got {
				if d := math.Abs(float64(v - prepared[i])); !(d <= 1e-5) {
					t.Fatalf("%s: color %d is %g, by PIL %g", key, i, v, prepared[i])
				}
				// A level is 1/255 of the colors' range, in units of their standard deviation.
				levels := math.Abs(float64(v-rounded[i])) * 255 * []float64{0.26862954, 0.26130258, 0.27577711}[i/(side*side)]
				largest = max(largest, levels)
				squares += levels * levels
				count++
			}
		}
	}
	mean := math.Sqrt(squares / count)
	t.Logf("rounding to 8 bits: at most %.2f levels, %.2f in the root mean square", largest, mean)
	if largest > 1.2 || mean > 0.4 || mean < 0.2 {
		t.Errorf("at most %.2f levels, %.2f in the root mean square: more than the rounding", largest, mean)
	}
}
