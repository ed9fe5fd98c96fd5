package checkpoint

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
)

const tempSuffix = ".tmp"

// file is what is needed of a file that is being written.
type file interface {
	io.WriteCloser
	Sync() error
}

// fileSystem is every way in which this package changes a disk.
type fileSystem interface {
	Create(path string) (file, error) // truncates
	Rename(from, to string) error     // replaces
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
		return nil // folders cannot be synced there
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

// commit gives the file of writeTemp its name, durably.
func commit(fs fileSystem, path string) error {
	if err := fs.Rename(path+tempSuffix, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}

// discard removes what writeTemp may have left of each path, after an error that is the one to report.
func discard(fs fileSystem, paths ...string) {
	for _, path := range paths {
		_ = fs.Remove(path + tempSuffix)
	}
}
