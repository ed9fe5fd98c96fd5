package backend_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute"

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

func TestDescribeHasNoPath(t *testing.T) {
	b, err := backend.New("")
	if err != nil {
		t.Fatal(err)
	}
	if d := backend.Describe(b); d == "" || strings.Contains(d, "/") {
		t.Errorf("description %q, want one without a path", d)
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
		{named{name: "Go Backend", description: "no cuda here"}, false},
	} {
		if got := backend.GPU(c.named); got != c.want {
			t.Errorf("GPU of %s, %q: %v, want %v", c.name, c.description, got, c.want)
		}
	}
}
