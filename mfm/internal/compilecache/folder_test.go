package compilecache

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// open returns a folder with room for most bytes.
func open(t *testing.T, path string, most int64, dependencies ...string) *Folder {
	t.Helper()
	f, err := Open(path, most, os.Args[0], dependencies...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Program, options, devices and dependencies all name a file, and none can pass for a part of
// another.
func TestFilesDiffer(t *testing.T) {
	path, names := t.TempDir(), make(map[string]string)
	for what, file := range map[string]string{
		"a, b":               open(t, path, 0).file([]byte("a"), []byte("b"), 1),
		"a, b on 2 devices":  open(t, path, 0).file([]byte("a"), []byte("b"), 2),
		"ab":                 open(t, path, 0).file([]byte("ab"), nil, 1),
		"b, a":               open(t, path, 0).file([]byte("b"), []byte("a"), 1),
		"a, b with c":        open(t, path, 0, "c").file([]byte("a"), []byte("b"), 1),
		"a, b with c and d":  open(t, path, 0, "c", "d").file([]byte("a"), []byte("b"), 1),
		"a, b with cd":       open(t, path, 0, "cd").file([]byte("a"), []byte("b"), 1),
		"a, b with no text":  open(t, path, 0, "").file([]byte("a"), []byte("b"), 1),
		"a, b with no texts": open(t, path, 0, "", "").file([]byte("a"), []byte("b"), 1),
	} {
		if before, found := names[file]; found {
			t.Errorf("%s has the file of %s", what, before)
		}
		names[file] = what
	}
}

// The files that were not used for longest go first, down to three quarters of the room, with the
// parts of files that a process left. Others stay.
func TestPrune(t *testing.T) {
	path := t.TempDir()
	f := open(t, path, 1<<20)
	now := time.Now()
	file := func(i int) string { return f.file([]byte{byte(i)}, nil, 1) }
	executable := bytes.Repeat([]byte{1}, 1000)
	for i := range 10 {
		write(file(i), executable)
		old := now.Add(time.Duration(i-20) * time.Hour)
		if err := os.Chtimes(file(i), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(read(file(0)), executable) { // now the one used last
		t.Fatal("an executable is not read as it was written")
	}
	for name, age := range map[string]time.Duration{
		"x.pjrt.part": 2 * time.Hour, "y.pjrt.part": 0, "download.part": 99 * time.Hour,
	} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(path, name), now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	exists := func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	}
	open(t, path, 11*1032) // there is room
	for i := range 10 {
		if !exists(file(i)) {
			t.Errorf("file %d is gone, and there is room", i)
		}
	}
	open(t, path, 8*1032) // three quarters are six
	for i, want := range []bool{true, false, false, false, false, true, true, true, true, true} {
		if exists(file(i)) != want {
			t.Errorf("file %d is there: %t, want %t", i, !want, want)
		}
	}
	for name, want := range map[string]bool{"x.pjrt.part": false, "y.pjrt.part": true, "download.part": true} {
		if exists(filepath.Join(path, name)) != want {
			t.Errorf("%s is there: %t, want %t", name, !want, want)
		}
	}
}

// A file that is damaged in one byte, or not whole, is not read.
func TestDamage(t *testing.T) {
	file := open(t, t.TempDir(), 1<<20).file(nil, nil, 1)
	write(file, []byte("machine code"))
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		for _, raw := range [][]byte{bad, good[:i]} {
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := read(file); got != nil {
				t.Errorf("%q is read from a damaged file", got)
			}
		}
	}
}

// A folder to which others can write is refused, and so is one to which nobody can.
func TestOpenRefuses(t *testing.T) {
	path := t.TempDir()
	for _, mode := range []os.FileMode{0o777, 0o720, 0o702} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, 1<<20, os.Args[0]); err == nil {
			t.Errorf("a folder of mode %o is opened", mode)
		}
	}
	if err := os.Chmod(path, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, 1<<20, os.Args[0]); err == nil && os.Getuid() != 0 {
		t.Error("a folder without the right to write is opened")
	}
}

// The compiler is known by its content, wherever it lies, and its content is read again when it
// changes.
func TestCompiler(t *testing.T) {
	path, compilers := t.TempDir(), t.TempDir()
	at := time.Now().Add(-time.Hour)
	file := func(name, content string, at time.Time) string {
		name = filepath.Join(compilers, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path, 1<<20, name)
		if err != nil {
			t.Fatal(err)
		}
		return f.file(nil, nil, 1)
	}
	one := file("a", "one", at)
	for _, c := range []struct {
		name, content string
		at            time.Time
		same          bool
	}{
		{"b", "one", at, true}, {"a", "one", at.Add(time.Second), true}, {"a", "two", at.Add(2 * time.Second), false},
		{"b", "three", at, false}, {"a", "one", at.Add(3 * time.Second), true},
	} {
		if same := file(c.name, c.content, c.at) == one; same != c.same {
			t.Errorf("%s with the content %q has the same executables: %t, want %t", c.name, c.content, same, c.same)
		}
	}
	if _, err := Open(path, 1<<20, filepath.Join(compilers, "none")); err == nil {
		t.Error("a compiler that is not there has a folder")
	}
}
