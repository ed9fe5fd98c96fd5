package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

func TestWeights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mnist größe.safetensors")
	weights := Tensors{
		"unet/conv": tensors.FromFlatDataAndDimensions([]float32{1, 2, 3, 4}, 2, 2),
		"unet/bias": tensors.FromFlatDataAndDimensions([]float32{5}, 1),
	}
	metadata := map[string]string{
		"command": "mfm train mnist --seed 7", "seed": "7", "log": "step 1 loss 0.5\nstep 2 loss 0.25\n",
	}
	for range 2 { // the second write replaces the first
		if err := WriteWeights(path, weights, metadata); err != nil {
			t.Fatal(err)
		}
	}
	got, gotMetadata, err := ReadWeights(path)
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got, weights)
	for key, want := range metadata {
		if gotMetadata[key] != want {
			t.Errorf("metadata %q is %q, want %q", key, gotMetadata[key], want)
		}
	}
	requireFiles(t, filepath.Dir(path), filepath.Base(path))
}

func TestWeightsErrors(t *testing.T) {
	dir := t.TempDir()
	truncated := filepath.Join(dir, "truncated.safetensors")
	if err := os.WriteFile(truncated, encoded(t, everyKind(), nil)[:100], 0o644); err != nil {
		t.Fatal(err)
	}
	one, double := Tensors{"w": tensors.FromScalar(float32(1))}, Tensors{"m": tensors.FromScalar(1.0)}
	write := func(path string, weights Tensors) error { return WriteWeights(path, weights, nil) }
	read := func(path string) error { _, _, err := ReadWeights(path); return err }
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"float64":        {write(filepath.Join(dir, "w"), double), `tensor "m" is Float64`},
		"nil":            {write(filepath.Join(dir, "w"), Tensors{"m": nil}), `tensor "m"`},
		"no folder":      {write(filepath.Join(dir, "none", "w"), one), filepath.Join("none", "w")},
		"onto folder":    {write(dir, one), dir},
		"read truncated": {read(truncated), truncated},
		"read absent":    {read(filepath.Join(dir, "absent")), "absent"},
		"read folder":    {read(dir), "not a regular file"},
		"read no data":   {read(os.DevNull), "not a regular file"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, test.err, test.want)
		}
	}
	requireFiles(t, dir, "truncated.safetensors")
}

// A flipped bit is detected. ReadWeights refuses a file without a checksum, ReadFile accepts it.
func TestWeightsChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	weights := Tensors{"w": tensors.FromFlatDataAndDimensions([]float32{1, 2, 3, 4}, 4)}
	if err := WriteWeights(path, weights, map[string]string{"seed": "7"}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-2] ^= 1
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadWeights(path); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("error %v for an altered tensor, want one with \"altered\"", err)
	}
	raw[len(raw)-2] ^= 1
	altered := strings.Replace(string(raw), `"seed":"7"`, `"seed":"8"`, 1)
	if err := os.WriteFile(path, []byte(altered), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadWeights(path); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("error %v for altered metadata, want one with \"altered\"", err)
	}
	if err := os.WriteFile(path, encoded(t, weights, map[string]string{"seed": "7"}), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadWeights(path); err == nil || !strings.Contains(err.Error(), path+" has no checksum") {
		t.Errorf("error %v for a file without a checksum, want one that says so", err)
	}
	got, _, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got, weights)
}
