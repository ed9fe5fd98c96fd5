package tuning_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/tuning"
)

// Evaluations are read from the file of a run, and from that of a run of an older version.
func TestReadEvaluations(t *testing.T) {
	dir := t.TempDir()
	if e, err := tuning.ReadEvaluations(dir); err != nil || e != nil {
		t.Errorf("without a file: %v, %v", e, err)
	}
	for _, tc := range []struct{ file, text string }{
		{"looks.json", `[{"step": 5, "kl": 1, "spread": 0.5}]`},
		{"evaluations.json", `[{"step": 5, "kl": 2, "std": 0.25}]`},
	} {
		if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.text), 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := tuning.ReadEvaluations(dir)
		if err != nil || len(e) != 1 || e[0].Step != 5 || e[0].KL*e[0].Std != 0.5 {
			t.Errorf("%s is read as %+v: %v", tc.file, e, err)
		}
	}
}
