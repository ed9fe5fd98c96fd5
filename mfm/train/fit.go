package train

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/backend"
)

// FitError reports tensors that are not those of a model.
type FitError struct {
	Tensor    string // the first one that does not fit, by its path
	Fault     string // such as "is missing"
	Others    int    // number of further tensors that do not fit
	NonFinite bool   // whether names, shapes and element types fit, but not all values are finite
}

// Error names the tensor and its fault.
func (e *FitError) Error() string {
	text := fmt.Sprintf("tensor %q %s", e.Tensor, e.Fault)
	if e.Others > 0 {
		text += fmt.Sprintf("; %d more do not fit", e.Others)
	}
	return text
}

// Fit returns a [*FitError] unless values are exactly the tensors of want, by name, with their
// shapes and element types, and all floating-point values are finite.
func Fit(values map[string]*tensors.Tensor, want map[string]shapes.Shape) error {
	var faults []FitError
	names := maps.Clone(want)
	for name, value := range values {
		names[name] = value.Shape()
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		value, have := values[name]
		shape, wanted := want[name]
		fault := ""
		switch {
		case !have:
			fault = fmt.Sprintf("is missing: the model needs it as %s", shape)
		case !wanted:
			fault = "is superfluous: the model has none of that name"
		case value.DType() != shape.DType:
			fault = fmt.Sprintf("has elements of %s, the model needs %s", value.DType(), shape.DType)
		case !value.Shape().Equal(shape):
			fault = fmt.Sprintf("has shape %v, the model needs %v", value.Shape().Dimensions, shape.Dimensions)
		}
		if fault != "" {
			faults = append(faults, FitError{Tensor: name, Fault: fault})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(faults) > 0 && !faults[0].NonFinite {
			break
		}
		i, err := firstNonFinite(values[name])
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		if i >= 0 {
			fault := fmt.Sprintf("is not finite at element %d", i)
			faults = append(faults, FitError{Tensor: name, Fault: fault, NonFinite: true})
		}
	}
	if len(faults) == 0 {
		return nil
	}
	first := faults[0]
	first.Others = len(faults) - 1
	return &first
}

// firstNonFinite returns the index of the first value that is not finite, or -1.
func firstNonFinite(t *tensors.Tensor) (int, error) {
	if !t.DType().IsFloat() || t.Size() == 0 {
		return -1, nil
	}
	index := -1
	err := t.ConstFlatData(func(flat any) {
		switch flat := flat.(type) {
		case []float32:
			index = slices.IndexFunc(flat, func(v float32) bool { return v-v != 0 })
		case []float64:
			index = slices.IndexFunc(flat, func(v float64) bool { return v-v != 0 })
		case []float16.Float16:
			index = slices.IndexFunc(flat, func(v float16.Float16) bool { return v.Float32()-v.Float32() != 0 })
		case []bfloat16.BFloat16:
			index = slices.IndexFunc(flat, func(v bfloat16.BFloat16) bool { return v.Float32()-v.Float32() != 0 })
		}
	})
	return index, err
}

// Shapes returns the shapes of the variables that build creates in the scope of a model's weights,
// by their paths below it. It builds the graph with the pure-Go backend and does not run it. The
// error is that with which build panics.
func Shapes(build func(weights *model.Scope, g *Graph)) (map[string]shapes.Shape, error) {
	b, err := backend.New("go")
	if err != nil {
		return nil, err
	}
	defer b.Finalize()
	store, g := model.NewStore(), NewGraph(b, "shapes")
	defer g.Finalize()
	model.SetStore(g, store)
	if err := TryCatch[error](func() { build(store.Scope(WeightsScope), g) }); err != nil {
		return nil, fmt.Errorf("building the model: %w", err)
	}
	return shapesOf(store, isWeight, len(WeightsScope)), nil
}

func isWeight(path string) bool { return strings.HasPrefix(path, WeightsScope+"/") }

// shapesOf returns the shapes of the variables in a store whose paths are of a kind, by their paths
// without the first bytes.
func shapesOf(store *model.Store, kind func(path string) bool, first int) map[string]shapes.Shape {
	all := make(map[string]shapes.Shape)
	for v := range store.IterVariables() {
		if kind(v.Path()) {
			all[v.Path()[first:]] = v.Shape()
		}
	}
	return all
}

// shapes returns the shapes of the training state after a step, by path. It builds the step in
// another store and does not run it. If host batches are not loaded yet, so that the step cannot be
// built, the shapes are those that state itself implies.
func (t *Trainer) shapes(state map[string]*tensors.Tensor) (map[string]shapes.Shape, error) {
	other := *t
	other.store = model.NewStore()
	for v := range t.store.IterVariables() {
		if !v.HasValue() {
			continue
		}
		value, err := v.Value()
		if err != nil {
			return nil, err
		}
		same, err := other.store.CreateVariable(v.Path(), value)
		if err != nil {
			return nil, err
		}
		same.SetTrainable(v.Trainable)
	}
	g := NewGraph(t.backend, "shapes")
	defer g.Finalize()
	model.SetStore(g, other.store)
	err := TryCatch[error](func() { other.buildStep(other.store.RootScope(), g) })
	if errors.Is(err, errNoBatch) {
		return t.implied(state), nil
	}
	if err != nil {
		return nil, fmt.Errorf("building the training step: %w", err)
	}
	return shapesOf(other.store, isState, 0), nil
}

// implied returns the shapes that a training state must have if the step cannot be built yet: those
// of the trainer's variables, and for each weight, moment or average in the state those of the
// others of its name.
func (t *Trainer) implied(state map[string]*tensors.Tensor) map[string]shapes.Shape {
	want := shapesOf(t.store, isState, 0)
	scopes := []string{momentsScope + "/first", momentsScope + "/second"}
	for i := range t.config.EMA {
		scopes = append(scopes, AverageScope(i))
	}
	for name, value := range below(state, WeightsScope) {
		want[WeightsScope+name] = value.Shape()
	}
	for _, scope := range scopes { // an untrained weight has no moments or averages
		for name, value := range below(state, scope) {
			for _, other := range append([]string{WeightsScope}, scopes...) {
				if _, known := want[other+name]; !known {
					want[other+name] = value.Shape()
				}
			}
		}
	}
	return want
}

// Initialize gives a trainer at step zero initial weights, by their paths below [WeightsScope].
// Moments and averages start anew; the tensors then belong to the trainer. It returns a [*FitError]
// and changes nothing unless the weights are exactly those of the model.
func (t *Trainer) Initialize(weights map[string]*tensors.Tensor) error {
	state := make(map[string]*tensors.Tensor)
	for path, value := range weights {
		state[WeightsScope+path] = value
	}
	want, err := t.shapes(state)
	if err != nil {
		return err
	}
	named := make(map[string]shapes.Shape) // by the names of weights
	for path, shape := range want {
		if isWeight(path) {
			named[path[len(WeightsScope):]] = shape
		}
	}
	if err := Fit(weights, named); err != nil {
		return err
	}
	return t.set(state)
}

// set gives variables of the store values, by path, and creates those that do not exist yet.
func (t *Trainer) set(values map[string]*tensors.Tensor) error {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		var err error
		if v := t.store.GetVariable(path); v != nil {
			err = v.SetValue(values[path])
		} else {
			_, err = t.store.CreateVariable(path, values[path])
		}
		if err != nil {
			return fmt.Errorf("setting %q: %w", path, err)
		}
	}
	return nil
}
