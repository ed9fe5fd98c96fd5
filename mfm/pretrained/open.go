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
	"unicode"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/pretrained/internal/weightfile"
)

// maxIndex is the limit for the index of a sharded file in bytes.
const maxIndex = 2 << 20

// maxConfig is the limit for the configuration of a network in bytes.
const maxConfig = 1 << 20

// readConfig returns the content of a configuration in JSON.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(raw) > maxConfig {
		err = fmt.Errorf("a configuration of more than %d bytes", maxConfig)
	}
	return raw, err
}

// Open reads the tensors of a file of weights, and the metadata of a safetensors file; those of
// other formats are nil. The content decides the format: safetensors, the index of sharded
// safetensors (a JSON object with "weight_map"), torch.save, also in a Python wheel ([ReadTorch]),
// or numpy.savez ([ReadNPZ]). Errors name the file.
func Open(path string) (all checkpoint.Tensors, metadata map[string]string, err error) {
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
		if weightfile.IsNPZ(f, info.Size()) {
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

// ReadTorch reads a file of torch.save: the zip format of PyTorch 1.6 and later, and the older
// sequence of pickles. r holds size bytes. It returns the tensors in all dictionaries by the names
// of their keys, joined by dots: that of a training checkpoint of Lightning may be
// "state_dict.model.weight". Other values are dropped, such as hyperparameters of any class. A zip
// archive with one such file, whose name ends in ".pth", is read as this file: Python wheels pack
// weights so.
//
// It runs nothing that the file says. Only the classes and functions that build tensors and plain
// containers have results; a value of another class is empty. It is an error if the file has such
// values alone, or names a function that no weights need, such as os.system. The memory is bounded
// by a small multiple of the file's size.
func ReadTorch(r io.ReaderAt, size int64) (checkpoint.Tensors, error) {
	return weightfile.ReadTorch(r, size)
}

// ReadNPZ reads the arrays in a file of numpy.savez or numpy.savez_compressed, by their names
// there. r holds size bytes. Element types are float16, float32, float64, int32 and int64,
// little-endian, in C or Fortran order. Arrays of objects are pickles, which ReadNPZ refuses. The
// elements may take at most 16 MiB and 16 bytes for each byte of the file.
func ReadNPZ(r io.ReaderAt, size int64) (checkpoint.Tensors, error) {
	return weightfile.ReadNPZ(r, size)
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
		if filepath.Base(shard) != shard || !filepath.IsLocal(shard) || strings.ContainsFunc(shard, unicode.IsControl) {
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

// withoutDots is how some moving averages store a name: LitEma of latent diffusion.
func withoutDots(name string) string { return strings.ReplaceAll(name, ".", "") }

// Copies returns the copies of a network in a file, by their prefixes: "" or a name that ends in a
// dot. anchor is the name of a tensor that the network has, such as "x_embedder.proj.weight". A
// training's checkpoint often has several, such as "state_dict.model." and "ema.". In some moving
// averages, such as "model_ema.", names have lost their dots: here they have those of the other
// copies again.
func Copies(from checkpoint.Tensors, anchor string) map[string]checkpoint.Tensors {
	copies := make(map[string]checkpoint.Tensors)
	for full := range from {
		if prefix, ok := strings.CutSuffix(full, anchor); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			copies[prefix] = Below(from, prefix)
		}
	}
	short := withoutDots(anchor)
	for full := range from {
		prefix, ok := strings.CutSuffix(full, short)
		if !ok || short == anchor || !strings.Contains(prefix, ".") {
			continue
		}
		whole := make(checkpoint.Tensors)
		for name, t := range Below(from, prefix) {
			if name != "decay" && name != "num_updates" {
				whole[name] = t
			}
		}
		for _, original := range copies {
			for name := range original {
				if t := whole[withoutDots(name)]; t != nil {
					delete(whole, withoutDots(name))
					whole[name] = t
				}
			}
		}
		copies[prefix] = whole
	}
	for outer, whole := range copies { // the copy at the top has not those below it
		for inner := range copies {
			if rest, ok := strings.CutPrefix(inner, outer); ok && rest != "" {
				maps.DeleteFunc(whole, func(name string, _ *tensors.Tensor) bool {
					return strings.HasPrefix(name, rest)
				})
			}
		}
	}
	return copies
}

// Choose returns the one of [Copies] whose prefix has the given part between dots, such as "ema",
// "model_ema." or "state_dict.model", or if there is none, an underscore and the part before a dot.
// An empty part means the only copy. It is an error, which lists the prefixes, if none or several
// have the part; a prefix that equals the part goes first.
func Choose(from checkpoint.Tensors, anchor, part string) (chosen checkpoint.Tensors, prefix string, err error) {
	copies := Copies(from, anchor)
	var all, fitting, ending []string
	want := strings.Trim(part, ".")
	for name := range copies {
		all = append(all, fmt.Sprintf("%q", name))
		switch between := "." + strings.TrimSuffix(name, ".") + "."; {
		case part != "" && between == "."+want+".":
			return copies[name], name, nil
		case want == "" || strings.Contains(between, "."+want+"."):
			fitting = append(fitting, name)
		case strings.Contains(between, "_"+want+"."):
			ending = append(ending, name)
		}
	}
	slices.Sort(all)
	if len(fitting) == 0 {
		fitting = ending
	}
	switch {
	case len(all) == 0:
		return nil, "", fmt.Errorf("no tensor %q, alone or after a prefix: the file has no network of this kind", anchor)
	case len(fitting) == 1:
		return copies[fitting[0]], fitting[0], nil
	case want == "":
		return nil, "", fmt.Errorf("the network occurs with the prefixes %s: choose one", strings.Join(all, " and "))
	}
	return nil, "", fmt.Errorf("prefix %q is that of %d copies of the network, which has the prefixes %s: "+
		"choose one of them", part, len(fitting), strings.Join(all, " and "))
}
