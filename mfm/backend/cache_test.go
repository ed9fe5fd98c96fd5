package backend_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/backend"
)

// times returns factor times 5, computed by a new graph of a new backend.
func times(t *testing.T, factor float64) float32 { return timesOn(t, "xla:cpu", factor) }

func timesOn(t *testing.T, config string, factor float64) float32 {
	t.Helper()
	b, err := backend.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	product, err := graph.CallOnce(b, func(x *graph.Node) *graph.Node { return graph.MulScalar(x, factor) }, float32(5))
	if err != nil {
		t.Fatal(err)
	}
	return tensors.ToScalar[float32](product)
}

// compiled returns the compiled graphs of a folder.
func compiled(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.pjrt"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// hashed returns raw as the content of a file, which begins with a hash of its length and bytes.
func hashed(raw []byte) []byte {
	hash := sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, uint64(len(raw))), raw...))
	return append(hash[:], raw...)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t *testing.T, file string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A graph that was compiled is loaded. So if the files of two graphs are exchanged, so are their
// results. Files that are damaged or cannot be loaded are made again.
func TestCompiledGraphsAreKept(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("compiled graphs are kept on Linux")
	}
	installedPlugin(t)
	folder := filepath.Join(t.TempDir(), "made", "by the first")
	t.Setenv(backend.EnvCompileCache, folder)
	if got := times(t, 2); got != 10 {
		t.Fatalf("2*5 = %v", got)
	}
	first := compiled(t, folder)
	if times(t, 3); len(first) != 1 {
		t.Fatalf("files %v after the first graph, want one", first)
	}
	both := compiled(t, folder)
	if len(both) != 2 {
		t.Fatalf("files %v after the second graph, want two", both)
	}
	double, triple := first[0], both[0]
	if triple == double {
		triple = both[1]
	}
	good, other := read(t, double), read(t, triple)
	write(t, double, other)
	if got := times(t, 2); got != 15 {
		t.Errorf("2*5 = %v with the executable of 3*5: it was not loaded", got)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "a part": good[:len(good)/2], "changed": append(slices.Clone(good[:len(good)-1]), ^good[len(good)-1]),
		"whole, but no executable": hashed([]byte("no executable")),
	} {
		write(t, double, bad)
		if got := times(t, 2); got != 10 {
			t.Errorf("2*5 = %v from a file that is %s", got, name)
		}
		if bytes.Equal(read(t, double), bad) {
			t.Errorf("a file that is %s was not made again", name)
		}
	}
	for range 2 {
		if got := timesOn(t, "xla:cpu,devices=2", 2); got != 10 || len(compiled(t, folder)) != 3 {
			t.Errorf("2*5 = %v on the first of two devices, files %v, want three", got, compiled(t, folder))
		}
	}
	// XLA reads its flags once in a process: with other ones its executables have a wrong name.
	t.Setenv(backend.EnvXLAFlags, "--xla_cpu_enable_fast_math=false")
	if got := times(t, 5); got != 25 || len(compiled(t, folder)) != 3 {
		t.Errorf("5*5 = %v, files %v with another flag, want three", got, compiled(t, folder))
	}
	t.Setenv(backend.EnvCompileCache, "off")
	if got := times(t, 7); got != 35 || len(compiled(t, folder)) != 3 {
		t.Errorf("7*5 = %v, files %v with the cache off", got, compiled(t, folder))
	}
}

// A folder that was named and cannot be made is an error. Without a home nothing is kept.
func TestFolderOfCompiledGraphs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("compiled graphs are kept on Linux")
	}
	t.Setenv(backend.EnvPluginPath, filepath.Dir(installedPlugin(t)))
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	t.Setenv(backend.EnvCompileCache, filepath.Join(file, "folder"))
	_, err := backend.New("xla:cpu")
	if err == nil || !strings.Contains(err.Error(), backend.EnvCompileCache) || !strings.Contains(err.Error(), "or off") {
		t.Errorf("error %v, want one that names the variable and a remedy", err)
	}
	t.Setenv(backend.EnvCompileCache, "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	t.Chdir(t.TempDir())
	if got := times(t, 2); got != 10 || len(compiled(t, ".")) != 0 {
		t.Errorf("2*5 = %v without a home, files %v", got, compiled(t, "."))
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	if got := times(t, 2); got != 10 || len(compiled(t, filepath.Join(home, ".cache", "gomfm", "xla"))) != 1 {
		t.Errorf("2*5 = %v, and nothing is kept in the home folder", got)
	}
}
