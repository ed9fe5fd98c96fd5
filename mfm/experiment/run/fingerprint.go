package run

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"

	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// Fingerprint returns a hash of the JSON of spec and of the tensors in store with their paths: 16
// hexadecimal digits. Results with equal fingerprints belong to the same task.
func Fingerprint(store *model.Store, spec any) (string, error) {
	h := sha256.New()
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	h.Write(raw)
	values := make(checkpoint.Tensors)
	for v := range store.IterVariables() {
		if values[v.Path()], err = v.Value(); err != nil {
			return "", err
		}
	}
	if err := addTensors(h, values); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// HashTensors returns a hash of tensors and their names: 16 hexadecimal digits.
func HashTensors(values checkpoint.Tensors) (string, error) {
	h := sha256.New()
	if err := addTensors(h, values); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// addTensors adds names and values to a hash, in the order of the names.
func addTensors(h hash.Hash, values checkpoint.Tensors) error {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		h.Write([]byte(path))
		if err := values[path].ConstBytes(func(data []byte) { h.Write(data) }); err != nil {
			return err
		}
	}
	return nil
}
