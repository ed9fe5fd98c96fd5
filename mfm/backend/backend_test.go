package backend_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/backend"
)

func TestNewWithoutPluginFallsBackToGo(t *testing.T) {
	t.Setenv(backend.EnvBackend, "")
	t.Setenv(backend.EnvPluginPath, t.TempDir())
	b, err := backend.New("")
	if err != nil {
		t.Fatal(err)
	}
	if backend.Loops(b) {
		t.Errorf("backend %q supports loops, want the pure-Go one, which does not", b.Name())
	}
}

func TestNewNamesTheRemedy(t *testing.T) {
	t.Setenv(backend.EnvPluginPath, t.TempDir())
	_, err := backend.New("xla:cuda")
	if err == nil || !strings.Contains(err.Error(), "scripts/setup --cuda") {
		t.Errorf("error %v, want one that names scripts/setup --cuda", err)
	}
	if _, err := backend.New("nonsense"); err == nil {
		t.Error("backend \"nonsense\" is accepted")
	}
}

// installedPlugin returns the path of the CPU plugin in .venv, and skips the test if there is none.
func installedPlugin(t *testing.T) string {
	t.Helper()
	plugins, _ := filepath.Glob("../../.venv/lib/python3*/site-packages/*pjrt*/pjrt_c_api_cpu_plugin.so")
	if len(plugins) == 0 {
		t.Skip("no plugin is installed in .venv")
	}
	plugin, err := filepath.Abs(plugins[0])
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

// A plugin is found in a folder of any name, and opened there.
func TestNewFindsAPluginInAnyFolder(t *testing.T) {
	plugin := installedPlugin(t)
	t.Setenv(backend.EnvBackend, "")
	for _, name := range []string{"[a-b]", "[", "*", "?", `back\slash`, "a b", "a,b", "ü", "%s", "cuda x", "Nvidia"} {
		for _, below := range []string{"", ".venv/lib/python3.11/site-packages/a_pjrt_b"} {
			root := filepath.Join(t.TempDir(), name)
			folder := filepath.Join(root, below)
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(plugin, filepath.Join(folder, filepath.Base(plugin))); err != nil {
				t.Fatal(err)
			}
			t.Setenv(backend.EnvPluginPath, root)
			if below != "" {
				t.Setenv(backend.EnvPluginPath, "")
				t.Chdir(root)
			}
			b, err := backend.New("")
			if err != nil {
				t.Errorf("folder %q: %v", folder, err)
				continue
			}
			if missing := backend.Missing(""); b.Name() != "xla" || backend.GPU(b) || missing != "" {
				t.Errorf("folder %q: backend %q, GPU %t, missing %q; want XLA on the CPU",
					folder, b.Name(), backend.GPU(b),
					missing)
			}
			b.Finalize()
		}
	}
}

// A damaged plugin is one line that names its path once, and how to get another one.
func TestNewNamesADamagedPlugin(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "pjrt_c_api_cpu_plugin.so")
	t.Setenv(backend.EnvPluginPath, folder)
	library, err := os.ReadFile("/proc/self/exe") // a file of the format, but no plugin
	if err != nil {
		t.Skip(err)
	}
	for want, content := range map[string][]byte{
		"EOF": {}, "bad magic number": []byte("<html>not found</html>"), "GetPjrtApi": library, "": library[:len(library)/2],
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := backend.New("xla:cpu")
		if err == nil {
			t.Errorf("%d bytes are opened as a plugin", len(content))
			continue
		}
		text := err.Error()
		if strings.Count(text, path) != 1 || strings.Contains(text, "\n") || !strings.Contains(text, "scripts/setup") ||
			!strings.Contains(text, "damaged") || !strings.Contains(text, want) {
			t.Errorf("error %q, want one line with the path once and %q", text, want)
		}
	}
}

// Where no plugin is found, one line says so, and how to get one. A backend that was chosen is not
// missing.
func TestMissing(t *testing.T) {
	t.Setenv(backend.EnvBackend, "")
	t.Setenv(backend.EnvPluginPath, t.TempDir())
	note := backend.Missing("")
	for _, want := range []string{"pure-Go", "scripts/setup", backend.EnvPluginPath, "pjrt_c_api_cpu_plugin.so"} {
		if !strings.Contains(note, want) || strings.Contains(note, "\n") {
			t.Errorf("the note %q has no %q, or more than a line", note, want)
		}
	}
	if note := backend.Missing("go"); note != "" {
		t.Errorf("the chosen pure-Go backend has the note %q", note)
	}
	t.Setenv(backend.EnvBackend, "go")
	if note := backend.Missing(""); note != "" {
		t.Errorf("the pure-Go backend of the environment has the note %q", note)
	}
}

// Convolutions side by side end on the pure-Go backend. Before, they waited for each other's
// workers.
func TestParallelConvolutions(t *testing.T) {
	b, err := backend.New("go:parallelism=2")
	if err != nil {
		t.Fatal(err)
	}
	exec := graph.MustNewExec(b, func(x, kernel *graph.Node) *graph.Node {
		var sum *graph.Node
		for i := range 32 {
			y := graph.Convolve(graph.AddScalar(x, float64(i)), kernel).PadSame().Done()
			if sum == nil {
				sum = y
			} else {
				sum = graph.Add(sum, y)
			}
		}
		return sum
	})
	x := tensors.FromShape(shapes.Make(dtypes.Float32, 1, 24, 24, 4))
	kernel := tensors.FromShape(shapes.Make(dtypes.Float32, 3, 3, 4, 4))
	for range 20 {
		exec.MustCall(x, kernel)
	}
}

func TestDescribeHasNoPath(t *testing.T) {
	b, err := backend.New("")
	if err != nil {
		t.Fatal(err)
	}
	if d := backend.Describe(b); d == "" || strings.Contains(d, "/") {
		t.Errorf("description %q, want one without a path", d)
	}
}

// The option "devices" gives as many virtual CPUs. Bad numbers of devices are refused.
func TestDevices(t *testing.T) {
	t.Setenv(backend.EnvBackend, "")
	for _, c := range []struct{ config, message string }{
		{"xla:cpu,devices=0", "devices=0: give a number of devices in [1, 4096]"},
		{"xla:cpu,devices=many", "devices=many"},
		{"xla:cpu,devices=5000", "devices=5000"},
		{"go,devices=2", "has 1 device(s), not 2: ask for 1"},
	} {
		if _, err := backend.New(c.config); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("backend %q: error %v, want %q", c.config, err, c.message)
		}
	}
	if b, err := backend.New("go,devices=1"); err != nil || b.NumDevices() != 1 {
		t.Errorf("one device of the pure-Go backend: error %v", err)
	}
	plugin := installedPlugin(t)
	for config, want := range map[string]int{
		"": 1, "xla:cpu": 1, "xla:" + plugin: 1, "xla:" + plugin + ",devices=2": 2,
		"xla:cpu,devices=1": 1, "xla:cpu,devices=3,shared_buffers": 3,
		backend.WithDevices("", 2): 2, backend.WithDevices("xla:cpu,devices=3", 4): 4,
	} {
		b, err := backend.New(config)
		if err != nil {
			t.Errorf("backend %q: %v", config, err)
			continue
		}
		if b.NumDevices() != want {
			t.Errorf("backend %q has %d devices, want %d", config, b.NumDevices(), want)
		}
		b.Finalize()
	}
}

// named is a backend with a given name and description.
type named struct {
	compute.Backend
	name, description string
}

func (n named) Name() string        { return n.name }
func (n named) Description() string { return n.description }

func TestGPU(t *testing.T) {
	for _, c := range []struct {
		named
		want bool
	}{
		{named{name: "xla", description: `xla:cuda - PJRT "cuda" plugin (x.so) v0.115`}, true},
		{named{name: "xla", description: "xla:/a/pjrt_c_api_cuda_plugin.so" +
			" - PJRT plugin (/a/pjrt_c_api_cuda_plugin.so) v0.115"}, true},
		{named{name: "xla", description: `xla:cpu - PJRT "cpu" plugin (x.so) v0.115`}, false},
		{named{name: "xla", description: "xla:/opt/cuda/pjrt_c_api_cpu_plugin.so" +
			" - PJRT plugin (/opt/cuda/pjrt_c_api_cpu_plugin.so) v0.115"}, false},
		{named{name: "xla", description: "xla:/opt/a cuda b/pjrt_c_api_cpu_plugin.so" +
			" - PJRT plugin (/opt/a cuda b/pjrt_c_api_cpu_plugin.so) v0.115"}, false},
		{named{name: "xla", description: "xla:/cuda b/pjrt_c_api_cpu_plugin.so" +
			" - PJRT plugin (/cuda b/pjrt_c_api_cpu_plugin.so) v0.115"}, false},
		{named{name: "Go Backend", description: "no cuda here"}, false},
	} {
		if got := backend.GPU(c.named); got != c.want {
			t.Errorf("GPU of %s, %q: %v, want %v", c.name, c.description, got, c.want)
		}
	}
}
