package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// ErrLocked is the error, wrapped, of [Open] on a folder that another [Manager] writes to.
var ErrLocked = errors.New("folder of checkpoints is in use")

const lockName = "lock"

// Manager writes the checkpoints of one training to one folder, which it holds locked. It is not safe for concurrent use.
type Manager struct {
	dir  string
	keep int
	lock *flock.Flock
	fs   fileSystem
}

// Open locks dir, which it makes where there is none, and removes what a killed training left there half-written. The
// last keep checkpoints are kept, at least 1. The error wraps [ErrLocked], and names the process, where another one, or
// this one, has dir open. The system releases the lock of a process that ends in any way.
func Open(dir string, keep int) (*Manager, error) {
	if keep < 1 {
		return nil, fmt.Errorf("keep = %d checkpoints: at least 1 must stay", keep)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of checkpoints: %w", err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	m := &Manager{dir: dir, keep: keep, lock: lock, fs: disk{}}
	if err := m.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("folder of checkpoints: %w", err), m.Close())
	}
	return m, nil
}

// acquire takes the lock of dir and leaves the process's id in its file for whoever comes second.
func acquire(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of the folder of checkpoints: %w", err)
	}
	if !locked {
		owner := "another process"
		if text, err := os.ReadFile(path); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				owner = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, fmt.Errorf("%w: %s writes to %s: wait for it, end it, or choose another folder", ErrLocked, owner, dir)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the folder of checkpoints: %w", err), lock.Unlock())
	}
	return lock, nil
}

// clean removes the temporary files of checkpoints.
func (m *Manager) clean() error {
	files, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name, isTemp := strings.CutSuffix(f.Name(), tempSuffix)
		if _, ours := parseName(name); !isTemp || !ours {
			continue
		}
		if err := m.fs.Remove(filepath.Join(m.dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the folder. The checkpoints stay; the lock's file too, since deleting it would let two others in.
func (m *Manager) Close() error { return m.lock.Unlock() }

// Latest is the function [Latest] on the manager's folder.
func (m *Manager) Latest() (c *Checkpoint, problems []error, err error) { return Latest(m.dir) }

// Load is the function [Load] on the manager's folder.
func (m *Manager) Load(step int64) (*Checkpoint, error) { return Load(m.dir, step) }

// Save keeps t and meta, anything that encoding/json can encode, as the checkpoint of step, in [0, 1e18). When it
// returns without error they are durable on disk, and of the checkpoints up to this step only the newest keep are left.
// Later steps, which a training that went back to an earlier checkpoint has ahead of it, are left alone until they are
// saved again. After an error the checkpoints before are as they were.
func (m *Manager) Save(step int64, t Tensors, meta any) error {
	if !m.lock.Locked() {
		return fmt.Errorf("checkpoint of step %d: the manager of %s is closed", step, m.dir)
	}
	if step < 0 || step >= maxStep {
		return fmt.Errorf("checkpoint of step %d: a step is at least 0 and has at most 18 digits", step)
	}
	file, err := m.save(step, t, meta)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d in %s: %w", step, m.dir, err)
	}
	if err := m.rotate(step, file); err != nil {
		return fmt.Errorf("checkpoint of step %d in %s is saved, older ones are not deleted: %w", step, m.dir, err)
	}
	return nil
}

// save writes both files, and only then gives them their names. It returns the name of the tensors' file.
func (m *Manager) save(step int64, t Tensors, meta any) (name string, err error) {
	next := manifest{Step: step, File: m.freeName(step)}
	if next.Meta, err = json.Marshal(meta); err != nil {
		return "", fmt.Errorf("its meta data: %w", err)
	}
	if next.Tensors, err = describe(t); err != nil {
		return "", err
	}
	tensorPath, manifestPath := filepath.Join(m.dir, next.File), filepath.Join(m.dir, manifestName(step))
	defer func() {
		if err != nil {
			discard(m.fs, tensorPath, manifestPath)
		}
	}()
	sum := newChecksum()
	write := func(w io.Writer) error { return Write(io.MultiWriter(w, sum), t, nil) }
	if err := writeTemp(m.fs, tensorPath, write); err != nil {
		return "", err
	}
	next.Size, next.SHA256 = sum.size, sum.String()
	text, err := next.encode()
	if err != nil {
		return "", err
	}
	write = func(w io.Writer) error { _, err := w.Write(text); return err }
	if err := writeTemp(m.fs, manifestPath, write); err != nil {
		return "", err
	}
	if err := commit(m.fs, tensorPath); err != nil {
		return "", err
	}
	return next.File, commit(m.fs, manifestPath)
}

// freeName returns the name for the tensors of step that a whole checkpoint of the same step does not use, so that that
// one stays whole until the new manifest takes its place.
func (m *Manager) freeName(step int64) string {
	names := tensorNames(step)
	if m.whole(step, names[0]) {
		return names[1]
	}
	return names[0]
}

// rotate deletes what is no longer needed now that saved, with its tensors in file, is safe: the checkpoints older than
// the newest m.keep, and an earlier saved's tensors. It counts a checkpoint whose manifest is sound and whose file has
// the right size, so that torn ones don't take the place of good ones.
func (m *Manager) rotate(saved int64, file string) error {
	entries, err := list(m.dir)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(b.step, a.step) })
	kept, oldest := 1, saved
	for _, e := range entries {
		if e.manifest && e.step < saved && kept < m.keep && m.whole(e.step, tensorNames(e.step)...) {
			kept, oldest = kept+1, e.step
		}
	}
	stale := func(e entry) bool {
		return kept == m.keep && e.step < oldest || e.step == saved && !e.manifest && e.name != file
	}
	for _, manifests := range []bool{true, false} { // a checkpoint ends, as it begins, with its manifest
		for _, e := range entries {
			if e.manifest != manifests || !stale(e) {
				continue
			}
			if err := m.fs.Remove(filepath.Join(m.dir, e.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole reports whether step has a sound manifest and its tensors, in a file of one of the given names, the right size.
func (m *Manager) whole(step int64, names ...string) bool {
	c, err := readManifest(m.dir, step)
	if err != nil || !slices.Contains(names, c.File) {
		return false
	}
	info, err := os.Stat(filepath.Join(m.dir, c.File))
	return err == nil && info.Size() == c.Size
}
