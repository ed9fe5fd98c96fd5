package alignment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

// openPool opens the pool of a setting in the folder of the watch, with the samples that it has
// there, or a new one in a temporary file if there is no folder.
func (s *Steering) openPool(block steering.Setting, device string) (p *pool, err error) {
	p = &pool{block: block, elements: s.model.Elements()}
	dir := s.Watch().Pools
	if dir == "" {
		p.Device = device
		if p.file, err = os.CreateTemp("", "mfm-pool-"); err != nil {
			return nil, err
		}
		_ = os.Remove(p.file.Name()) // so that it ends with the process; some systems keep open files
		return p, nil
	}
	name, err := hashJSON([]any{s.model.hash, block})
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	p.path = filepath.Join(dir, "pool-"+name)
	p.lock = flock.New(p.path + ".lock")
	if locked, err := p.lock.TryLock(); err != nil {
		return nil, err
	} else if !locked {
		return nil, fmt.Errorf("%w: another process writes to %s: wait for it, or end it", checkpoint.ErrLocked, p.path)
	}
	if err := errors.Join(p.read(".gob", &p.poolState), p.open(device)); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// open opens the file of the samples and checks it.
func (p *pool) open(device string) (err error) {
	if p.file, err = os.OpenFile(p.path+".f32", os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if len(p.Seconds) == 0 {
		p.Device = device
	}
	want := int64(len(p.Seconds)) * int64(p.block.Samples*p.elements) * 4
	switch {
	case info.Size() < want || len(p.Diverged) != len(p.Seconds):
		return fmt.Errorf("%s.f32: %d bytes, want at least %d: delete %[1]s* to draw the samples again", p.path, info.Size(),
			want)
	case p.Device != device:
		return fmt.Errorf("%s.f32: %w: resume there, or delete %[1]s* to draw them again", p.path,
			steering.OtherDevice(p.Device, device))
	}
	return nil
}

// RemovePools removes the pools that the model's runs have used from the folder of the watch, and
// the folder if nothing is left in it. Later runs begin new ones.
func (s *Steering) RemovePools() error {
	var errs []error
	for _, p := range s.model.pools {
		if p.path == "" {
			continue
		}
		dir, name := filepath.Split(p.path)
		files, err := fs.Glob(os.DirFS(dir), name+"*") // the folder's name is no pattern
		errs = append(errs, err)
		for _, file := range files {
			errs = append(errs, os.Remove(filepath.Join(dir, file)))
		}
	}
	s.model.closePools()
	if dir := s.Watch().Pools; dir != "" {
		_ = os.Remove(dir) // fails if another sweep has pools there
	}
	return errors.Join(errs...)
}

func (m *Model) closePools() {
	for _, p := range m.pools {
		p.close()
	}
	clear(m.pools)
}

// close closes the files of a pool, which remain.
func (p *pool) close() {
	if p.file != nil {
		p.file.Close()
	}
	if p.lock != nil {
		_ = p.lock.Unlock()
	}
}

// write writes v to a file of the pool, unless the pool is a temporary file.
func (p *pool) write(extension string, v any) error {
	if p.path == "" {
		return nil
	}
	return run.WriteGob(p.path+extension, v)
}

// read reads v from a file of the pool, if there is one.
func (p *pool) read(extension string, v any) error {
	if p.path == "" {
		return nil
	}
	if err := run.ReadGob(p.path+extension, v); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
