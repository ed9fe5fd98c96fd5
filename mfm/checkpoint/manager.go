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
var ErrLocked = errors.New("checkpoint folder is in use")

const lockName = "lock"

// Manager writes the checkpoints of one training run to one folder, which it keeps locked. It is
// not safe for concurrent use.
type Manager struct {
	dir  string
	keep int
	lock *flock.Flock
	fs   fileSystem
}

// Open locks dir, creating it if necessary, and removes temporary files that a killed run left
// there, or completes its save if all was written. The manager keeps the last keep checkpoints, at
// least 1. If another manager, in this or another process, has dir open, the error wraps
// [ErrLocked] and names the process. The operating system releases the lock when a process ends, in
// whatever way.
func Open(dir string, keep int) (*Manager, error) {
	if keep < 1 {
		return nil, fmt.Errorf("keep = %d checkpoints: must be at least 1", keep)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("checkpoint folder: %w", err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	m := &Manager{dir: dir, keep: keep, lock: lock, fs: disk{}}
	if err := m.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoint folder: %w", err), m.Close())
	}
	return m, nil
}

// acquire locks dir and writes the process id into the lock file, for the error of a later Open.
func acquire(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o644))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock of the checkpoint folder: %w", err)
	}
	if !locked {
		owner := "another process"
		if text, err := os.ReadFile(path); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				owner = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, fmt.Errorf("%w: %s writes to %s: wait for it, end it, or choose another folder",
			ErrLocked, owner, dir)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the checkpoint folder: %w", err), lock.Unlock())
	}
	return lock, nil
}

// clean removes the temporary files of checkpoints, except a manifest that completes a save.
func (m *Manager) clean() error {
	files, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name, isTemp := strings.CutSuffix(f.Name(), tempSuffix)
		e, ours := parseName(name)
		if !isTemp || !ours {
			continue
		}
		path := filepath.Join(m.dir, name)
		if e.manifest && m.unfinished(e.step) {
			err = commit(m.fs, path)
		} else {
			err = m.fs.Remove(path + tempSuffix)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unfinished reports whether step has no manifest but an intact temporary one, and tensors of the
// right size: its save was interrupted between its last two operations.
func (m *Manager) unfinished(step int64) bool {
	path := filepath.Join(m.dir, manifestName(step))
	if _, err := os.Stat(path); err == nil {
		return false
	}
	text, err := os.ReadFile(path + tempSuffix)
	if err != nil {
		return false
	}
	c, err := decodeManifest(text)
	if err != nil || c.Step != step || !slices.Contains(tensorNames(step), c.File) {
		return false
	}
	info, err := os.Stat(filepath.Join(m.dir, c.File))
	return err == nil && info.Size() == c.Size
}

// Close releases the lock. The checkpoints remain, and so does the lock file: if it were deleted,
// two managers could open the folder at once.
func (m *Manager) Close() error { return m.lock.Unlock() }

// Latest calls [Latest] on the manager's folder.
func (m *Manager) Latest() (c *Checkpoint, problems []error, err error) { return Latest(m.dir) }

// Load calls [Load] on the manager's folder.
func (m *Manager) Load(step int64) (*Checkpoint, error) { return Load(m.dir, step) }

// Save writes t and meta, which encoding/json must be able to encode, as the checkpoint of step, in
// [0, 1e18). When Save returns without an error, they are durable on disk, and of the checkpoints
// up to this step only the newest keep remain. Save does not touch checkpoints of later steps,
// which exist if a run returned to an earlier checkpoint. After an error the earlier checkpoints
// are unchanged.
func (m *Manager) Save(step int64, t Tensors, meta any) error {
	if !m.lock.Locked() {
		return fmt.Errorf("checkpoint of step %d: the manager of %s is closed", step, m.dir)
	}
	if step < 0 || step >= maxStep {
		return fmt.Errorf("checkpoint of step %d: the step must be at least 0 and have at most 18 digits", step)
	}
	file, err := m.save(step, t, meta)
	if err != nil {
		return fmt.Errorf("checkpoint of step %d in %s: %w", step, m.dir, err)
	}
	if err := m.rotate(step, file); err != nil {
		return fmt.Errorf("checkpoint of step %d in %s is saved, but older ones are not deleted: %w", step, m.dir, err)
	}
	return nil
}

// save writes both files and then renames them. It returns the name of the tensor file.
func (m *Manager) save(step int64, t Tensors, meta any) (name string, err error) {
	next := manifest{Step: step, File: m.freeName(step)}
	if next.Meta, err = json.Marshal(meta); err != nil {
		return "", fmt.Errorf("metadata: %w", err)
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

// freeName returns a name for the tensors of step that no complete checkpoint of the same step
// uses, so that an existing one stays complete until the new manifest replaces its own.
func (m *Manager) freeName(step int64) string {
	names := tensorNames(step)
	if m.whole(step, names[0]) {
		return names[1]
	}
	return names[0]
}

// rotate deletes what is no longer needed once the checkpoint saved, with its tensors in file, is
// durable: checkpoints older than the newest m.keep, and the other tensor file of saved. It counts
// only checkpoints whose manifest is intact and whose tensor file has the right size, so that
// damaged ones do not displace intact ones.
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
	for _, manifests := range []bool{true, false} { // delete manifests first
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

// whole reports whether step has an intact manifest and, under one of names, a file of the right
// size.
func (m *Manager) whole(step int64, names ...string) bool {
	c, err := readManifest(m.dir, step)
	if err != nil || !slices.Contains(names, c.File) {
		return false
	}
	info, err := os.Stat(filepath.Join(m.dir, c.File))
	return err == nil && info.Size() == c.Size
}
