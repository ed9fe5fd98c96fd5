package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

// unsynced is the disk without syncing, its slowest part.
type unsynced struct{ disk }

func (u unsynced) Create(path string) (file, error) {
	f, err := u.disk.Create(path)
	return unsyncedFile{f}, err
}

func (unsynced) SyncDir(string) error { return nil }

type unsyncedFile struct{ file }

func (unsyncedFile) Sync() error { return nil }

func open(t *testing.T, dir string, keep int) *Manager {
	t.Helper()
	m, err := Open(dir, keep)
	if err != nil {
		t.Fatal(err)
	}
	m.fs = unsynced{}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// state returns the tensors of a training run at a step.
func state(step int64) Tensors {
	return Tensors{
		"weights": tensors.FromFlatDataAndDimensions([]float32{float32(step), float32(math.NaN()), -1}, 3),
		"rng":     tensors.FromFlatDataAndDimensions([]uint64{uint64(step), math.MaxUint64}, 2),
	}
}

func save(t *testing.T, m *Manager, steps ...int64) {
	t.Helper()
	for _, step := range steps {
		if err := m.Save(step, state(step), map[string]int64{"examples": 64 * step}); err != nil {
			t.Fatal(err)
		}
	}
}

// requireLatest fails unless the newest intact checkpoint is that of step. It returns the problems.
func requireLatest(t *testing.T, dir string, step int64) []error {
	t.Helper()
	c, problems, err := Latest(dir)
	if err != nil {
		t.Fatalf("%v; problems: %v", err, problems)
	}
	if c.Step != step {
		t.Fatalf("latest is step %d, want %d; problems: %v", c.Step, step, problems)
	}
	requireSame(t, c.Tensors, state(step))
	if want := fmt.Sprintf(`{"examples":%d}`, 64*step); string(c.Meta) != want {
		t.Fatalf("meta %s, want %s", c.Meta, want)
	}
	return problems
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func requireFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

func TestSaveLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "größe [1] *", "run")
	m := open(t, dir, 2)
	m.fs = disk{}
	meta := map[string]any{"loss": "semigroup", "big": json.Number("18446744073709551615"), "text": "<&>\u2028 \"\n"}
	if err := m.Save(7, everyKind(), meta); err != nil {
		t.Fatal(err)
	}
	for name, load := range map[string]func() (*Checkpoint, error){
		"Load": func() (*Checkpoint, error) { return m.Load(7) },
		"Latest": func() (*Checkpoint, error) {
			c, problems, err := m.Latest()
			if len(problems) > 0 {
				t.Errorf("problems %v", problems)
			}
			return c, err
		},
	} {
		c, err := load()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Step != 7 {
			t.Errorf("%s: step %d", name, c.Step)
		}
		requireSame(t, c.Tensors, everyKind())
		want, err := json.Marshal(meta)
		if err != nil || !bytes.Equal(c.Meta, want) {
			t.Errorf("%s: meta %s, want %s (%v)", name, c.Meta, want, err)
		}
	}
}

func TestNone(t *testing.T) {
	dir := t.TempDir()
	if c, problems, err := open(t, dir, 1).Latest(); c != nil || problems != nil || !errors.Is(err, ErrNone) {
		t.Errorf("empty folder: %v, %v, %v", c, problems, err)
	}
	if _, _, err := Latest(filepath.Join(dir, "absent")); !errors.Is(err, ErrNone) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Load(dir, 5); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "step 5") {
		t.Errorf("no such step: %v", err)
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{"notes.json", "step-1.json", "step-0000000001.json", "step-000000001.safetensors.bak", "x.tmp"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save(t, open(t, dir, 2), 0, 100, 200, 1_000_000_000, 2_000_000_000)
	want := append([]string{
		"step-1000000000.json", "step-1000000000.safetensors", "step-2000000000.json", "step-2000000000.safetensors",
	}, foreign...)
	slices.Sort(want)
	requireFiles(t, dir, want...)
	if problems := requireLatest(t, dir, 2_000_000_000); len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
}

// TestRotationKeepsIntact checks that damaged checkpoints do not count and that later ones remain.
func TestRotationKeepsIntact(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, 3)
	save(t, m, 100, 200, 300)
	for _, step := range []int64{200, 300} {
		if err := os.Truncate(filepath.Join(dir, tensorNames(step)[0]), 10); err != nil {
			t.Fatal(err)
		}
	}
	if problems := requireLatest(t, dir, 100); len(problems) != 2 {
		t.Errorf("problems %v, want 2", problems)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, 2)
	save(t, m, 250)
	requireFiles(t, dir, "step-000000100.json", "step-000000100.safetensors",
		"step-000000200.json", "step-000000200.safetensors", "step-000000250.json", "step-000000250.safetensors",
		"step-000000300.json", "step-000000300.safetensors")
	if problems := requireLatest(t, dir, 250); len(problems) != 1 {
		t.Errorf("problems %v, want 1", problems)
	}
	save(t, m, 300)
	requireFiles(t, dir, "step-000000250.json", "step-000000250.safetensors",
		"step-000000300.json", "step-000000300.safetensors")
}

// TestSaveAgain checks that a step saved twice keeps its first files until the second are durable,
// and that only one pair remains.
func TestSaveAgain(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, 1)
	const first, second = "step-000000005.safetensors", "step-000000005-2.safetensors"
	for i, file := range []string{first, second, first} {
		if err := m.Save(5, state(int64(i)), nil); err != nil {
			t.Fatal(err)
		}
		c, err := m.Load(5)
		if err != nil {
			t.Fatal(err)
		}
		requireSame(t, c.Tensors, state(int64(i)))
		if got := files(t, dir); !slices.Contains(got, file) || len(got) != 2 {
			t.Errorf("files %q, want the manifest and %s", got, file)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, 1)
	save(t, m, 100)
	for _, test := range []struct {
		name    string
		step    int64
		tensors Tensors
		meta    any
		want    string
	}{
		{"negative step", -1, state(1), nil, "at least 0"},
		{"huge step", maxStep, state(1), nil, "18 digits"},
		{"meta", 200, state(1), math.NaN(), "NaN"},
		{"tensor", 200, Tensors{"w": nil}, nil, `tensor "w"`},
		{"large meta", 200, state(1), strings.Repeat("x", maxManifest), "limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := m.Save(test.step, test.tensors, test.meta)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			requireFiles(t, dir, "step-000000100.json", "step-000000100.safetensors")
		})
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(200, state(200), nil); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.TempDir(), 0); err == nil || !strings.Contains(err.Error(), "keep = 0") {
		t.Errorf("keep = 0: %v", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 1); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("file instead of a folder: error %v, want one that names it", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, 1)
	save(t, first, 1)
	_, err := Open(dir, 1)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Fatalf("second Open: %v", err)
	}
	requireLatest(t, dir, 1) // reading needs no lock
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	save(t, open(t, dir, 1), 2)
}

// TestOpenCleans checks that Open removes the temporary files of a killed run and nothing else.
func TestOpenCleans(t *testing.T) {
	dir := t.TempDir()
	left := []string{"step-000000100.json.tmp", "step-000000100.safetensors.tmp", "step-000000100-2.safetensors.tmp"}
	kept := []string{"notes.tmp", "step-000000100.safetensors", "step-x.json.tmp"}
	for _, name := range append(left, kept...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("partial"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, dir, 1)
	requireFiles(t, dir, kept...)
	_, problems, err := m.Latest()
	if !errors.Is(err, ErrNone) || len(problems) != 1 ||
		!strings.Contains(problems[0].Error(), "step-000000100.json is missing") {
		t.Errorf("error %v, problems %v", err, problems)
	}
	save(t, m, 100) // replaces the tensors without a manifest
	requireLatest(t, dir, 100)
}

// TestLatestWhileSaving checks that Latest works while a running training deletes old checkpoints.
func TestLatestWhileSaving(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, 1)
	save(t, m, 0)
	done := make(chan error)
	go func() {
		for step := range int64(300) {
			if err := m.Save(step+1, state(step+1), nil); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for last := int64(0); ; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		c, _, err := Latest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c.Step < last {
			t.Fatalf("step %d after step %d", c.Step, last)
		}
		requireSame(t, c.Tensors, state(c.Step))
		last = c.Step
	}
}
