package steering_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	runfile "github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/steer"
)

// A run that is stopped between two microbatches resumes there, with the samples of a whole run.
// The sweep removes what was kept. A file that is no run, or one of other samples, is an error that
// names it.
func TestWatch(t *testing.T) {
	b, base, class := backendtest.New(t), classBase(t), 0
	base.Batch = 4
	s := steering.Setting{
		Method: "dps", N: 1, Samples: 12, Seed: 5, Config: steer.DefaultConfig(), Options: steering.Options{Class: &class},
	}
	s.Config.Steps = 3
	run := func(ctx context.Context) ([]float32, steering.Result, error) {
		r, samples, _, err := base.Run(ctx, b, s, nil, rand.New(rand.NewPCG(1, 2)))
		return samples, r, err
	}
	want, whole, err := run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name, err := sweep.Name(s)
	if err != nil {
		t.Fatal(err)
	}
	path := sweep.PartialPath(dir, name)
	for _, every := range []time.Duration{time.Hour, 0} {
		ctx, cancel := context.WithCancel(t.Context())
		var seen []int
		base.Follow(steering.Watch{Path: path, Every: every, Progress: func(done, n int) {
			if seen = append(seen, done); done == 8 || n != 12 {
				cancel()
			}
		}})
		if _, _, err := run(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "8 of 12") {
			t.Fatalf("a stopped run returns %v", err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
		var got []float32
		var r steering.Result
		_, err := sweep.Run(t.Context(), sweep.Sweep{Dir: dir}, []steering.Setting{s},
			func(ctx context.Context, _ steering.Setting) (_ steering.Result, err error) {
				got, r, err = run(ctx)
				return r, err
			})
		if err != nil || !slices.Equal(got, want) || r.NFE != whole.NFE || !slices.Equal(seen, []int{0, 4, 8, 8, 12}) {
			t.Errorf("the resumed run has samples %v, NFE %g, progress %v (%v); want %v, %g", got, r.NFE, seen, err, want,
				whole.NFE)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 || os.Remove(files[0]) != nil {
			t.Errorf("files %v, want that of the result alone (%v)", files, err)
		}
	}
	base.Follow(steering.Watch{Path: path})
	if _, _, err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
	base.Batch = 3
	if _, _, err := run(t.Context()); !errors.Is(err, steer.ErrPartial) || !strings.Contains(err.Error(), path) {
		t.Errorf("a run in other microbatches: error %v", err)
	}
	type kept struct {
		Run    *steer.Partial
		Device string
	}
	const other = "other"
	for want, v := range map[string]any{
		"no run in progress": struct{ Seconds float64 }{1},
		"a run on other":     kept{new(steer.Partial), other},
	} {
		if err := runfile.WriteGob(path, v); err != nil {
			t.Fatal(err)
		}
		if _, _, err := run(t.Context()); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if steering.Device(b) == "" { // of a CPU, which the file does not name
		if err := runfile.WriteGob(path, kept{new(steer.Partial), ""}); err != nil {
			t.Fatal(err)
		}
		if p, err := steering.ReadPartial(path, other); err == nil || !strings.Contains(err.Error(), "a run on CPU, this is other") {
			t.Errorf("a file of a CPU: %v, error %v", p, err)
		}
	}
	if err := os.WriteFile(path, []byte("no run"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is no run: error %v", err)
	}
}
