package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrOtherContent says that a file has another content than the one it is claimed for.
var ErrOtherContent = errors.New("the file has another content")

// ClaimJSON writes v as indented JSON to a file that does not exist, whole and once, in its folder,
// which it makes. If the file exists, also because another process was first, its content must be
// the same: otherwise the error is [ErrOtherContent]. So processes that share a folder agree on
// what they do there.
func ClaimJSON(path string, v any) error {
	want, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	want = append(want, '\n')
	have, err := os.ReadFile(path)
	switch {
	case err == nil && !bytes.Equal(have, want):
		return fmt.Errorf("%w: %s", ErrOtherContent, path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(want)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Another process was faster.
	if have, err = os.ReadFile(path); err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("%w: %s", ErrOtherContent, path)
	}
	return err
}
