package scripts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal to the script alone, as `kill` sends it, or to its process group, as Ctrl-C does,
// interrupts the execution of notebooks, which then ends its kernel. The script waits for both.
func TestRunEndsItsNotebooks(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal syscall.Signal
		group  bool
		during string // the step that is interrupted
		exit   int    // its exit code
	}{
		{"TERM", syscall.SIGTERM, false, "python", 3},
		{"HUP", syscall.SIGHUP, false, "python", 3},
		{"INT", syscall.SIGINT, false, "python", 3},
		{"Ctrl-C", syscall.SIGINT, true, "python", 3},
		{"TERM in the setup", syscall.SIGTERM, false, "setup", 3},
		{"TERM in a setup that ends well", syscall.SIGTERM, false, "setup", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if signal.Ignored(test.signal) {
				t.Skipf("this process ignores %v, as under nohup, and so do scripts that it starts", test.signal)
			}
			// A kernel in a session of its own, and a client that ends it if it is interrupted.
			step := `setsid sleep 1000 &
trap 'kill $!; wait; echo interrupted; touch ended; exit ` + strconv.Itoa(test.exit) + `' INT
echo $! >kernel
touch ready
while :; do sleep 0.1; done`
			standIns := map[string]string{"setup": "true", "python": `[[ $1 == scripts/notebook.py ]] || exit 0` + "\n" + step}
			if test.during == "setup" {
				standIns["setup"] = step
			}
			root := checkout(t, standIns)
			if err := errors.Join(
				os.MkdirAll(root+"/notebooks", 0o755),
				os.Mkdir(root+"/tmp", 0o755),
				os.WriteFile(root+"/notebooks/a.ipynb", nil, 0o644),
			); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			cmd := exec.Command(root+"/scripts/run", "a")
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 10*time.Second
			cmd.Env = append(os.Environ(), "TMPDIR="+root+"/tmp")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			exists := func(name string) bool {
				_, err := os.Stat(filepath.Join(root, name))
				return err == nil
			}
			for !exists("ready") {
				select {
				case err := <-ended:
					t.Fatal(err, out.String())
				case <-time.After(10 * time.Millisecond):
				}
			}
			pid := cmd.Process.Pid
			if test.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, test.signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				t.Error("the script has not ended")
			}
			want := test.exit
			if want == 0 {
				want = 130
			}
			if code := cmd.ProcessState.ExitCode(); code != want || strings.Count(out.String(), "interrupted") != 1 {
				t.Errorf("exit code %d, want %d: %s", code, want, &out)
			}
			if !exists("ended") {
				t.Error("the script has not waited for the step")
			}
			var kernel int
			text, err := os.ReadFile(root + "/kernel")
			if _, scanned := fmt.Sscan(string(text), &kernel); errors.Join(err, scanned) != nil {
				t.Fatal(err, scanned)
			}
			if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", kernel)); len(text) > 0 {
				t.Errorf("process %d is left", kernel)
				_ = syscall.Kill(kernel, syscall.SIGKILL)
			}
			if left, _ := os.ReadDir(root + "/tmp"); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}
