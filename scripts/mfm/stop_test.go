package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// TestMain lets this binary also run as the command.
func TestMain(m *testing.M) {
	if os.Getenv("MFM_TEST_COMMAND") != "" {
		main()
	}
	os.Exit(m.Run())
}

// signaled runs the command by a shell and sends it a signal at the first line of its progress. It
// returns the exit code, -1 if the signal ended it, and the last line that it wrote.
func signaled(t *testing.T, s syscall.Signal, shell string, args ...string) (code int, last string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", shell + `exec "$0" "$@"`, os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), "MFM_TEST_COMMAND=1")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	sent := false
	for scan := bufio.NewScanner(stderr); scan.Scan(); {
		last = scan.Text()
		if !sent && strings.HasPrefix(strings.TrimSpace(last), "0/") {
			sent = true
			if err := cmd.Process.Signal(s); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), last
}

// A hang-up stops a training as SIGTERM does, with one line. Where it is ignored, as under nohup,
// the training goes on. A training to be stopped has more steps than it can do before the signal.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	tiny := write(t, dir, "tiny.json", tiny)
	train := []string{"train", "gmm", "--config", tiny, "--loss", "diagonal", "--no-verdict", "--steps"}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT} {
		if signal.Ignored(s) {
			t.Logf("%v is ignored, as under nohup: a command started here inherits that", s)
			continue
		}
		out := filepath.Join(dir, s.String())
		code, last := signaled(t, s, "", append(train, "1000000", "--out", out)...)
		if want := "stopped, everything is kept in " + out; code != 1 || !strings.Contains(last, want) {
			t.Errorf("%v: exit code %d, %q; want 1 and %q", s, code, last, want)
		}
	}
	out := filepath.Join(dir, "ignored")
	if code, last := signaled(t, syscall.SIGHUP, `trap "" HUP; `, append(train, "2", "--out", out)...); code != 0 {
		t.Errorf("an ignored hang-up: exit code %d, %q", code, last)
	}
	if finished, err := run.Exported(out); err != nil || !finished {
		t.Errorf("an ignored hang-up ends the training: %v", err)
	}
}

// A command that is stopped while it compiles does not wait, unless a training has steps to save.
// Here the work lasts until it is released, and a command that waits releases it.
func TestStoppable(t *testing.T) {
	patience = time.Nanosecond
	t.Cleanup(func() { patience = 0 })
	cause, late := errors.New("interrupt"), errors.New("saved")
	for _, tc := range []struct {
		name, dir string
		unsaved   bool
		want      string
	}{
		{"compiling", "", false, "stopped: interrupt"},
		{"compiling a training", "run", false, "stopped, everything is kept in run: the same command resumes there"},
		{"training", "run", true, "saved"},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		c := &command{Command: &cobra.Command{}, dir: tc.dir}
		c.SetContext(ctx)
		c.unsaved.Store(tc.unsaved)
		release := make(chan struct{})
		if tc.unsaved {
			close(release)
		}
		cancel(cause)
		err := c.stoppable(func() error { <-release; return late })
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
		if !tc.unsaved {
			close(release)
		}
	}
}

// The folder of a run is checked before its prior is fitted, which takes a while and can be
// stopped.
func TestPriorOfDigits(t *testing.T) {
	dir := t.TempDir()
	smallImages(t, dir)
	train := []string{"train", "digits", "--data", dir, "--steps", "1", "--no-verdict", "--out", filepath.Join(dir, "run"),
		"--set", `prior={"components": 2, "rank": 3, "fit": 2, "steps": 1, "moved": 4}`}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		more    []string
		code    int
		message string
	}{
		{nil, 1, "stopped, everything is kept"},
		{[]string{"--seed", "7"}, 2, "another run"},
	} {
		code, _, stderr := invoke(ctx, append(train, tc.more...)...)
		if code != tc.code || !strings.Contains(stderr, tc.message) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", tc.more, code, stderr, tc.code, tc.message)
		}
	}
}

// Without a plugin of XLA one line says so.
func TestWithoutXLA(t *testing.T) {
	t.Setenv(backend.EnvBackend, "")
	t.Setenv(backend.EnvPluginPath, t.TempDir())
	_, _, stderr := invoke(t.Context(), "info")
	if strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "mfm: warning: no plugin of XLA is found") ||
		!strings.Contains(stderr, "scripts/setup") {
		t.Errorf("without XLA mfm info writes %q", stderr)
	}
}

// A stopped sweep says that it resumes, as a stopped training does.
func TestSweepsStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"steer", "gmm", "--method", "mfm-gf"}, {"stress", "times"}} {
		out := filepath.Join(t.TempDir(), "out")
		code, _, stderr := invoke(ctx, append(args, "--out", out)...)
		want := "stopped, everything is kept in " + out + ": the same command resumes there\n"
		if code != 1 || !strings.HasSuffix(stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 1 and %q", args, code, stderr, want)
		}
	}
}

// The command that a refused folder names resumes its run from any other folder.
func TestNamedCommandResumes(t *testing.T) {
	dir := t.TempDir()
	binary, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "my mfm"), binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "tiny.json", tiny)
	write(t, dir, "two.json", twoPoints)
	shell := func(in, line string) (int, string) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env = in, append(os.Environ(), "MFM_TEST_COMMAND=1", backend.EnvBackend+"=go")
		out, _ := cmd.CombinedOutput() // the exit code says it
		return cmd.ProcessState.ExitCode(), string(out)
	}
	const train = "'./my mfm' train gmm --config tiny.json --mixture two.json --loss diagonal --steps 2 --out run"
	if code, text := shell(dir, train); code != 0 {
		t.Fatalf("exit code %d: %s", code, text)
	}
	code, text := shell(dir, train+" --seed 5")
	parts := strings.Split(text, "`")
	if code != 2 || len(parts) != 3 || !strings.Contains(text, "another run: folder run holds") {
		t.Fatalf("exit code %d, %q; want 2 and a command", code, text)
	}
	code, text = shell(t.TempDir(), parts[1])
	if want := filepath.Join(dir, "run") + ": 2 steps"; code != 0 || !strings.Contains(text, want) {
		t.Errorf("%s\nexits with %d and %q, want 0 and %q", parts[1], code, text, want)
	}
}

func TestProgram(t *testing.T) {
	here := absolute(".")
	for _, tc := range []struct{ name, executable, want string }{
		{"mfm", "/usr/bin/mfm", "mfm"},
		{"./mfm", "/home/a/mfm", here + "/mfm"},
		{"/opt/my mfm", "/opt/my mfm", "'/opt/my mfm'"},
		{"/tmp/go-build7/b001/exe/mfm", "/tmp/go-build7/b001/exe/mfm", "go run example.org/mfm"},
	} {
		if got := program(tc.name, tc.executable, "example.org/mfm"); got != tc.want {
			t.Errorf("program(%q) = %q, want %q", tc.name, got, tc.want)
		}
	}
}

// A closed standard output is one that cannot be written, not the null device.
func TestClosedOutput(t *testing.T) {
	for redirection, want := range map[string]int{">&-": 1, "> /dev/null": 0, "<> /dev/null >&0": 0} {
		cmd := exec.Command("sh", "-c", `"$0" info gmm --json `+redirection, os.Args[0])
		cmd.Env = append(os.Environ(), "MFM_TEST_COMMAND=1")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		_ = cmd.Run() // the exit code says it
		if code := cmd.ProcessState.ExitCode(); code != want ||
			strings.Contains(stderr.String(), "writing the result: the standard output is closed") != (want == 1) {
			t.Errorf("%s: exit code %d, %q; want %d", redirection, code, stderr.String(), want)
		}
	}
}

// A run whose folder is in use has not begun.
func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	train := []string{"train", "gmm", "--config", write(t, dir, "tiny.json", tiny), "--loss", "diagonal", "--steps", "2",
		"--no-verdict", "--out"}
	held := filepath.Join(dir, "held")
	holder, err := checkpoint.Open(held, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // instead of waiting for the folder
	if code, _, stderr := invoke(ctx, append(train, held)...); code != 2 || !strings.Contains(stderr, "is in use") {
		t.Errorf("exit code %d, %q; want 2 for a folder in use", code, stderr)
	}
}
