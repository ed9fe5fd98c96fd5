package train_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/train"
)

// Fit names the first tensor that is missing, superfluous, of another element type or shape, or not
// finite.
func TestFit(t *testing.T) {
	vector := func(values ...float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(values, len(values)) }
	want := map[string]shapes.Shape{"/a": shapes.Make(dtypes.Float32, 2), "/b": shapes.Make(dtypes.Float32)}
	one := tensors.FromScalar(float32(1))
	for name, tc := range map[string]struct {
		values  map[string]*tensors.Tensor
		message string
	}{
		"same":             {map[string]*tensors.Tensor{"/a": vector(1, math.MaxFloat32), "/b": one}, ""},
		"missing":          {map[string]*tensors.Tensor{"/a": vector(1, 2)}, `tensor "/b" is missing: the model needs it as (Float32)`},
		"nothing":          {nil, `tensor "/a" is missing: the model needs it as (Float32)[2]; 1 more do not fit`},
		"superfluous":      {map[string]*tensors.Tensor{"/a": vector(1, 2), "/b": one, "/c": one}, `tensor "/c" is superfluous`},
		"element type":     {map[string]*tensors.Tensor{"/a": vector(1, 2), "/b": tensors.FromScalar(1.0)}, `tensor "/b" has elements of Float64, the model needs Float32`},
		"shape":            {map[string]*tensors.Tensor{"/a": vector(1, 2, 3), "/b": one}, `tensor "/a" has shape [3], the model needs [2]`},
		"NaN":              {map[string]*tensors.Tensor{"/a": vector(1, float32(math.NaN())), "/b": one}, `tensor "/a" is not finite at element 1`},
		"infinite":         {map[string]*tensors.Tensor{"/a": vector(float32(math.Inf(1)), 0), "/b": one}, `tensor "/a" is not finite at element 0`},
		"shape before NaN": {map[string]*tensors.Tensor{"/a": vector(float32(math.NaN()), 0), "/b": vector(1)}, `tensor "/b" has shape [1], the model needs []`},
	} {
		err := train.Fit(tc.values, want)
		if tc.message == "" != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), tc.message) {
			t.Errorf("%s: error %v, want %q", name, err, tc.message)
		}
		var unfit *train.FitError
		if err != nil && (!errors.As(err, &unfit) || unfit.NonFinite != strings.Contains(tc.message, "finite")) {
			t.Errorf("%s: error %#v", name, err)
		}
	}
	for _, value := range []*tensors.Tensor{
		tensors.FromScalar(math.NaN()), tensors.FromScalar(math.Inf(-1)),
		tensors.FromScalar(float16.FromFloat32(float32(math.Inf(1)))), tensors.FromScalar(bfloat16.FromFloat32(float32(math.NaN()))),
	} {
		if err := train.Fit(map[string]*tensors.Tensor{"x": value}, map[string]shapes.Shape{"x": value.Shape()}); err == nil {
			t.Errorf("%s is accepted as finite", value)
		}
	}
	whole := tensors.FromScalar(uint64(math.MaxUint64))
	if err := train.Fit(map[string]*tensors.Tensor{"x": whole}, map[string]shapes.Shape{"x": whole.Shape()}); err != nil {
		t.Error(err)
	}
}

// The shapes of a model's weights are those that training creates, and a graph that cannot be built
// is an error.
func TestShapes(t *testing.T) {
	trainer := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	if _, err := trainer.Step(); err != nil {
		t.Fatal(err)
	}
	weights, err := trainer.Weights(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	want, err := mfm.Model{Map: mfmtest.SmallMap(), Shape: []int{2}}.Shapes()
	if err == nil {
		err = train.Fit(weights, want)
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := train.Shapes(func(*model.Scope, *Graph) { panic(errors.New("no graph")) }); err == nil {
		t.Error("a graph that cannot be built is no error")
	}
}

// Initialize takes exactly the weights of the model and trains on from them.
func TestInitialize(t *testing.T) {
	first := mfmtest.NewSmallTrainer(t, mfmtest.SmallConfig())
	if _, err := first.Step(); err != nil {
		t.Fatal(err)
	}
	trained, err := first.Weights(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	weights, values := make(map[string]*tensors.Tensor), make(map[string][]float32)
	for path, value := range trained {
		if weights[path], err = value.LocalClone(); err != nil {
			t.Fatal(err)
		}
		values[path] = tensors.MustCopyFlatData[float32](value)
	}
	c := mfmtest.SmallConfig()
	c.Optimizer.Rate, c.Optimizer.Warmup, c.EMA = 1e-30, 0, nil
	second := mfmtest.NewSmallTrainer(t, c)
	part := maps.Clone(weights)
	delete(part, "/w1")
	var unfit *train.FitError
	if err := second.Initialize(part); !errors.As(err, &unfit) || unfit.Tensor != "/w1" {
		t.Errorf("weights without w1: error %v, want one that names it", err)
	}
	more := maps.Clone(weights)
	more["zz_extra"] = tensors.FromScalar(float32(1))
	if err := second.Initialize(more); !errors.As(err, &unfit) || unfit.Tensor != "zz_extra" {
		t.Errorf("weights with zz_extra: error %v, want one that names it", err)
	}
	if state, err := second.State(); err != nil || len(state) != 2 {
		t.Errorf("after a refused initialization the state has %d tensors (error %v), want step and random state", len(state), err)
	}
	if err := second.Initialize(weights); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Step(); err != nil {
		t.Fatal(err)
	}
	got, err := second.Weights(train.WeightsScope)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range values {
		if now := tensors.MustCopyFlatData[float32](got[path]); !slices.Equal(now, want) {
			t.Errorf("weights %s are %v, want the initial ones %v", path, now, want)
		}
	}
}

// Weights that have moved to a device keep their values, without a copy in the host's memory.
// Several devices leave them where they are.
func TestToDevice(t *testing.T) {
	for _, devices := range []int{1, 2} {
		store, b := model.NewStore(), backendtest.Devices(t, devices)
		w := tensors.FromFlatDataAndDimensions([]float32{1, 2, 3}, 3)
		err := train.SetWeights(store, map[string]*tensors.Tensor{"/layer/weights": w})
		if err == nil {
			err = train.ToDevice(store, b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if moved := w.IsOnAnyDevice() && (w.IsShared() || !w.IsLocal()); moved != (devices == 1) {
			t.Errorf("%d devices: on a device %t, in the host's memory %t", devices, w.IsOnAnyDevice(), w.IsLocal())
		}
		if got := tensors.MustCopyFlatData[float32](w); !slices.Equal(got, []float32{1, 2, 3}) {
			t.Errorf("%d devices: weights %v", devices, got)
		}
	}
}
