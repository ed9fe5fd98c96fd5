// Package compilecache keeps the graphs that a PJRT plugin compiles in a folder. The same graph is
// then loaded instead of compiled, also by the next process, as with JAX's compilation cache:
// each cell of a notebook and each command is a process of its own.
//
// PJRT can serialize an executable, but go-xla (v0.4) has no call for it. [Folder.Use] replaces
// PJRT_Client_Compile in the plugin's table of functions.
package compilecache

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Folder is a folder of executables, machine code that is run. Processes of one user may share it.
type Folder struct {
	path string
	of   []byte // hash of what an executable depends on besides its graph
}

// Open returns the folder at a path, which it makes if there is none. An executable is loaded only
// with the compiler, a file, and the other dependencies that it was made with. If the executables
// have more bytes than most, the ones that were not used for longest are removed, until three
// quarters of it are left. Open returns an error if it cannot write to the folder, or others can.
func Open(path string, most int64, compiler string, dependencies ...string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("%s has mode %03o: others could put programs there", path, mode)
	}
	part, err := os.CreateTemp(path, parts)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(part.Close(), os.Remove(part.Name())); err != nil {
		return nil, err
	}
	f := &Folder{path: path}
	contents, err := f.contents(compiler)
	if err != nil {
		return nil, err
	}
	all := [][]byte{contents}
	for _, d := range dependencies {
		all = append(all, []byte(d))
	}
	f.of = hash(all...)
	return f, f.prune(most)
}

const (
	extension = ".pjrt"                   // of the executables
	parts     = "*" + extension + ".part" // files that are not complete yet
)

// contents returns the SHA-256 of a file. That of a large one takes a second, so the folder keeps
// it as long as the file's name, size and time are the same.
func (f *Folder) contents(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if name, err = filepath.Abs(name); err != nil {
		return nil, err
	}
	of := hash([]byte(name), []byte(fmt.Sprint(info.Size(), info.ModTime().UnixNano())))
	kept := filepath.Join(f.path, hex.EncodeToString(of[:16])+".sha256")
	if sum := read(kept); len(sum) == sha256.Size {
		return sum, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return nil, err
	}
	sum := h.Sum(nil)
	write(kept, sum)
	return sum, nil
}

// file returns the path of the executable of a program, with options of the compiler, for a client
// of a number of devices.
func (f *Folder) file(program, options []byte, devices int) string {
	count := binary.LittleEndian.AppendUint64(nil, uint64(devices))
	return filepath.Join(f.path, hex.EncodeToString(hash(f.of, count, options, program)[:16])+extension)
}

// hash returns the SHA-256 of parts with their lengths.
func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.LittleEndian, int64(len(p)))
		h.Write(p)
	}
	return h.Sum(nil)
}

// read returns what [write] kept in a file, nil if there is none or it is damaged, and marks it as
// used.
func read(file string) []byte {
	raw, err := os.ReadFile(file)
	if err != nil || len(raw) < sha256.Size || !bytes.Equal(hash(raw[sha256.Size:]), raw[:sha256.Size]) {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now)
	return raw[sha256.Size:]
}

// write keeps an executable, or another content, with its hash. It is no error if it cannot: then
// it is made again.
func write(file string, content []byte) {
	part, err := os.CreateTemp(filepath.Dir(file), parts)
	if err != nil {
		return
	}
	_, err = part.Write(append(hash(content), content...))
	if err = cmp.Or(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), file)
	}
	if err != nil {
		_ = os.Remove(part.Name())
	}
}

// prune removes files as [Open] says, and what interrupted processes left.
func (f *Folder) prune(most int64) error {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return err
	}
	var kept []os.FileInfo
	total := int64(0)
	for _, entry := range entries {
		info, err := entry.Info()
		switch {
		case err != nil: // another process removed it
		case strings.HasSuffix(entry.Name(), extension+".part") && time.Since(info.ModTime()) > time.Hour:
			_ = os.Remove(filepath.Join(f.path, entry.Name()))
		case strings.HasSuffix(entry.Name(), extension):
			kept = append(kept, info)
			total += info.Size()
		}
	}
	if total <= most {
		return nil
	}
	slices.SortFunc(kept, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range kept {
		if total <= most/4*3 {
			break
		}
		if err := os.Remove(filepath.Join(f.path, info.Name())); err == nil {
			total -= info.Size()
		}
	}
	return nil
}
