// Package weightfile reads the tensors in files of torch.save and numpy.savez, which nobody has
// checked. It runs nothing that a file says, and bounds the memory by the size of the file.
package weightfile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/pretrained/internal/pickle"
)

// Limits for files of PyTorch. They are far above those of real files.
const (
	maxPickle    = 16 << 20 // bytes of the pickle that describes the tensors
	maxNesting   = 32       // dictionaries in dictionaries
	maxRepeats   = 4        // bytes of tensors for each byte of the file
	maxTorchRank = 16
)

// storage is a one-dimensional array of numbers in a file.
type storage struct {
	dtype  dtypes.DType
	length int64 // in elements
	key    string
}

// view is a tensor as a view of a storage.
type view struct {
	storage     *storage
	offset      int64 // in elements
	size, steps []int64
}

// torchFile is a file of PyTorch under construction.
type torchFile struct {
	size     int64 // in bytes
	limit    int64 // for the bytes of all tensors
	storages map[string]*storage
	inert    *pickle.Inert // the first value of an unknown class
	// read returns n bytes of a storage from a byte offset.
	read func(s *storage, offset, n int64) ([]byte, error)
}

// ReadTorch is pretrained.ReadTorch.
func ReadTorch(r io.ReaderAt, size int64) (checkpoint.Tensors, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return nil, errors.New("too short for a file of PyTorch")
	}
	f := &torchFile{limit: maxRepeats * size, storages: make(map[string]*storage)}
	var root any
	var err error
	if r, f.size, err = unpacked(r, size); err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return nil, err
	}
	if string(magic[:]) == "PK\x03\x04" {
		root, err = f.openZip(r)
	} else {
		root, err = f.openLegacy(r)
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string]*view)
	if err := collect(found, "", root, maxNesting); err != nil {
		return nil, err
	}
	if len(found) == 0 && f.inert != nil {
		return nil, fmt.Errorf("it has no tensors, but a value of %.100s, which does not build tensors or plain "+
			"containers", f.inert.Name)
	}
	return f.tensors(found)
}

var errTooLong = errors.New("too long")

// readAll reads at most limit bytes; more are an error with the first ones.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return data[:limit], fmt.Errorf("more than %d bytes: %w", limit, errTooLong)
	}
	return data, err
}

// collect adds the tensors in dictionaries and lists, by their keys joined by dots.
func collect(found map[string]*view, name string, value any, depth int) error {
	if depth == 0 {
		return fmt.Errorf("%.60q: dictionaries nested more than %d deep", name, maxNesting)
	}
	join := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch v := value.(type) {
	case *view:
		if name == "" {
			name = "tensor"
		}
		if found[name] != nil {
			return fmt.Errorf("tensor %q occurs twice", name)
		}
		found[name] = v
	case *pickle.Dict:
		for i, key := range v.Keys {
			text, ok := key.(string)
			if n, isInt := key.(int64); isInt {
				text, ok = fmt.Sprint(n), true
			}
			if !ok {
				continue
			}
			if err := collect(found, join(text), v.Values[i], depth-1); err != nil {
				return err
			}
		}
	case *pickle.List:
		for i, item := range v.Items {
			if err := collect(found, join(fmt.Sprint(i)), item, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// tensors reads the tensors.
func (f *torchFile) tensors(found map[string]*view) (checkpoint.Tensors, error) {
	var total int64
	for name, v := range found {
		n, err := v.check()
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if total += n; n > f.size || total > f.limit {
			return nil, fmt.Errorf("tensor %q: the tensors take more than %d times the %d bytes of the file",
				name, maxRepeats, f.limit/maxRepeats)
		}
	}
	result := make(checkpoint.Tensors, len(found))
	for name, v := range found {
		t, err := f.tensor(v)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		result[name] = t
	}
	return result, nil
}

// check returns the tensor's size in bytes, or an error if it reaches beyond its storage.
func (v *view) check() (int64, error) {
	if len(v.size) > 0 && slices.Min(v.size) == 0 && slices.Max(v.size) <= math.MaxInt32 {
		return 0, nil
	}
	elements, last := int64(1), v.offset
	for axis, n := range v.size {
		step := v.steps[axis]
		if n < 0 || step < 0 || n > 0 && elements > max(v.storage.length, 1)/n {
			return 0, fmt.Errorf("its shape %v, steps %v do not fit a storage of %d elements", v.size, v.steps,
				v.storage.length)
		}
		elements *= n
		if n > 1 && step > v.storage.length {
			return 0, fmt.Errorf("it reaches beyond its storage of %d elements", v.storage.length)
		}
		last += max(n-1, 0) * step
	}
	if v.offset < 0 || elements > 0 && last >= v.storage.length {
		return 0, fmt.Errorf("it reaches beyond its storage of %d elements", v.storage.length)
	}
	return elements * int64(v.storage.dtype.Size()), nil
}

// tensor reads one tensor, whose view was checked.
func (f *torchFile) tensor(v *view) (*tensors.Tensor, error) {
	dims, elements, last := make([]int, len(v.size)), int64(1), int64(0)
	for axis, n := range v.size {
		dims[axis] = int(n)
		elements *= n
		last += max(n-1, 0) * v.steps[axis]
	}
	width := int64(v.storage.dtype.Size())
	t := tensors.FromShape(shapes.Make(v.storage.dtype, dims...))
	if elements == 0 {
		return t, nil
	}
	raw, err := f.read(v.storage, v.offset*width, (last+1)*width)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) < (last+1)*width {
		return nil, errors.New("truncated")
	}
	return t, t.MutableBytes(func(to []byte) {
		v.gather(to, raw, width)
	})
}

// gather copies the elements of the view, in order, from the bytes of its storage.
func (v *view) gather(to, from []byte, width int64) {
	index := make([]int64, len(v.size))
	var at int64
	for done := int64(0); done < int64(len(to)); done += width {
		copy(to[done:done+width], from[at*width:])
		for axis := len(index) - 1; axis >= 0; axis-- {
			at += v.steps[axis]
			if index[axis]++; index[axis] < v.size[axis] {
				break
			}
			at -= v.size[axis] * v.steps[axis]
			index[axis] = 0
		}
	}
}
