package checkpoint

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets this binary also run the training that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHECKPOINT_TEST_TRAIN"); dir != "" {
		if err := trainForever(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// trainForever resumes from the latest checkpoint and saves every step, printing before and after.
func trainForever(dir string) error {
	m, err := Open(dir, 2)
	if err != nil {
		return err
	}
	step := int64(0)
	c, _, err := m.Latest()
	switch {
	case err == nil:
		step = c.Step
	case !errors.Is(err, ErrNone):
		return err
	}
	for {
		step++
		fmt.Println("saving", step)
		if err := m.Save(step, state(step), map[string]int64{"examples": 64 * step}); err != nil {
			return err
		}
		fmt.Println("saved", step)
	}
}

// TestKill repeatedly kills a training run while it saves, as kill -9 does. No checkpoint that was
// reported as saved may be lost, and the next run must find the folder unlocked.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	var saved int64
	for round := range 8 {
		saved = killAfter(t, exe, dir, 3+2*round+round%2)
		c, problems, err := Latest(dir)
		if err != nil {
			t.Fatalf("round %d: %v; %v", round, err, problems)
		}
		if c.Step < saved {
			t.Fatalf("round %d: latest is step %d, but step %d was saved", round, c.Step, saved)
		}
		requireLatest(t, dir, c.Step)
	}
}

// killAfter trains in dir, kills the training after the given number of lines of output, and
// returns the last step that it reported as saved.
func killAfter(t *testing.T, exe, dir string, lines int) (saved int64) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "CHECKPOINT_TEST_TRAIN="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it returns the error of the kill
	scan := bufio.NewScanner(out)
	for n := 0; n < lines && scan.Scan(); n++ {
		_, _ = fmt.Sscanf(scan.Text(), "saved %d", &saved)
	}
	if want := fmt.Sprintf("process %d ", cmd.Process.Pid); saved > 0 {
		if _, err := Open(dir, 1); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
			t.Errorf("opening the folder of the running training: error %v, want one with %q", err, want)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for scan.Scan() { // count what it printed before it died
		_, _ = fmt.Sscanf(scan.Text(), "saved %d", &saved)
	}
	if saved == 0 {
		t.Errorf("the training saved nothing: %s", scan.Text())
	}
	return saved
}
