package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// The IDX format (http://yann.lecun.com/exdb/mnist): two zero bytes, the element type, the number
// of dimensions, each dimension as a big-endian uint32, the elements in row-major order.
const (
	idxUint8     = 0x08
	idxLabelDims = 1 // [n]
	idxImageDims = 3 // [n, height, width]
)

// These limits on a header reject nonsense early. The memory for elements grows as they arrive.
const (
	maxSide  = 1 << 14       // pixels, for either side of an image
	maxBytes = math.MaxInt32 // bytes of elements in one file: 2.7 million digits
)

// firstChunk is the number of bytes allocated before the first element arrives.
const firstChunk = 1 << 20

var gzipMagic = []byte{0x1f, 0x8b}

// source is a stream to open, with its name for errors.
type source struct {
	name string
	open func() (io.ReadCloser, error)
}

func fileSource(path string) source {
	return source{path, func() (io.ReadCloser, error) { return os.Open(path) }}
}

// fail adds the source's name to err. It removes the name that errors of os and fs already contain,
// which may not be the full path.
func (s source) fail(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("data: %s: %w", s.name, err)
}

// ReadImages reads the IDX file of images at path, plain or compressed by gzip, which it detects
// from the first bytes. The images have one channel and no labels. It returns an error that names
// the file if the file cannot be read, is not an IDX file of bytes in three dimensions, is
// truncated, or has data after its last image.
func ReadImages(path string) (*Images, error) { return readImages(fileSource(path)) }

// ReadLabels reads the IDX file of labels at path, one byte each, with the checks of [ReadImages].
func ReadLabels(path string) ([]int32, error) { return readLabels(fileSource(path)) }

// ReadPair reads a file of images and the file of their labels, with the checks of [ReadImages]. It
// returns an error if their numbers differ. [Images.ClassCounts] checks the range of labels.
func ReadPair(images, labels string) (*Images, error) {
	return readPair(fileSource(images), fileSource(labels))
}

func readPair(images, labels source) (*Images, error) {
	m, err := readImages(images)
	if err != nil {
		return nil, err
	}
	m.Labels, err = readLabels(labels)
	if err != nil {
		return nil, err
	}
	if len(m.Labels) != m.N {
		return nil, fmt.Errorf("data: %s has %d labels but %s has %d images",
			labels.name, len(m.Labels), images.name, m.N)
	}
	return m, nil
}

func readImages(s source) (*Images, error) {
	dims, pixels, err := readIDX(s, idxImageDims)
	if err != nil {
		return nil, err
	}
	return &Images{N: dims[0], Height: dims[1], Width: dims[2], Channels: 1, Pixels: pixels}, nil
}

func readLabels(s source) ([]int32, error) {
	_, elements, err := readIDX(s, idxLabelDims)
	if err != nil {
		return nil, err
	}
	labels := make([]int32, len(elements))
	for i, c := range elements {
		labels[i] = int32(c)
	}
	return labels, nil
}

// readIDX returns the dimensions and elements of an IDX file of bytes in the given dimensions.
func readIDX(s source, dimensions int) (dims []int, elements []byte, err error) {
	f, err := s.open()
	if err != nil {
		return nil, nil, s.fail(err)
	}
	defer f.Close()
	dims, elements, err = decodeIDX(f, dimensions)
	if err != nil {
		return nil, nil, s.fail(err)
	}
	return dims, elements, nil
}

func decodeIDX(r io.Reader, dimensions int) (dims []int, elements []byte, err error) {
	r, err = uncompressed(r)
	if err != nil {
		return nil, nil, err
	}
	dims, size, err := decodeHeader(r, dimensions)
	if err != nil {
		return nil, nil, err
	}
	elements, err = readGrowing(r, size)
	if err != nil {
		return nil, nil, err
	}
	// Reading to the end also makes gzip check its checksum.
	switch _, err := io.ReadFull(r, make([]byte, 1)); {
	case err == nil:
		return nil, nil, fmt.Errorf("has more than the %d bytes of its header %v", size, dims)
	case err != io.EOF:
		return nil, nil, truncated(err, "within its gzip data")
	}
	return dims, elements, nil
}

// uncompressed returns r itself, or its decompressed data if it starts as a gzip file.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(len(gzipMagic))
	switch {
	case errors.Is(err, io.EOF) && len(magic) == 0:
		return nil, errors.New("empty file")
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case !bytes.Equal(magic, gzipMagic):
		return b, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, truncated(err, "within its gzip data")
	}
	return z, nil
}

// decodeHeader reads an IDX header and returns the dimensions and their product.
func decodeHeader(r io.Reader, dimensions int) (dims []int, size int, err error) {
	header := make([]byte, 4+4*dimensions)
	want := []byte{0, 0, idxUint8, byte(dimensions)}
	// Read the first word alone: the error for a short file of another kind is about its magic.
	if _, err := io.ReadFull(r, header[:4]); err != nil {
		return nil, 0, truncated(err, "in its header")
	}
	if !bytes.Equal(header[:4], want) {
		return nil, 0, fmt.Errorf("starts with % x, want % x, the magic of an IDX file of bytes in %d dimension(s)",
			header[:4], want, dimensions)
	}
	if _, err := io.ReadFull(r, header[4:]); err != nil {
		return nil, 0, truncated(err, "in its header")
	}
	size = 1
	for i := range dimensions {
		d := binary.BigEndian.Uint32(header[4+4*i:])
		switch {
		case d == 0:
			return nil, 0, fmt.Errorf("header: dimension %d is 0, must be positive", i)
		case i > 0 && d > maxSide:
			return nil, 0, fmt.Errorf("header: dimension %d is %d, exceeds the limit of %d", i, d, maxSide)
		case uint64(size)*uint64(d) > maxBytes: // no overflow: size < 2^31, d < 2^32
			return nil, 0, fmt.Errorf("header: size exceeds the limit of %d bytes", maxBytes)
		}
		size *= int(d)
		dims = append(dims, int(d))
	}
	return dims, size, nil
}

// readGrowing reads size bytes into a slice that doubles as they arrive, so that a header cannot
// cause a large allocation for bytes that do not exist.
func readGrowing(r io.Reader, size int) ([]byte, error) {
	b := make([]byte, 0, min(size, firstChunk))
	for {
		n, err := io.ReadFull(r, b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			return nil, truncated(err, fmt.Sprintf("after %d of %d bytes", len(b), size))
		}
		if len(b) == size {
			return b, nil
		}
		grown := make([]byte, len(b), min(size, 2*cap(b)))
		copy(grown, b)
		b = grown
	}
}

// truncated returns an error that says where the data end early, or why they are unreadable.
func truncated(err error, where string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("truncated: ends %s", where)
	}
	return fmt.Errorf("unreadable or damaged: %w", err)
}
