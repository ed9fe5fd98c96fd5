package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/gomlx/compute/dtypes"
)

// WriteWeights writes the weights of a trained model to one safetensors file at path: float32
// tensors only, such as the exponential moving average of the parameters, without the optimizer's
// state. metadata describes their origin, by convention under the keys "command", "seed" and "log".
// WriteWeights adds a checksum of tensors and metadata, which [ReadWeights] checks. It replaces the
// file atomically: at every moment path is the old file or the new one.
func WriteWeights(path string, weights Tensors, metadata map[string]string) error {
	for name, t := range weights {
		if err := t.CheckValid(); err != nil {
			return fmt.Errorf("weights %s: tensor %q: %w", path, name, err)
		}
		if t.DType() != dtypes.Float32 {
			return fmt.Errorf("weights %s: tensor %q is %s, want Float32", path, name, t.DType())
		}
	}
	sum, err := contentSum(weights, metadata)
	if err != nil {
		return fmt.Errorf("weights %s: %w", path, err)
	}
	signed := maps.Clone(metadata)
	if signed == nil {
		signed = map[string]string{}
	}
	signed[checksumKey] = sum
	write := func(w io.Writer) error { return Write(w, weights, signed) }
	if err = writeTemp(disk{}, path, write); err == nil {
		err = commit(disk{}, path)
	}
	if err != nil {
		discard(disk{}, path)
		return fmt.Errorf("weights %s: %w", path, err)
	}
	return nil
}

// checksumKey is the metadata entry with the checksum of the file without this entry.
const checksumKey = "sha256 without this entry"

// contentSum returns the SHA-256 of the safetensors file with these tensors and metadata, without
// the entry of the checksum.
func contentSum(weights Tensors, metadata map[string]string) (string, error) {
	rest := maps.Clone(metadata)
	delete(rest, checksumKey)
	h := sha256.New()
	if err := Write(h, weights, rest); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ReadWeights reads any safetensors file, of every element type that [Read] supports, and its
// metadata. If the file has a checksum of [WriteWeights] that does not match its content,
// ReadWeights returns an error. All errors name the file.
func ReadWeights(path string) (Tensors, map[string]string, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	t, metadata, err := Read(f, size)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if want, ok := metadata[checksumKey]; ok {
		got, err := contentSum(t, metadata)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if got != want {
			return nil, nil, fmt.Errorf("%s was altered: its SHA-256 is %s, it was written with %s", path, got, want)
		}
		delete(metadata, checksumKey)
	}
	return t, metadata, nil
}

// openRegular opens a file for reading and returns its size. It refuses pipes and devices before
// opening them, which could block.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
