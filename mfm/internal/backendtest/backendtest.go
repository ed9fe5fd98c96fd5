// Package backendtest provides the backend for tests.
package backendtest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/backend"
)

var shared = sync.OnceValues(func() (compute.Backend, error) { return backend.New("") })

// New returns the backend of this test process, opened once as [backend.New] does without a config:
// $GOMLX_BACKEND, or XLA on the CPU if a plugin is found, or pure Go.
func New(t testing.TB) compute.Backend {
	t.Helper()
	b, err := shared()
	if err != nil {
		t.Fatalf("opening the backend: %v", err)
	}
	return b
}

// Devices returns a backend of n virtual devices that share the CPU. They are XLA's, so it skips
// the test if $GOMLX_BACKEND names the pure-Go backend, or if no plugin of XLA is found.
func Devices(t testing.TB, n int) compute.Backend {
	t.Helper()
	if os.Getenv(backend.EnvBackend) == "go" {
		t.Skip("virtual devices are those of XLA")
	}
	b, err := backend.New(fmt.Sprintf("xla:cpu,devices=%d", n))
	if err != nil && strings.Contains(err.Error(), "no PJRT plugin") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

// NeedLoops skips a test that compiles While loops if the backend does not support them.
func NeedLoops(t testing.TB, b compute.Backend) {
	t.Helper()
	if !backend.Loops(b) {
		t.Skipf("backend %q has no While loops", b.Name())
	}
}
