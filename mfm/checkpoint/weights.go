package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/gomlx/compute/dtypes"
)

// WriteWeights writes the weights of a trained model to one safetensors file at path: tensors of
// float32, float16 or bfloat16 only, such as the exponential moving average of the parameters,
// without the optimizer's state. metadata describes their origin, by convention under the keys
// "command", "seed" and "log". WriteWeights adds a checksum of tensors and metadata, which
// [ReadWeights] checks. It replaces the file atomically: at every moment path is the old file or
// the new one.
func WriteWeights(path string, weights Tensors, metadata map[string]string) error {
	for name, t := range weights {
		if err := t.CheckValid(); err != nil {
			return fmt.Errorf("weights %s: tensor %q: %w", path, name, err)
		}
		if !slices.Contains([]dtypes.DType{dtypes.Float32, dtypes.Float16, dtypes.BFloat16}, t.DType()) {
			return fmt.Errorf("weights %s: tensor %q is %s, want Float32, Float16 or BFloat16", path, name, t.DType())
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

// ReadWeights reads a file of [WriteWeights] and returns its tensors and its metadata. A file
// without a checksum that matches its content is an error. All errors name the file.
func ReadWeights(path string) (Tensors, map[string]string, error) {
	return ReadFitting(path, func(Tensors) error { return nil })
}

// ReadFitting is [ReadWeights] for the weights of a known model. The error of fit, which names the
// tensor that is wrong, is returned as it is, and in preference to that of the checksum, which says
// only that some byte is. fit must not use the tensors further if ReadFitting fails.
func ReadFitting(path string, fit func(Tensors) error) (Tensors, map[string]string, error) {
	t, metadata, signed, err := readFile(path)
	if t != nil {
		if wrong := fit(t); wrong != nil {
			return nil, nil, wrong
		}
	}
	if err == nil && !signed {
		err = fmt.Errorf("%s has no checksum in its metadata, so that its content cannot be verified: "+
			"use the file as it was written", path)
	}
	if err != nil {
		return nil, nil, err
	}
	return t, metadata, nil
}

// ReadFile reads any safetensors file, of every element type that [Read] supports, and its
// metadata. A checksum of [WriteWeights], if the file has one, must match its content. All errors
// name the file.
func ReadFile(path string) (Tensors, map[string]string, error) {
	t, metadata, _, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return t, metadata, nil
}

// readFile is [ReadFile] and reports whether the file has a checksum. It returns the tensors also
// if the checksum does not match.
func readFile(path string) (t Tensors, metadata map[string]string, signed bool, err error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, false, err
	}
	defer f.Close()
	if t, metadata, err = Read(f, size); err != nil {
		return nil, nil, false, fmt.Errorf("%s: %w", path, err)
	}
	want, signed := metadata[checksumKey]
	if signed {
		got, err := contentSum(t, metadata)
		if err != nil {
			return nil, nil, true, fmt.Errorf("%s: %w", path, err)
		}
		if got != want {
			return t, nil, true, fmt.Errorf("%s was altered: its SHA-256 is %s, it was written with %s", path, got, want)
		}
		delete(metadata, checksumKey)
	}
	return t, metadata, signed, nil
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
