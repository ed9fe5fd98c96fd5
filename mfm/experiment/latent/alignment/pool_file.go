package alignment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

// openPool opens the pool of a setting in the folder of the watch, with the samples that it has
// there, or a new one in a temporary file if there is no folder.
func (s *Steering) openPool(block steering.Setting) (p *pool, err error) {
	p = &pool{block: block, elements: s.model.Elements()}
	dir := s.Watched().Pools
	if dir == "" {
		if p.file, err = os.CreateTemp("", "mfm-pool-"); err != nil {
			return nil, err
		}
		_ = os.Remove(p.file.Name()) // so that it ends with the process; some systems keep open files
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name, err := hashJSON([]any{s.model.hash, block})
	if err != nil {
		return nil, err
	}
	samples := filepath.Join(dir, "pool-"+name+".f32")
	p.path = filepath.Join(dir, "pool-"+name+".gob")
	if err := readGob(p.path, &p.poolState); err != nil {
		return nil, err
	}
	if p.file, err = os.OpenFile(samples, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if want := int64(len(p.Seconds)) * int64(block.Samples*p.elements) * 4; err == nil &&
		(info.Size() < want || len(p.Diverged) != len(p.Seconds)) {
		err = fmt.Errorf("%s: %d bytes, want at least %d of %d blocks: delete it and %s to draw the samples again",
			samples, info.Size(), want, len(p.Seconds), p.path)
	}
	if err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// scoresPath returns the file of the rewards of a pool, whose name is given, empty for a temporary
// pool.
func (s *Steering) scoresPath(p *pool, name string) string {
	if p.path == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(p.path), fmt.Sprintf("rewards-%s-%s.gob", name, s.Fingerprint))
}

// writeGob writes v to a file, unless path is empty.
func writeGob(path string, v any) error {
	if path == "" {
		return nil
	}
	return run.WriteGob(path, v)
}

// readGob reads v from a file, if path is not empty and there is one.
func readGob(path string, v any) error {
	if path == "" {
		return nil
	}
	if err := run.ReadGob(path, v); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
