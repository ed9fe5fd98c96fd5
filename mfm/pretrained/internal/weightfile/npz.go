package weightfile

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/checkpoint"
)

// Limits for the elements in a file of numpy.savez_compressed: weights of noise hardly compress,
// zeros do by a factor of a thousand.
const (
	maxInflation = 16       // bytes of elements for each byte of the file, and besides
	inflationGap = 16 << 20 // bytes
	maxNPYHeader = 64<<10 + 12
)

// npyTypes are the element types of arrays in an npz file by NumPy's names.
var npyTypes = map[string]dtypes.DType{
	"<f2": dtypes.Float16, "<f4": dtypes.Float32, "<f8": dtypes.Float64, "<i4": dtypes.Int32, "<i8": dtypes.Int64,
}

// ReadNPZ is pretrained.ReadNPZ.
func ReadNPZ(r io.ReaderAt, size int64) (checkpoint.Tensors, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	all := make(checkpoint.Tensors)
	left := inflationGap + maxInflation*size
	for _, entry := range archive.File {
		name, isArray := strings.CutSuffix(entry.Name, ".npy")
		switch {
		case !isArray:
			return nil, fmt.Errorf("zip: %.100q is not an array of numpy.savez", entry.Name)
		case all[name] != nil:
			return nil, fmt.Errorf("array %.100q occurs twice", name)
		}
		t, err := readNPY(entry, left)
		if err != nil {
			return nil, fmt.Errorf("array %.100q: %w", name, err)
		}
		all[name] = t
		left -= t.Shape().ByteSize()
	}
	return all, nil
}

// readNPY reads one array of at most limit bytes.
func readNPY(entry *zip.File, limit int64) (*tensors.Tensor, error) {
	if entry.UncompressedSize64 > uint64(limit)+maxNPYHeader {
		return nil, fmt.Errorf("it has %d bytes, more than %d times the file's size", entry.UncompressedSize64,
			maxInflation)
	}
	body, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	defer body.Close()
	header, err := npy.Read(body)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(header.Type, "O") {
		return nil, errors.New("it has objects, which are a pickle: save arrays of numbers")
	}
	dtype, known := npyTypes[header.Type]
	if !known {
		return nil, fmt.Errorf("its element type %.20q is not one of <f2, <f4, <f8, <i4 and <i8", header.Type)
	}
	v := &view{size: header.Shape, steps: make([]int64, len(header.Shape))}
	if len(v.size) > maxTorchRank {
		return nil, fmt.Errorf("it has %d axes, more than %d", len(v.size), maxTorchRank)
	}
	bytes, dims := int64(dtype.Size()), make([]int, len(v.size))
	for i := range v.size {
		axis := i // from the fastest axis
		if !header.Fortran {
			axis = len(v.size) - 1 - i
		}
		n := v.size[axis]
		if n > math.MaxInt32 || n > 0 && bytes > limit/n {
			return nil, fmt.Errorf("its shape %v takes more than %d times the file's size", v.size, maxInflation)
		}
		v.steps[axis], dims[axis] = bytes/int64(dtype.Size()), int(n)
		bytes *= n
	}
	t := tensors.FromShape(shapes.Make(dtype, dims...))
	if bytes > 0 {
		if err := fill(t, body, v, bytes, header.Fortran); err != nil {
			return nil, err
		}
	}
	// The end of an entry is where its checksum is compared.
	switch n, err := io.Copy(io.Discard, io.LimitReader(body, 1)); {
	case err != nil:
		return nil, fmt.Errorf("damaged: %w", err)
	case n > 0:
		return nil, fmt.Errorf("it has more than the %d bytes of its shape %v", bytes, v.size)
	}
	return t, nil
}

// fill reads the elements of t, n bytes.
func fill(t *tensors.Tensor, body io.Reader, v *view, n int64, fortran bool) error {
	var failure error
	err := t.MutableBytes(func(to []byte) {
		from := to
		if fortran {
			from = make([]byte, n)
		}
		if _, failure = io.ReadFull(body, from); failure == nil && fortran {
			v.gather(to, from, int64(t.DType().Size()))
		}
	})
	if failure != nil {
		return fmt.Errorf("truncated or damaged: %w", failure)
	}
	return err
}

// IsNPZ reports whether a zip file is one of NumPy's and not of PyTorch's.
func IsNPZ(r io.ReaderAt, size int64) bool {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return false
	}
	arrays := false
	for _, entry := range archive.File {
		if path.Base(entry.Name) == "data.pkl" {
			return false
		}
		arrays = arrays || strings.HasSuffix(entry.Name, ".npy")
	}
	return arrays
}
