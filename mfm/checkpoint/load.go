package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// ErrNone is the error, wrapped, for a folder without an intact checkpoint.
var ErrNone = errors.New("no checkpoint")

// Checkpoint is the state of a training run after Step steps.
type Checkpoint struct {
	Step    int64
	Tensors Tensors         // in local memory
	Meta    json.RawMessage // the metadata given to [Manager.Save], as JSON without white space
}

// Latest returns the newest intact checkpoint in dir. It skips every newer one that is truncated or
// altered (wrong size or SHA-256, bad JSON, a missing file) and describes it in problems, which the
// caller should show. If no checkpoint is intact, the error wraps [ErrNone], and problems describes
// the damaged ones.
//
// Latest needs no lock and writes nothing, so it can read the folder of a running training.
func Latest(dir string) (c *Checkpoint, problems []error, err error) {
	// A running training may save a checkpoint and delete an older one during the listing, which then
	// has neither of them whole, or after it.
	const attempts = 100
	for range attempts {
		var changed bool
		if c, problems, changed, err = latest(dir); !changed {
			break
		}
	}
	return c, problems, err
}

// latest is one attempt of [Latest]. changed reports that it found no checkpoint, and that other
// files are there now.
func latest(dir string) (c *Checkpoint, problems []error, changed bool, err error) {
	entries, err := list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, fmt.Errorf("%w: there is no folder %s", ErrNone, dir)
	}
	if err != nil {
		return nil, nil, false, err
	}
	steps := map[int64]bool{} // whether the step has a manifest
	for _, e := range entries {
		steps[e.step] = steps[e.step] || e.manifest
	}
	for _, step := range slices.SortedFunc(maps.Keys(steps), func(a, b int64) int { return cmp.Compare(b, a) }) {
		if !steps[step] {
			problem := fmt.Errorf("%s is missing: saving was interrupted, or the file was deleted", manifestName(step))
			problems = append(problems, problem)
			continue
		}
		c, err := Load(dir, step)
		if err == nil {
			return c, problems, false, nil
		}
		problems = append(problems, err)
	}
	if err = fmt.Errorf("%w in %s", ErrNone, dir); len(problems) > 0 {
		err = fmt.Errorf("%w, %d damaged", err, len(problems))
	}
	now, _ := list(dir)
	return nil, problems, !slices.Equal(entries, now), err
}

// Load returns the checkpoint of a step in dir after checking it in full. The error wraps [ErrNone]
// if the step was never saved or is already deleted; otherwise it names the file that is truncated,
// altered or missing.
func Load(dir string, step int64) (*Checkpoint, error) {
	c, err := load(dir, step)
	if err == nil {
		return c, nil
	}
	if _, gone := os.Stat(filepath.Join(dir, manifestName(step))); errors.Is(gone, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w of step %d in %s", ErrNone, step, dir)
	}
	return nil, err
}

func load(dir string, step int64) (*Checkpoint, error) {
	m, err := readManifest(dir, step)
	if err != nil {
		return nil, named(manifestName(step), err)
	}
	t, err := readChecked(filepath.Join(dir, m.File), m)
	if err != nil {
		return nil, named(m.File, err)
	}
	return &Checkpoint{Step: step, Tensors: t, Meta: m.Meta}, nil
}

// named returns an error with the name of its file, in place of the file's path.
func named(name string, err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		err = of.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// readChecked reads the tensors that m describes and compares the size and hash of their file.
func readChecked(path string, m *manifest) (Tensors, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size != m.Size {
		return nil, fmt.Errorf("wrong size: %d bytes, the manifest says %d", size, m.Size)
	}
	sum := newChecksum()
	r := io.TeeReader(f, sum)
	t, _, parseErr := Read(r, size)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	if sum.String() != m.SHA256 {
		return nil, fmt.Errorf("altered: SHA-256 is %s, the manifest says %s", sum, m.SHA256)
	}
	if parseErr != nil {
		return nil, parseErr
	}
	if err := sameTensors(t, m); err != nil {
		return nil, err
	}
	return t, nil
}

// sameTensors returns an error unless t has the tensors that the manifest lists.
func sameTensors(t Tensors, m *manifest) error {
	described, err := describe(t)
	if err != nil {
		return err
	}
	have, err := json.Marshal(described)
	if err != nil {
		return err
	}
	want, err := json.Marshal(m.Tensors)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return errors.New("its tensors differ from those that the manifest lists")
	}
	return nil
}
