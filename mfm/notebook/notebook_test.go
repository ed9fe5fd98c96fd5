package notebook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
)

// TestMain lets this binary also run as a cell, the program of a notebook.
func TestMain(m *testing.M) {
	switch os.Getenv("NOTEBOOK_TEST_CELL") {
	case "device":
		fmt.Println("one backend:", Device() == Device())
	case "setup":
		Setup()
	case "locked":
		Finish(fmt.Errorf("training: %w", checkpoint.ErrLocked))
	case "other":
		Finish(fmt.Errorf("training: %w", run.ErrOtherRun))
	case "broken":
		Finish(errors.New("broken"))
	case "verdict":
		PrintVerdict([]string{"One.", "Two."}, nil)
	case "interrupted":
		Finish(fmt.Errorf("training: %w", context.Canceled))
		PrintVerdict([]string{"One."}, nil)
	case "interrupted verdict":
		PrintVerdict(nil, fmt.Errorf("diagnosis: %w", context.Canceled))
	default:
		os.Exit(m.Run())
	}
}

// cell runs this binary as a cell and returns what it prints.
func cell(t *testing.T, name string) (output string, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NOTEBOOK_TEST_CELL="+name,
		backend.EnvBackend+"=", backend.EnvPluginPath+"="+t.TempDir())
	raw, err := cmd.CombinedOutput()
	return string(raw), err
}

// A cell has one backend, and without XLA one note about it.
func TestDeviceWithoutXLA(t *testing.T) {
	output, err := cell(t, "device")
	if err != nil || strings.Count(output, "\n") != 2 || !strings.HasPrefix(output, "Note: no plugin of XLA") ||
		!strings.HasSuffix(output, "\none backend: true\n") {
		t.Errorf("error %v, output %q, want one note and one backend", err, output)
	}
}

// Setup has one line about the preset and the device, and the note.
func TestSetupWithoutXLA(t *testing.T) {
	t.Setenv("MFM_PRESET", "")
	output, err := cell(t, "setup")
	if err != nil || strings.Count(output, "\n") != 2 || !strings.HasPrefix(output, "Note: no plugin of XLA") ||
		!strings.Contains(output, "\nquick preset on ") {
		t.Errorf("error %v, output %q, want the note, the preset and the device", err, output)
	}
}

// A folder in use or of another run ends a cell with one line; another error panics.
func TestFinish(t *testing.T) {
	for name, want := range map[string]error{"locked": checkpoint.ErrLocked, "other": run.ErrOtherRun} {
		output, err := cell(t, name)
		if err == nil || strings.Count(output, "\n") != 1 || !strings.Contains(output, want.Error()) {
			t.Errorf("%s: error %v, output %q, want one line with %q", name, err, output, want)
		}
	}
	if output, err := cell(t, "broken"); err == nil || !strings.Contains(output, "panic: broken") {
		t.Errorf("another error: error %v, output %q, want a panic", err, output)
	}
}

// A verdict is a line for each sentence. An interrupted training or diagnosis ends the cell without
// one.
func TestPrintVerdict(t *testing.T) {
	if output, err := cell(t, "verdict"); err != nil || output != "One.\nTwo.\n" {
		t.Errorf("error %v, output %q, want two lines", err, output)
	}
	for name, part := range map[string]string{"interrupted": "training", "interrupted verdict": "diagnosis"} {
		want := fmt.Sprintf("Interrupted: %s: context canceled. Run this cell again to resume.\n", part)
		if output, err := cell(t, name); err == nil || output != want {
			t.Errorf("%s: error %v, output %q, want %q", name, err, output, want)
		}
	}
}
