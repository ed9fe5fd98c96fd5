package scripts

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The lab starts JupyterLab with its settings and the given arguments. Ended by a signal, it leaves
// no process and no temporary folder behind, even if JupyterLab does.
func TestLab(t *testing.T) {
	root := checkout(t, map[string]string{
		"setup": "true",
		"go":    "true",
		// JupyterLab: a kernel in a session of its own, and a folder.
		"python": `mkdir "$TMPDIR/gonb_1"
setsid sleep 1000 &
echo $! >"$TMPDIR/../kernel"
echo "token $JUPYTER_TOKEN, $*"
trap 'exit 5' TERM
touch "$TMPDIR/../ready"
while :; do sleep 0.1; done`,
	})
	temporary := filepath.Join(root, "tmp")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temporary)
	var out strings.Builder
	cmd := exec.Command(filepath.Join(root, "scripts/lab"), "--no-browser", "--token", "abc", "--port=80", "--ip", "0.0.0.0")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a process that is left holds the output open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !exists(filepath.Join(temporary, "ready")) {
		select {
		case err := <-ended:
			t.Fatal(err, out.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("exit code %d, want JupyterLab's: %s", code, &out)
	}
	got := strings.TrimSpace(out.String())
	if !strings.HasPrefix(got, "token abc, -m jupyterlab ") || !strings.HasSuffix(got, "--no-browser --port=80 --ip 0.0.0.0") {
		t.Errorf("JupyterLab with %s", got)
	}
	kernel, err := os.ReadFile(filepath.Join(temporary, "kernel"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(kernel)))
	if err != nil {
		t.Fatal(err)
	}
	// A killed process that nobody waits for has an empty environment.
	if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); len(text) > 0 {
		t.Errorf("process %d is left", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if left, _ := filepath.Glob(temporary + "/gomfm-lab-*"); len(left) > 0 {
		t.Errorf("folders are left: %v", left)
	}
	settings := filepath.Join(root, ".venv/etc/jupyter/labconfig/default_setting_overrides.json")
	if text, err := os.ReadFile(settings); err != nil || !strings.Contains(string(text), "providerTimeout") {
		t.Errorf("settings: %s, %v", text, err)
	}
	for _, args := range [][]string{{"--token", ""}, {"--token="}, {"--token"}} {
		code, _, stderr := call(t, root, nil, append([]string{"scripts/lab"}, args...)...)
		if code != 1 || !strings.Contains(stderr, "--token is empty") {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

// Steps of setup that take long show that they live, and say where things go.
func TestSetupShowsLife(t *testing.T) {
	root := checkout(t, nil)
	text, err := os.ReadFile("setup")
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), "\n[[ ! -L $venv ]]")
	if !found {
		t.Fatal("the steps of setup begin otherwise")
	}
	body := head + `
go() { echo "cache of $2"; }
slow() { until [[ -e seen ]] || ((SECONDS > 20)); do command sleep 0.1; done; echo "an error: 3"; return $1; }
sleep() { command sleep 0.1; touch seen; }
mkdir -p .cache
step one key "one step" slow 0
step one key "one step" slow 1
step two key "another step" slow 1
`
	if err := os.WriteFile(filepath.Join(root, "scripts/setup"), []byte(body), fs.FileMode(0o755)); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call(t, root, nil, "scripts/setup")
	if code != 1 || !strings.HasPrefix(stderr, "setup: another step: an error: 3.") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	for _, want := range []string{"cache of GOMODCACHE", "cache of GOCACHE", root + "/.venv", "one step  ", " ."} {
		if strings.Count(stdout, want) != 1 && want != " ." || !strings.Contains(stdout, want) {
			t.Errorf("%q says %q not once", stdout, want)
		}
	}
}
