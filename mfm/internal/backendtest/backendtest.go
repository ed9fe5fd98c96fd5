// Package backendtest gives tests the backend they run on.
package backendtest

import (
	"sync"
	"testing"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm/backend"
)

var shared = sync.OnceValues(func() (compute.Backend, error) { return backend.New("") })

// New returns the backend of this test process, opened once: what $GOMLX_BACKEND says, XLA on CPU where a plugin is
// found, pure Go otherwise.
func New(t testing.TB) compute.Backend {
	t.Helper()
	b, err := shared()
	if err != nil {
		t.Fatalf("opening the backend: %v", err)
	}
	return b
}

// NeedLoops skips a test of a compiled While loop on a backend that has none.
func NeedLoops(t testing.TB, b compute.Backend) {
	t.Helper()
	if !backend.Loops(b) {
		t.Skipf("backend %q has no While loops", b.Name())
	}
}
