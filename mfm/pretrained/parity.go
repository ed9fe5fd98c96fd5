package pretrained

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/reclaim"
)

// Reference is a file of reference values of an original implementation: its configuration as
// metadata, its weights ("weight.*"), inputs ("in.*") and outputs ("out.*"). A name without one of
// these prefixes is an input, and "drift" an output. Images are [batch, channels, height, width].
type Reference struct {
	Metadata         map[string]string
	Weights, In, Out checkpoint.Tensors
}

// parityKind compares one kind of network with its original.
type parityKind struct {
	name   string
	inputs []string // those that a reference must have
	// recognizes reports whether a reference is of this kind.
	recognizes func(r *Reference) bool
	// network returns the network's weights, by their paths, and a function that builds the outputs of
	// the given names.
	network func(r *Reference) (checkpoint.Tensors, outputs, error)
}

// outputs builds each output by its name from the inputs by theirs. It returns nil for a name that
// it does not know.
type outputs func(scope *model.Scope, in map[string]*Node) func(name string) *Node

// parityKinds returns the kinds in the order in which they are tried.
func parityKinds() []parityKind {
	return []parityKind{
		transformerParity, sitParity, autoencoderParity, efficientNetParity, inceptionParity, clipParity,
		driftParity,
	}
}

// ReadReference reads a file of reference values.
func ReadReference(path string) (*Reference, error) {
	all, metadata, err := checkpoint.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Reference{metadata, checkpoint.Tensors{}, checkpoint.Tensors{}, checkpoint.Tensors{}}
	groups := map[string]checkpoint.Tensors{"weight": r.Weights, "in": r.In, "out": r.Out}
	for name, t := range all {
		group, rest, found := strings.Cut(name, ".")
		switch to := groups[group]; {
		case found && to != nil:
			to[rest] = t
		case name == "drift":
			r.Out[name] = t
		default:
			r.In[name] = t
		}
	}
	if len(r.Out) == 0 {
		return nil, fmt.Errorf("%s has no tensor out.*: not a file of reference values", path)
	}
	return r, nil
}

// Kind returns the name of the kind of a reference's network, such as "transformer". It returns an
// error if the kind is unknown.
func (r *Reference) Kind() (string, error) {
	kind, err := r.kind()
	return kind.name, err
}

func (r *Reference) kind() (parityKind, error) {
	var names []string
	for _, kind := range parityKinds() {
		if kind.recognizes(r) {
			return kind, nil
		}
		names = append(names, kind.name)
	}
	return parityKind{}, fmt.Errorf("the kind of network is unknown: its metadata and names are not those of one of %v",
		names)
}

// Parity runs the network of a reference and returns, for each of its outputs, the relative error
// |ours - original|/|original| in the Euclidean norm over all elements, or |ours| if the original
// is zero. It returns an error if the kind of network is unknown, or if a weight or input is
// missing. Weights of a transformer are freed as they are read, so that r.Weights cannot be used
// again.
func Parity(backend compute.Backend, r *Reference) (map[string]float64, error) {
	kind, err := r.kind()
	if err != nil {
		return nil, err
	}
	errs, err := parity(backend, r, kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, err)
	}
	return errs, nil
}

func parity(backend compute.Backend, r *Reference, kind parityKind) (map[string]float64, error) {
	for _, name := range kind.inputs {
		if r.In[name] == nil {
			return nil, fmt.Errorf("input %q is missing", name)
		}
	}
	weights, build, err := kind.network(r)
	if err != nil {
		return nil, err
	}
	var memory reclaim.Memory
	for path, w := range weights { // one by one, so that there is no second copy of all
		if err := w.ToDevice(backend, 0); err != nil {
			return nil, fmt.Errorf("weights %q: %w", path, err)
		}
		memory.Add(w.Shape().ByteSize())
	}
	store := model.NewStore()
	if err := Load(store, model.RootScopePath, weights); err != nil {
		return nil, err
	}
	inNames, outNames := slices.Sorted(maps.Keys(r.In)), slices.Sorted(maps.Keys(r.Out))
	exec, err := model.NewExec(backend, store, func(scope *model.Scope, x []*Node) []*Node {
		in := make(map[string]*Node, len(x))
		for i, name := range inNames {
			in[name] = x[i]
		}
		output := build(scope, in)
		var out []*Node
		for _, name := range outNames {
			node := output(name)
			if node == nil {
				panic(fmt.Errorf("output %q is unknown for this kind of network", name))
			}
			out = append(out, node)
		}
		return out
	})
	if err != nil {
		return nil, err
	}
	defer exec.Finalize()
	var args []any
	for _, name := range inNames {
		args = append(args, r.In[name])
	}
	ours, err := exec.Call(args...)
	if err != nil {
		return nil, err
	}
	errs := make(map[string]float64, len(ours))
	for i, name := range outNames {
		if errs[name], err = relativeError(ours[i], r.Out[name]); err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
	}
	return errs, nil
}

// relativeError returns |got - want|/|want|, in float64.
func relativeError(got, want *tensors.Tensor) (float64, error) {
	if !slices.Equal(got.Shape().Dimensions, want.Shape().Dimensions) {
		return 0, fmt.Errorf("ours is %s, the original's %s", got.Shape(), want.Shape())
	}
	a, err := float64s(got)
	b, err2 := float64s(want)
	if err := errors.Join(err, err2); err != nil {
		return 0, err
	}
	var difference, norm float64
	for i := range a {
		difference += (a[i] - b[i]) * (a[i] - b[i])
		norm += b[i] * b[i]
	}
	if norm == 0 {
		return math.Sqrt(difference), nil
	}
	return math.Sqrt(difference / norm), nil
}

func float64s(t *tensors.Tensor) ([]float64, error) {
	if t.DType() == dtypes.Float64 {
		return tensors.CopyFlatData[float64](t)
	}
	flat, err := float32s(t)
	wide := make([]float64, len(flat))
	for i, v := range flat {
		wide[i] = float64(v)
	}
	return wide, err
}

// channelsLast and channelsFirst convert images between the file's order and ours.
func channelsLast(x *Node) *Node  { return TransposeAllAxes(x, 0, 2, 3, 1) }
func channelsFirst(x *Node) *Node { return TransposeAllAxes(x, 0, 3, 1, 2) }
