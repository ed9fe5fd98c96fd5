package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// A training run that resumes where it stopped.
func ExampleManager() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	train := func(until int64) {
		m, err := checkpoint.Open(dir, 3)
		if err != nil {
			log.Fatal(err)
		}
		defer m.Close()
		weights := tensors.FromFlatDataAndDimensions([]float32{0, 0}, 2)
		step := int64(0)
		c, problems, err := m.Latest()
		for _, problem := range problems {
			fmt.Println("skipped:", problem)
		}
		switch {
		case err == nil:
			step, weights = c.Step, c.Tensors["weights"]
			fmt.Printf("resumed at step %d, meta %s\n", step, c.Meta)
		case !errors.Is(err, checkpoint.ErrNone):
			log.Fatal(err)
		}
		for ; step < until; step++ {
			tensors.MustMutableFlatData(weights, func(w []float32) { w[0]++; w[1]-- })
		}
		meta := map[string]any{"loss": "semigroup"}
		if err := m.Save(step, checkpoint.Tensors{"weights": weights}, meta); err != nil {
			log.Fatal(err)
		}
		fmt.Println("step", step, weights.Value())
	}
	train(100)
	train(250)
	// Output:
	// step 100 [100 -100]
	// resumed at step 100, meta {"loss":"semigroup"}
	// step 250 [250 -250]
}

// Latest reports a damaged checkpoint and returns the one before it.
func ExampleLatest() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m, err := checkpoint.Open(dir, 2)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	weights := checkpoint.Tensors{"weights": tensors.FromScalar(float32(1))}
	for _, step := range []int64{100, 200} {
		if err := m.Save(step, weights, nil); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "step-000000200.safetensors"), 50); err != nil {
		log.Fatal(err)
	}

	c, problems, err := checkpoint.Latest(dir)
	fmt.Println(problems)
	fmt.Println(c.Step, err)
	// Output:
	// [step-000000200.safetensors: wrong size: 50 bytes, the manifest says 76]
	// 100 <nil>
}

// Safetensors data from memory.
func ExampleRead() {
	var file bytes.Buffer
	ts := checkpoint.Tensors{"image": tensors.FromFlatDataAndDimensions([]uint8{1, 2, 3, 4, 5, 6}, 2, 3)}
	if err := checkpoint.Write(&file, ts, map[string]string{"license": "CC0"}); err != nil {
		log.Fatal(err)
	}

	ts, metadata, err := checkpoint.Read(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ts["image"].Shape(), ts["image"].Value(), metadata)
	// Output: (Uint8)[2, 3] [[1 2 3] [4 5 6]] map[license:CC0]
}

// Weights that ship with a program, with metadata about their origin.
func ExampleWriteWeights() {
	dir, err := os.MkdirTemp("", "weights")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "mixture.safetensors")
	ema := checkpoint.Tensors{"mlp/dense_0/weights": tensors.FromFlatDataAndDimensions([]float32{0.5, 2}, 1, 2)}
	origin := map[string]string{"command": "mfm train gmm --seed 7", "seed": "7"}
	if err := checkpoint.WriteWeights(path, ema, origin); err != nil {
		log.Fatal(err)
	}

	weights, metadata, err := checkpoint.ReadWeights(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(weights["mlp/dense_0/weights"].Value(), metadata["command"])
	// Output: [[0.5 2]] mfm train gmm --seed 7
}
