package backend_test

import (
	"strings"
	"testing"

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
		t.Errorf("backend %q has loops, want the pure-Go one, which has none", b.Name())
	}
}

func TestNewNamesTheMend(t *testing.T) {
	t.Setenv(backend.EnvPluginPath, t.TempDir())
	_, err := backend.New("xla:cuda")
	if err == nil || !strings.Contains(err.Error(), "scripts/setup --cuda") {
		t.Errorf("error %v, want one that names scripts/setup --cuda", err)
	}
	if _, err := backend.New("nonsense"); err == nil {
		t.Error("backend \"nonsense\" opened")
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
