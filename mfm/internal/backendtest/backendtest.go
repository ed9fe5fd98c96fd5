// Package backendtest provides the backend for tests.
package backendtest

import (
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

// NeedLoops skips a test that compiles While loops if the backend does not support them.
func NeedLoops(t testing.TB, b compute.Backend) {
	t.Helper()
	if !backend.Loops(b) {
		t.Skipf("backend %q has no While loops", b.Name())
	}
}
