package npy

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strings"

	"github.com/gomlx/compute/dtypes/float16"
)

// Array is an array in a file, whose elements are read in C order.
type Array struct {
	Header
	path  string
	file  *os.File
	entry io.ReadCloser // of a zip file, or nil
	r     *bufio.Reader
	left  int64 // elements that are not read
}

// Limits for an array in a compressed file: features and pictures hardly compress.
const (
	maxInflation = 16
	inflationGap = 1 << 20
)

// Open opens the array of a name in a file of numpy.savez, or of its first array if name is empty,
// or a file of numpy.save, whose array has no name. Its elements are little-endian integers or
// floating-point numbers in C order. Errors name the file.
func Open(path, name string) (*Array, error) {
	a, err := open(path, name)
	if err != nil {
		if a.file != nil {
			a.Close()
		}
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // a.fail adds the path
		}
		return nil, a.fail(err)
	}
	return a, nil
}

func open(path, name string) (a *Array, err error) {
	a = &Array{path: path}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil {
		a.file, err = os.Open(path)
	}
	if err != nil {
		return a, err
	}
	a.r = bufio.NewReaderSize(a.file, 1<<16)
	size := info.Size()
	if head, _ := a.r.Peek(4); string(head) == "PK\x03\x04" {
		if size, err = a.openEntry(name, size); err != nil {
			return a, err
		}
	} else if name != "" {
		return a, fmt.Errorf("is a single array, which has no name %q", name)
	}
	if a.Header, err = Read(a.r); err != nil {
		return a, err
	}
	if !regexp.MustCompile(`^[|<]([ui][1248]|f[248])$`).MatchString(a.Type) {
		return a, fmt.Errorf("has elements of type %.20q: save numbers in little-endian order", a.Type)
	}
	if a.Fortran && len(a.Shape) > 1 {
		return a, errors.New("is in Fortran order: save numpy.ascontiguousarray(x)")
	}
	a.left = 1
	for _, n := range a.Shape {
		if n > 0 && a.left > math.MaxInt64/16/n {
			return a, fmt.Errorf("has shape %v, which is too large", a.Shape)
		}
		a.left *= n
	}
	if bytes := a.left * int64(a.size()); bytes > size {
		return a, fmt.Errorf("has shape %v of %d bytes, but the file at most %d: it is damaged or truncated", a.Shape, bytes, size)
	}
	return a, nil
}

// openEntry opens an array of a zip file of some size, and returns the largest size it may have.
func (a *Array) openEntry(name string, size int64) (int64, error) {
	archive, err := zip.NewReader(a.file, size)
	if err != nil {
		return 0, fmt.Errorf("zip: %w", err)
	}
	var names []string
	for _, entry := range archive.File {
		own, isArray := strings.CutSuffix(entry.Name, ".npy")
		if !isArray {
			continue
		}
		if names = append(names, own); name != "" && own != name {
			continue
		}
		if a.entry, err = entry.Open(); err != nil {
			return 0, fmt.Errorf("zip: %w", err)
		}
		a.r = bufio.NewReaderSize(a.entry, 1<<16)
		return inflationGap + maxInflation*min(int64(entry.CompressedSize64), size), nil
	}
	if name == "" {
		return 0, errors.New("has no array of numpy.savez")
	}
	return 0, fmt.Errorf("has no array %q: name one of %.500q", name, names)
}

// Close closes the file.
func (a *Array) Close() error {
	if a.entry != nil {
		a.entry.Close()
	}
	return a.file.Close()
}

// size returns the number of bytes of an element.
func (a *Array) size() int { return int(a.Type[2] - '0') }

// fail adds the file to an error.
func (a *Array) fail(err error) error { return fmt.Errorf("%s: %w", a.path, err) }

// Bytes returns the bytes of the next n elements. After the last element it checks that the file
// ends there, and the checksum of a zip file.
func (a *Array) Bytes(n int) ([]byte, error) {
	if int64(n) > a.left {
		return nil, a.fail(fmt.Errorf("has only %d more elements, want %d", a.left, n))
	}
	raw := make([]byte, n*a.size())
	if _, err := io.ReadFull(a.r, raw); err != nil {
		return nil, a.fail(fmt.Errorf("truncated or damaged: %w", err))
	}
	if a.left -= int64(n); a.left == 0 {
		switch _, err := a.r.ReadByte(); {
		case err == nil:
			return nil, a.fail(fmt.Errorf("has more elements than its shape %v", a.Shape))
		case err != io.EOF:
			return nil, a.fail(fmt.Errorf("damaged: %w", err))
		}
	}
	return raw, nil
}

// Skip passes over n elements, or all that are left if they are fewer.
func (a *Array) Skip(n int) error {
	n = int(min(int64(n), a.left))
	if _, err := io.CopyN(io.Discard, a.r, int64(n)*int64(a.size())); err != nil {
		return a.fail(fmt.Errorf("truncated or damaged: %w", err))
	}
	a.left -= int64(n)
	return nil
}

// Floats returns the next n elements, which must be floating-point numbers.
func (a *Array) Floats(n int) ([]float64, error) {
	if a.Type[1] != 'f' {
		return nil, a.fail(fmt.Errorf("has elements of type %q, want floating-point numbers: save x.astype(numpy.float32)", a.Type))
	}
	raw, err := a.Bytes(n)
	if err != nil {
		return nil, err
	}
	values, size := make([]float64, n), a.size()
	for i := range values {
		switch b := raw[i*size:]; size {
		case 2:
			values[i] = float16.Float16(binary.LittleEndian.Uint16(b)).Float64()
		case 4:
			values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		default:
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	}
	return values, nil
}
