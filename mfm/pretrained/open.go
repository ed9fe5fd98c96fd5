package pretrained

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

// maxIndex is the limit for the index of a sharded file in bytes.
const maxIndex = 2 << 20

// Open reads the tensors of a file of weights, and the metadata of a safetensors file; those of other
// formats are nil. The content decides the format: safetensors, the index of sharded safetensors (a
// JSON object with "weight_map"), torch.save ([ReadTorch]), or numpy.savez ([ReadNPZ]). Errors name
// the file.
func Open(path string) (tensors checkpoint.Tensors, metadata map[string]string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var head [9]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	switch text := string(head[:n]); {
	case n == len(head) && head[8] == '{':
		return checkpoint.ReadFile(path)
	case strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{"):
		t, err := openSharded(path, f, info.Size())
		return t, nil, err
	case strings.HasPrefix(text, "PK\x03\x04"), strings.HasPrefix(text, "\x80"):
		read := ReadTorch
		if isNPZ(f, info.Size()) {
			read = ReadNPZ
		}
		t, err := read(f, info.Size())
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		return t, nil, nil
	}
	return nil, nil, fmt.Errorf("%s: unknown format: want safetensors, its index, or a file of torch.save or numpy.savez", path)
}

// openSharded reads the files that the index at path names, which lie beside it.
func openSharded(path string, f io.ReadSeeker, size int64) (checkpoint.Tensors, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if size > maxIndex {
		return nil, fmt.Errorf("%s: an index of %d bytes, more than %d", path, size, maxIndex)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxIndex))
	if err != nil {
		return nil, err
	}
	var shardOf map[string]string
	if _, err := strictjson.Lookup(raw, "weight_map", &shardOf); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(shardOf) == 0 {
		return nil, fmt.Errorf("%s: no weight_map: not the index of sharded safetensors", path)
	}
	shards := make(map[string]bool)
	for name, shard := range shardOf {
		if filepath.Base(shard) != shard || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("%s: tensor %q lies in %q, which is not a file beside the index", path, name, shard)
		}
		shards[shard] = true
	}
	all := make(checkpoint.Tensors, len(shardOf))
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		t, _, err := checkpoint.ReadFile(filepath.Join(filepath.Dir(path), shard))
		if err != nil {
			return nil, err
		}
		for name, value := range t {
			if shardOf[name] != shard {
				return nil, fmt.Errorf("%s: tensor %q lies in %s, the index says %q", path, name, shard, shardOf[name])
			}
			all[name] = value
		}
	}
	for name, shard := range shardOf {
		if all[name] == nil {
			return nil, fmt.Errorf("%s: tensor %q is missing in %s", path, name, shard)
		}
	}
	return all, nil
}

// Prefixes returns the prefixes, ending in a dot, below which a file has tensors of all the given
// names: "" if the names stand at the top. A checkpoint of training often has several copies, such as
// "state_dict.model." and "ema.".
func Prefixes(from checkpoint.Tensors, weights []Weight) []string {
	if len(weights) == 0 {
		return nil
	}
	var found []string
	for name := range from {
		prefix, ok := strings.CutSuffix(name, weights[0].File)
		if !ok || prefix != "" && !strings.HasSuffix(prefix, ".") {
			continue
		}
		all := !slices.ContainsFunc(weights, func(w Weight) bool { return from[prefix+w.File] == nil })
		if all {
			found = append(found, prefix)
		}
	}
	slices.Sort(found)
	return found
}

// Below returns the tensors whose names have the prefix, by the rest of their names.
func Below(from checkpoint.Tensors, prefix string) checkpoint.Tensors {
	to := make(checkpoint.Tensors)
	for name, t := range from {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			to[rest] = t
		}
	}
	return to
}
