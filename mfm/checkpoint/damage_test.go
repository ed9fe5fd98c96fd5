package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// TestDamage damages the newer of two checkpoints in every way, and checks that Latest returns the
// older one and names the damage.
func TestDamage(t *testing.T) {
	truncate := func(part float64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(part*float64(info.Size()))); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(old, new string) func(*testing.T, string) {
		return edit(func(data []byte) []byte {
			if !bytes.Contains(data, []byte(old)) {
				t.Fatalf("the file does not contain %q", old)
			}
			return bytes.ReplaceAll(data, []byte(old), []byte(new))
		})
	}
	const tensorFile, manifestFile = "step-000000200.safetensors", "step-000000200.json"
	for _, test := range []struct {
		name, file string
		damage     func(*testing.T, string)
		want       string
	}{
		{"tensors emptied", tensorFile, truncate(0), tensorFile + ": wrong size: 0 bytes"},
		{"length truncated", tensorFile, edit(func(b []byte) []byte { return b[:5] }), "wrong size: 5 bytes"},
		{"header truncated", tensorFile, edit(func(b []byte) []byte { return b[:50] }), "wrong size: 50 bytes"},
		{"data truncated", tensorFile, truncate(0.99), "wrong size"},
		{"tensors too long", tensorFile, edit(func(b []byte) []byte { return append(b, 0) }), "wrong size"},
		{"tensors zeroed", tensorFile, edit(func(b []byte) []byte { return make([]byte, len(b)) }), "altered"},
		{"tensors' last bit", tensorFile, edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), "altered"},
		{"tensors swapped", tensorFile, edit(func([]byte) []byte { return encoded(t, state(201), nil) }), "altered"},
		{"tensors missing", tensorFile, func(t *testing.T, path string) { _ = os.Remove(path) }, tensorFile + ": no such file"},
		{"tensors a folder", tensorFile, func(t *testing.T, path string) {
			_ = os.Remove(path)
			_ = os.Mkdir(path, 0o755)
		}, tensorFile + ": not a regular file"},
		{"manifest emptied", manifestFile, truncate(0), manifestFile + ": truncated or altered"},
		{"manifest truncated", manifestFile, truncate(0.5), manifestFile + ": truncated or altered"},
		{"manifest missing", manifestFile, func(t *testing.T, path string) {
			_ = os.Remove(path)
		}, manifestFile + " is missing"},
		{"manifest null", manifestFile, edit(func([]byte) []byte { return []byte("null") }), "format"},
		{"manifest a list", manifestFile, edit(func([]byte) []byte { return []byte("[]") }), manifestFile},
		{"manifest huge", manifestFile, edit(func(b []byte) []byte {
			return append(b, make([]byte, maxManifest)...)
		}), "limit"},
		{"meta edited", manifestFile, replace(`"examples": 12800`, `"examples": 12801`), "altered"},
		{"step edited", manifestFile, replace(`"step": 200`, `"step": 201`), "altered"},
		{"other version", manifestFile, replace(`"version": 1`, `"version": 2`), "version 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, open(t, dir, 2), 100, 200)
			test.damage(t, filepath.Join(dir, test.file))
			problems := requireLatest(t, dir, 100)
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
			if _, err := Load(dir, 200); err == nil {
				t.Error("Load returned no error")
			}
		})
	}
}

// TestForgedManifest checks that names and paths in a manifest with a right checksum are validated.
func TestForgedManifest(t *testing.T) {
	for _, test := range []struct {
		name  string
		forge func(*manifest)
		want  string
	}{
		{"outside", func(m *manifest) { m.File = "../step-000000100.safetensors" }, "not the name"},
		{"absolute", func(m *manifest) { m.File = "/dev/zero" }, "not the name"},
		{"itself", func(m *manifest) { m.File = "step-000000100.json" }, "not the name"},
		{"other step's file", func(m *manifest) { m.File = "step-000000200.safetensors" }, "not the name"},
		{"other step", func(m *manifest) { m.Step = 200 }, "manifest of step 200"},
		{"size", func(m *manifest) { m.Size++ }, "wrong size"},
		{"tensors", func(m *manifest) { delete(m.Tensors, "rng") }, "differ from those that the manifest lists"},
		{"shape", func(m *manifest) {
			m.Tensors["rng"] = manifestTensor{"U64", []int{1, 2}}
		}, "differ from those that the manifest lists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, open(t, dir, 1), 100)
			forged, err := readManifest(dir, 100)
			if err != nil {
				t.Fatal(err)
			}
			test.forge(forged)
			text, err := forged.encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, manifestName(100)), text, 0o644); err != nil {
				t.Fatal(err)
			}
			_, problems, err := Latest(dir)
			if !errors.Is(err, ErrNone) || len(problems) != 1 || !strings.Contains(problems[0].Error(), test.want) {
				t.Errorf("error %v, problems %q, want one with %q", err, problems, test.want)
			}
		})
	}
}

// flipped returns a copy of data with bits of byte i flipped.
func flipped(data []byte, i int, bits byte) []byte {
	damaged := bytes.Clone(data)
	damaged[i] ^= bits
	return damaged
}

// TestEveryByte flips bits of each byte of both files. In the tensor file every flip must be
// detected. In the manifest a flip is detected or changes nothing, such as white space.
func TestEveryByte(t *testing.T) {
	dir := t.TempDir()
	save(t, open(t, dir, 1), 3)
	path := filepath.Join(dir, tensorNames(3)[0])
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if err := os.WriteFile(path, flipped(data, i, 1), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, 3); err == nil {
			t.Fatalf("byte %d of the tensor file: not detected", i)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName(3)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := decodeManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for bit := range 8 {
			got, err := decodeManifest(flipped(text, i, 1<<bit))
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("bit %d of byte %d of the manifest: not detected", bit, i)
			}
		}
	}
}

func TestUnreadableFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var pathError *fs.PathError
	if _, _, err := Latest(path); !errors.As(err, &pathError) || errors.Is(err, ErrNone) {
		t.Errorf("file instead of a folder: error %v, want a fs.PathError", err)
	}
}

// FuzzManifest checks that any input gives an error, or a manifest that survives writing and
// reading again.
func FuzzManifest(f *testing.F) {
	text, err := os.ReadFile(filepath.Join(saved(f), manifestName(3)))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, []byte("null"), []byte("[]"), []byte("{}"), text, text[:len(text)/2],
		bytes.Replace(text, []byte(`"version": 1`), []byte(`"version": 2`), 1),
		bytes.Replace(text, []byte(`"checkpoint": {`), []byte(`"checkpoint": {"step": 4,`), 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var m *manifest
		err := fuzztest.Read(t, len(text), 64, func() (err error) {
			m, err = decodeManifest(text)
			return err
		})
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeManifest(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("written again, the manifest is %+v (error %v), want %+v", got, err, m)
		}
	})
}

// FuzzFolder checks that any folder gives an error, or a checkpoint of the step that its name says,
// with the tensors that its manifest lists. A sealed text is a manifest without its envelope, which
// gets the right checksum.
func FuzzFolder(f *testing.F) {
	dir := saved(f)
	text, err := os.ReadFile(filepath.Join(dir, manifestName(3)))
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, tensorNames(3)[0]))
	if err != nil {
		f.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(text, &e); err != nil {
		f.Fatal(err)
	}
	f.Add(int64(3), text, data, false)
	f.Add(int64(4), text, data, false)
	f.Add(int64(-1), text, data, false)
	f.Add(int64(3), text, data[:20], false)
	f.Add(int64(3), text, []byte(nil), false)
	f.Add(int64(3), []byte(nil), data, false)
	f.Add(int64(3), []byte("{}"), data, false)
	f.Add(int64(3), []byte(e.Checkpoint), data, true)
	f.Add(int64(3), bytes.Replace(e.Checkpoint, []byte("step-"), []byte("../step-"), 1), data, true)
	f.Add(int64(3), []byte(`{"step": 3}`), data, true)
	dir = f.TempDir()
	f.Fuzz(func(t *testing.T, step int64, text, data []byte, sealed bool) {
		if sealed {
			var body bytes.Buffer
			if err := json.Compact(&body, text); err != nil {
				t.Skip(err)
			}
			sum := sha256.Sum256(body.Bytes())
			text = fmt.Appendf(nil, `{"format": %q, "version": %d, "sha256": "%x", "checkpoint": %s}`,
				manifestFormat, manifestVersion, sum, body.Bytes())
		}
		for name, content := range map[string][]byte{manifestName(step): text, tensorNames(step)[0]: data} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Skip(err)
			}
			defer os.Remove(path)
		}
		var c *Checkpoint
		var problems []error
		err := fuzztest.Read(t, len(text)+len(data), 256, func() (err error) {
			c, problems, err = Latest(dir)
			return err
		})
		for _, p := range problems {
			if strings.Contains(p.Error(), "\n") {
				t.Errorf("the problem has more than one line: %q", p)
			}
		}
		if err != nil {
			return
		}
		m, err := readManifest(dir, step)
		if err != nil || c.Step != step || m.Step != step || len(problems) > 0 {
			t.Fatalf("checkpoint of step %d in a folder of step %d: manifest %+v, error %v, problems %v",
				c.Step, step, m, err, problems)
		}
		if err := sameTensors(c.Tensors, m); err != nil {
			t.Fatal(err)
		}
	})
}

// saved returns a folder with a checkpoint of step 3.
func saved(f *testing.F) string {
	f.Helper()
	dir := f.TempDir()
	m, err := Open(dir, 1)
	if err == nil {
		err = errors.Join(m.Save(3, state(3), map[string]int{"seed": 7}), m.Close())
	}
	if err != nil {
		f.Fatal(err)
	}
	return dir
}
