package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A job of a Slurm array does the part of the sweep with its number, counted from the first of the
// array, and is an error outside an array.
func TestSlurmJob(t *testing.T) {
	dir := t.TempDir()
	// A stand-in for go writes a program that prints its arguments.
	build := "#!/bin/sh\nprintf '#!/bin/sh\\necho \"$@\"\\n' >\"$3\" && chmod +x \"$3\"\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(build), 0o755); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("cluster/slurm.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("TMPDIR", dir)
	if code, _, stderr := call(t, dir, nil, script, "steer", "gmm"); code == 0 || !strings.Contains(stderr, "--array") {
		t.Errorf("outside an array: exit code %d, %q", code, stderr)
	}
	for name, value := range map[string]string{"ID": "7", "MIN": "4", "MAX": "19", "COUNT": "16"} {
		t.Setenv("SLURM_ARRAY_TASK_"+name, value)
	}
	code, stdout, stderr := call(t, dir, nil, script, "steer", "gmm", "--out", "a b")
	if want := "steer gmm --out a b --shard 3/16\n"; code != 0 || stdout != want {
		t.Errorf("exit code %d, %q, %q, want %q", code, stdout, stderr, want)
	}
	t.Setenv("SLURM_ARRAY_TASK_COUNT", "2")
	if code, _, stderr := call(t, dir, nil, script, "steer", "gmm"); code != 2 || !strings.Contains(stderr, "gaps") {
		t.Errorf("an array with gaps: exit code %d, %q", code, stderr)
	}
}
