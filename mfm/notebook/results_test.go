package notebook

import (
	"os"
	"path/filepath"
	"testing"
)

// TestResults checks that only the full preset takes results from a file, and only if it exists.
func TestResults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("MFM_FIGURES", dir)
	for _, c := range []struct {
		preset         string
		computed, want int
	}{{"full", 1, 1}, {"full", 2, 1}, {"quick", 3, 3}, {"full", 4, 3}} {
		t.Setenv("MFM_PRESET", c.preset)
		if got := Results("x.json", func() int { return c.computed }); got != c.want {
			t.Errorf("Results computing %d with the preset %s: %d, want %d", c.computed, c.preset, got, c.want)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "x.json")); err != nil || string(text) != "3\n" {
		t.Errorf("the file has %q, %v, want 3", text, err)
	}
}
