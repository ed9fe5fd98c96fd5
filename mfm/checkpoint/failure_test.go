package checkpoint

import (
	"errors"
	"strings"
	"testing"
)

// failing is a file system whose operations fail after ops successful ones: one operation, or, if
// deadly, all that follow, as for a killed process. A write that fails leaves half of its bytes.
type failing struct {
	fileSystem
	ops    int
	deadly bool
	dead   bool
}

func (f *failing) step() error {
	f.ops--
	if f.dead || f.ops == -1 {
		f.dead = f.deadly
		return errFull
	}
	return nil
}

func (f *failing) Create(path string) (file, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	inner, err := f.fileSystem.Create(path)
	return &failingFile{inner, f}, err
}

func (f *failing) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.fileSystem.Rename(from, to)
}

func (f *failing) Remove(path string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.fileSystem.Remove(path)
}

func (f *failing) SyncDir(dir string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.fileSystem.SyncDir(dir)
}

type failingFile struct {
	file
	fs *failing
}

func (f *failingFile) Write(p []byte) (int, error) {
	if err := f.fs.step(); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *failingFile) Sync() error {
	if err := f.fs.step(); err != nil {
		return err
	}
	return f.file.Sync()
}

// requireWhole fails unless every manifest in dir has its tensor file.
func requireWhole(t *testing.T, dir string) {
	t.Helper()
	entries, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.manifest {
			continue
		}
		if _, err := Load(dir, e.step); err != nil {
			t.Error(err)
		}
	}
}

// TestSaveFails lets each operation of a save fail, once and permanently. An intact checkpoint must
// always remain: the previous one or the new one.
func TestSaveFails(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, next int64
		keep        int
		deadly      bool
	}{
		{"disk full", 100, 200, 1, false},
		{"killed", 100, 200, 1, true},
		{"killed, keeping two", 100, 200, 2, true},
		{"disk full, the same step", 100, 100, 1, false},
		{"killed, the same step", 100, 100, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			failures := 0
			for ops := 0; ; ops++ {
				dir := t.TempDir()
				m := open(t, dir, test.keep)
				save(t, m, test.first)
				m.fs = &failing{fileSystem: unsynced{}, ops: ops, deadly: test.deadly}
				err := m.Save(test.next, state(test.next), map[string]int64{"examples": 64 * test.next})
				if err != nil && !errors.Is(err, errFull) {
					t.Fatal(err)
				}
				c, problems, latestErr := Latest(dir)
				if latestErr != nil {
					t.Fatalf("after %d operations: %v; %v", ops, latestErr, problems)
				}
				requireLatest(t, dir, c.Step)
				requireWhole(t, dir)
				if err == nil && c.Step != test.next {
					t.Fatalf("after %d operations: saved step %d, but the latest is %d", ops, test.next, c.Step)
				}
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
				m = open(t, dir, test.keep)
				for _, name := range files(t, dir) {
					if strings.HasSuffix(name, tempSuffix) {
						t.Errorf("after %d operations: %s remains", ops, name)
					}
				}
				save(t, m, test.next, 300)
				if problems := requireLatest(t, dir, 300); len(problems) > 0 {
					t.Errorf("after %d operations: problems %v", ops, problems)
				}
				if got := len(files(t, dir)); test.keep == 1 && got != 2 {
					t.Errorf("after %d operations: files %q", ops, files(t, dir))
				}
				if err == nil {
					break
				}
				failures++
			}
			if failures < 10 {
				t.Errorf("only %d operations failed", failures)
			}
		})
	}
}

// TestFullDiskLeavesNothing checks that a run that continues after a failed save does not fill the
// disk with temporary files.
func TestFullDiskLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, 1)
	save(t, m, 100)
	for ops := range 8 { // up to the sync of the manifest; later operations only rename
		m.fs = &failing{fileSystem: unsynced{}, ops: ops}
		if err := m.Save(200, state(200), nil); !errors.Is(err, errFull) {
			t.Fatalf("after %d operations: %v", ops, err)
		}
		requireFiles(t, dir, "step-000000100.json", "step-000000100.safetensors")
	}
	m.fs = unsynced{}
	save(t, m, 200)
}

// A first save that is killed at any moment leaves, once the folder is opened again, either a
// checkpoint or nothing: no file that looks like a checkpoint that was lost.
func TestFirstSaveKilled(t *testing.T) {
	for ops := 0; ; ops++ {
		dir := t.TempDir()
		m := open(t, dir, 1)
		m.fs = &failing{fileSystem: unsynced{}, ops: ops, deadly: true}
		err := m.Save(5, state(5), nil)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = open(t, dir, 1)
		if c, problems, _ := m.Latest(); len(problems) > 0 {
			t.Errorf("killed at operation %d: checkpoint %v, problems %q", ops, c, problems)
		}
		if err == nil {
			break
		}
	}
}
