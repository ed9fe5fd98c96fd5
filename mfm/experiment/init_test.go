package experiment_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// A run that begins with another's weights and does not move ends with them; it goes on with them alone.
func TestRunBeginsWithAnothersWeights(t *testing.T) {
	b, dir := backendtest.New(t), t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if _, err := newGMM(t, tinyConfig()).Train(t.Context(), b, experiment.RunOptions{Dir: first}); err != nil {
		t.Fatal(err)
	}
	config := tinyConfig()
	config.Train.Steps, config.Train.EMA, config.Train.Optimizer.Rate, config.Train.Seed = 2, nil, 1e-30, 8
	e := newGMM(t, config)
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: second, Init: first}); err != nil {
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
		t.Errorf("output weights %v, began with %v", got["/output/weights"], want["/output/weights"])
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: second}); !errors.Is(err, experiment.ErrOtherRun) {
		t.Errorf("going on without the folder of the weights: error %v, want %v", err, experiment.ErrOtherRun)
	}
	// Once it has begun it goes on without the other.
	gone, parts := filepath.Join(dir, "gone"), filepath.Join(dir, "parts")
	if _, err := newGMM(t, tinyConfig()).Train(t.Context(), b, experiment.RunOptions{Dir: gone}); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop here")
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: parts, Init: gone, Observe: stopAfter(1, stop)}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Train(t.Context(), b, experiment.RunOptions{Dir: parts, Init: gone}); err != nil {
		t.Fatal(err)
	}
	if got, want := values(parts), values(first); !reflect.DeepEqual(got, want) {
		t.Error("a run that was interrupted lost the weights that it began with")
	}
	config.Network.Width = 9
	for name, init := range map[string]string{"another network": first, "no run": dir} {
		_, err := newGMM(t, config).Train(t.Context(), b, experiment.RunOptions{Dir: filepath.Join(dir, name), Init: init})
		if !errors.Is(err, experiment.ErrInit) {
			t.Errorf("%s: error %v, want %v", name, err, experiment.ErrInit)
		}
	}
}
