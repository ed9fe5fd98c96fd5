package run_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// A run that starts with another run's weights and hardly moves ends with them. It resumes only
// with the same folder of initial weights.
func TestRunInitialWeights(t *testing.T) {
	b, dir := backendtest.New(t), t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if _, err := tiny(t).Train(t.Context(), b, run.Options{Dir: first}); err != nil {
		t.Fatal(err)
	}
	config := experimenttest.TinyConfig()
	config.Train.Steps, config.Train.EMA, config.Train.Optimizer.Rate, config.Train.Seed = 2, nil, 1e-30, 8
	e := experimenttest.NewMixture(t, config)
	if _, err := e.Train(t.Context(), b, run.Options{Dir: second, Init: first}); err != nil {
		t.Fatal(err)
	}
	values := func(dir string) map[string][]float32 {
		weights, _, err := checkpoint.ReadWeights(filepath.Join(dir, "weights.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		flat := make(map[string][]float32)
		for path, w := range weights {
			flat[path] = tensors.MustCopyFlatData[float32](w)
		}
		return flat
	}
	if got, want := values(second), values(first); !reflect.DeepEqual(got, want) {
		t.Errorf("final output weights %v, want the initial ones %v", got["/output/weights"], want["/output/weights"])
	}
	if _, err := e.Train(t.Context(), b, run.Options{Dir: second}); !errors.Is(err, run.ErrOtherRun) {
		t.Errorf("resumed without the folder of the initial weights: error %v, want %v", err, run.ErrOtherRun)
	}
	// Once it has begun it does not need the other run any more.
	gone, parts := filepath.Join(dir, "gone"), filepath.Join(dir, "parts")
	if _, err := tiny(t).Train(t.Context(), b, run.Options{Dir: gone}); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop here")
	o := run.Options{Dir: parts, Init: gone, Hooks: stopAfter(1, stop)}
	if _, err := e.Train(t.Context(), b, o); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, run.Options{Dir: parts, Init: gone}); err != nil {
		t.Fatal(err)
	}
	if got, want := values(parts), values(first); !reflect.DeepEqual(got, want) {
		t.Error("a run that was interrupted lost its initial weights")
	}
	config.Network = nn.NewNetwork(nn.MLPConfig{Width: 9, Depth: 1, Activation: "silu"})
	for name, init := range map[string]string{"another network": first, "no run": dir} {
		_, err := experimenttest.NewMixture(t, config).Train(t.Context(), b,
			run.Options{Dir: filepath.Join(dir, name), Init: init})
		if !errors.Is(err, run.ErrInit) {
			t.Errorf("%s: error %v, want %v", name, err, run.ErrInit)
		}
	}
}
