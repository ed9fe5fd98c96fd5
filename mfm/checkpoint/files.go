package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
)

const tempSuffix = ".tmp"

// file is a file open for writing.
type file interface {
	io.WriteCloser
	Sync() error
}

// fileSystem has all operations by which this package changes a disk.
type fileSystem interface {
	Create(path string) (file, error) // truncates an existing file
	Rename(from, to string) error     // replaces an existing file
	Remove(path string) error
	SyncDir(dir string) error // makes the names in dir durable
}

// disk is the real file system.
type disk struct{}

func (disk) Create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}

func (disk) Rename(from, to string) error { return os.Rename(from, to) }

func (disk) Remove(path string) error { return os.Remove(path) }

func (disk) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot sync folders
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// writeTemp writes and syncs path+".tmp".
func writeTemp(fs fileSystem, path string, write func(io.Writer) error) error {
	f, err := fs.Create(path + tempSuffix)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// commit durably renames the file of writeTemp to path.
func commit(fs fileSystem, path string) error {
	if err := fs.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// discard removes what writeTemp may have left of each path. It ignores errors: the caller has one.
func discard(fs fileSystem, paths ...string) {
	for _, path := range paths {
		_ = fs.Remove(path + tempSuffix)
	}
}
