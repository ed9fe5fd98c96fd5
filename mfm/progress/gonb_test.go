//go:build unix

package progress

import (
	"encoding/gob"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/janpfeifer/gonb/gonbui/protocol"
)

// TestMain lets this binary also run as the notebook cell of TestGoNB.
func TestMain(m *testing.M) {
	if os.Getenv("PROGRESS_TEST_CELL") != "" {
		c := newClock()
		s := Auto(os.Stdout)
		if n, ok := s.(*notebook); ok {
			n.now, n.rate = c.now, NewRate(time.Second, c.now)
		}
		s.Done(work(s, c, Report{Total: 10}, 10, time.Second), nil)
		return
	}
	os.Exit(m.Run())
}

// TestGoNB acts as the kernel for the program of a cell: it receives what the program displays over
// GoNB's pipes.
func TestGoNB(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	there, back := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "back")
	for _, path := range []string{there, back} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skip(err)
		}
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "PROGRESS_TEST_CELL=1",
		protocol.GONB_PIPE_ENV+"="+there, protocol.GONB_PIPE_BACK_ENV+"="+back)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	// Open both ends of both pipes here, so that a program that fails to open its own end cannot
	// hang the test.
	read, err := os.OpenFile(there, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	write, err := os.OpenFile(back, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		read.Close() // ends the decoder below
	}()

	var shown []string
	ids := map[string]bool{}
	decoder, encoder := gob.NewDecoder(read), gob.NewEncoder(write)
	for {
		var data protocol.DisplayData
		if decoder.Decode(&data) != nil {
			break
		}
		if html, ok := data.Data[protocol.MIMETextHTML].(string); ok {
			shown = append(shown, html)
			ids[data.DisplayID] = true
		}
		if value, ok := data.Data[protocol.MIMECommValue].(protocol.CommValue); ok {
			ack := protocol.CommValue{Address: protocol.GonbuiSyncAckAddress, Value: value.Value}
			if err := encoder.Encode(ack); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if len(shown) != 12 || len(ids) != 1 {
		t.Fatalf("%d states in %d displays, want 12 in one", len(shown), len(ids))
	}
	if last := shown[11]; !strings.Contains(last, "10/10  100%  1.00 steps/s  done in 10s</div>") {
		t.Errorf("the last state is %s", last)
	}
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}
