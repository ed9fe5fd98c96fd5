// Package pretrained imports the weights of published networks: [Open] reads safetensors, files of
// torch.save and of NumPy, [Import] maps their names and layouts to the variables of package nn,
// [Convert] does so for a whole network, [Release] downloads one, and [Parity] compares a network
// with its original.
//
// A network's list of [Weight], such as [DiTWeights], is the one place that knows both names.
// [Import] and [Export] move tensors along such a list. A tensor that is missing, superfluous or of
// another shape or type is an error that names it.
package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/reclaim"
)

// Layout is the order of the axes of a tensor in a file of PyTorch, with its order here.
type Layout int

const (
	// Same keeps the axes.
	Same Layout = iota
	// Linear is [out, in], here [in, out].
	Linear
	// Convolution is [out, in, height, width], here [height, width, in, out].
	Convolution
	// PatchEmbedding is a convolution whose stride is its size, here the linear layer
	// [height·width·in, out] on the pixels of a patch.
	PatchEmbedding
)

// Weight is a tensor in a file and the variable that it is here.
type Weight struct {
	File   string // name in the file, such as "blocks.0.attn.qkv.weight"
	Path   string // path of the variable below the network's scope, such as "block_0/attention/qkv/weights"
	Layout Layout
	Shape  []int // of the tensor in the file
}

// Import returns the variables of a network, by their paths, from the tensors of a file. float16
// and bfloat16 become float32. If the tensors are not exactly those of the list, the error lists
// each that is missing, unexpected or of another shape.
func Import(from checkpoint.Tensors, weights []Weight) (checkpoint.Tensors, error) {
	return imported(from, weights, false)
}

// imported is Import. If move is set, it frees each tensor that it has read, so that there is no
// second copy of the weights.
func imported(from checkpoint.Tensors, weights []Weight, move bool) (checkpoint.Tensors, error) {
	var problems, unexpected []error
	known := make(map[string]bool, len(weights))
	left := make(map[*tensors.Tensor]int) // names of a tensor that have not been read; some share one
	for _, p := range weights {
		known[p.File] = true
		left[from[p.File]]++
	}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if !known[name] {
			unexpected = append(unexpected, fmt.Errorf("tensor %q %v is unexpected", name, from[name].Shape().Dimensions))
		}
	}
	var memory reclaim.Memory
	to := make(checkpoint.Tensors, len(weights))
	for _, p := range weights {
		t, ok := from[p.File]
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("tensor %q %v is missing", p.File, p.Shape))
		case !slices.Equal(t.Shape().Dimensions, p.Shape):
			problems = append(problems, fmt.Errorf("tensor %q is %v, want %v", p.File, t.Shape().Dimensions, p.Shape))
		default:
			order, dims := p.Layout.order(p.Shape)
			permuted, err := permute(t, p.Shape, order, dims)
			if left[t]--; err == nil && move && left[t] == 0 {
				err = memory.Free(t)
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("tensor %q: %w", p.File, err))
				continue
			}
			to[p.Path] = permuted
		}
	}
	if problems = append(problems, unexpected...); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return to, nil
}

// Export returns the tensors of a file from the variables of a network, the inverse of [Import]. It
// returns an error if a variable is missing or of another shape.
func Export(from checkpoint.Tensors, weights []Weight) (checkpoint.Tensors, error) {
	to := make(checkpoint.Tensors, len(weights))
	for _, p := range weights {
		order, dims := p.Layout.order(p.Shape)
		t, ok := from[p.Path]
		if !ok || !slices.Equal(t.Shape().Dimensions, dims) {
			return nil, fmt.Errorf("variable %q %v is missing or has another shape", p.Path, dims)
		}
		// Undo the permutation on the axes before they were merged.
		permuted, inverse := make([]int, len(order)), make([]int, len(order))
		for i, axis := range order {
			permuted[i], inverse[axis] = p.Shape[axis], i
		}
		var err error
		if to[p.File], err = permute(t, permuted, inverse, p.Shape); err != nil {
			return nil, fmt.Errorf("variable %q: %w", p.Path, err)
		}
	}
	return to, nil
}

// Load creates the variables of a network below the scope of the given path, such as
// [train.WeightsScope], with the weights of [Import]. It returns an error if one exists already.
func Load(store *model.Store, scope string, weights checkpoint.Tensors) error {
	for path, value := range weights {
		if _, err := store.CreateVariable(model.JoinPath(scope, path), value); err != nil {
			return fmt.Errorf("weights %q: %w", path, err)
		}
	}
	return nil
}

// order returns the permutation of the file's axes that gives the axes here, and the dimensions
// here.
func (l Layout) order(shape []int) (order, dims []int) {
	switch l {
	case Linear:
		return []int{1, 0}, []int{shape[1], shape[0]}
	case Convolution:
		return []int{2, 3, 1, 0}, []int{shape[2], shape[3], shape[1], shape[0]}
	case PatchEmbedding:
		return []int{2, 3, 1, 0}, []int{shape[2] * shape[3] * shape[1], shape[0]}
	}
	for axis := range shape {
		order = append(order, axis)
	}
	return order, slices.Clone(shape)
}

// permute returns a tensor of float32 with the dimensions dims, whose elements are those of t, of
// the given shape, with its axes in the given order.
func permute(t *tensors.Tensor, shape, order, dims []int) (*tensors.Tensor, error) {
	strides := make([]int, len(shape))
	for axis, stride := len(shape)-1, 1; axis >= 0; axis-- {
		strides[axis], stride = stride, stride*shape[axis]
	}
	to := tensors.FromShape(shapes.Make(dtypes.Float32, dims...))
	err := withFloat32s(t, func(values []float32) {
		tensors.MustMutableFlatData(to, func(result []float32) {
			at := 0
			var walk func(axis, offset int)
			walk = func(axis, offset int) {
				if axis == len(order) {
					result[at] = values[offset]
					at++
					return
				}
				for i := range shape[order[axis]] {
					walk(axis+1, offset+i*strides[order[axis]])
				}
			}
			walk(0, 0)
		})
	})
	return to, err
}

// withFloat32s calls do with the elements of a tensor of floating-point numbers, which do must not
// change. It copies those of other types than float32.
func withFloat32s(t *tensors.Tensor, do func([]float32)) error {
	if t.DType() == dtypes.Float32 {
		return tensors.ConstFlatData(t, do)
	}
	values, err := float32s(t)
	if err == nil {
		do(values)
	}
	return err
}

// float32s returns the elements of a tensor of floating-point numbers.
func float32s(t *tensors.Tensor) ([]float32, error) {
	switch t.DType() {
	case dtypes.Float32:
		return tensors.CopyFlatData[float32](t)
	case dtypes.Float64, dtypes.Float16, dtypes.BFloat16:
		return converted(t)
	}
	return nil, fmt.Errorf("its type is %s, want floating-point numbers", t.DType())
}

// converted returns the elements of a tensor of float64, float16 or bfloat16 as float32.
func converted(t *tensors.Tensor) ([]float32, error) {
	switch t.DType() {
	case dtypes.Float64:
		flat, err := tensors.CopyFlatData[float64](t)
		return each(flat, func(v float64) float32 { return float32(v) }), err
	case dtypes.Float16:
		flat, err := tensors.CopyFlatData[float16.Float16](t)
		return each(flat, float16.Float16.Float32), err
	default:
		flat, err := tensors.CopyFlatData[bfloat16.BFloat16](t)
		return each(flat, bfloat16.BFloat16.Float32), err
	}
}

func each[T any](from []T, f func(T) float32) []float32 {
	to := make([]float32, len(from))
	for i, v := range from {
		to[i] = f(v)
	}
	return to
}
