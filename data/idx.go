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

// The IDX format (http://yann.lecun.com/exdb/mnist): two zero bytes, the element type, the number of dimensions, each
// dimension as a big-endian uint32, then the elements in row-major order.
const (
	idxUint8     = 0x08
	idxLabelDims = 1 // [n]
	idxImageDims = 3 // [n, height, width]
)

// Bounds on what a header may claim. They reject nonsense early; what a file is read into grows with what arrives.
const (
	maxSide  = 1 << 14       // pixels, of either side of an image
	maxBytes = math.MaxInt32 // of elements in one file: 2.7 million digits
)

// firstChunk is what is allocated before the first element has arrived, in bytes.
const firstChunk = 1 << 20

var gzipMagic = []byte{0x1f, 0x8b}

// source is a stream to open, with the name that errors call it by.
type source struct {
	name string
	open func() (io.ReadCloser, error)
}

func fileSource(path string) source {
	return source{path, func() (io.ReadCloser, error) { return os.Open(path) }}
}

// fail names the source in err, once: the errors of os and fs name the file too, and not always by its whole path.
func (s source) fail(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("data: %s: %w", s.name, err)
}

// ReadImages reads the IDX file of images at path, plain or compressed by gzip, which its first bytes tell and not its
// name. The images have one channel and no labels. A file that cannot be read, is no IDX file of bytes in three
// dimensions, is cut short, or goes on after its last image gives an error that names it.
func ReadImages(path string) (*Images, error) { return readImages(fileSource(path)) }

// ReadLabels reads the IDX file of labels at path, one byte each, with the checks of [ReadImages].
func ReadLabels(path string) ([]byte, error) { return readLabels(fileSource(path)) }

// ReadPair reads a file of images and the file of their labels: as many labels as there are images.
// See [ReadImages] for what else is checked; see [Images.ClassCounts] for the range of labels.
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
		return nil, fmt.Errorf("data: %s has %d labels but %s has %d images", labels.name, len(m.Labels), images.name, m.N)
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

func readLabels(s source) ([]byte, error) {
	_, labels, err := readIDX(s, idxLabelDims)
	return labels, err
}

// readIDX returns the dimensions and the elements of an IDX file of bytes with the given number of dimensions.
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
	// Reading on to the end also has gzip check its checksum.
	switch _, err := io.ReadFull(r, make([]byte, 1)); {
	case err == nil:
		return nil, nil, fmt.Errorf("has more bytes than the %d that its header %v says", size, dims)
	case err != io.EOF:
		return nil, nil, truncated(err, "within its gzip data")
	}
	return dims, elements, nil
}

// uncompressed returns r itself, or what it holds where it starts as a gzip file does.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(len(gzipMagic))
	switch {
	case errors.Is(err, io.EOF) && len(magic) == 0:
		return nil, errors.New("is empty")
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
	// The first word alone, so that a short file of another kind is told by its magic and not by its length.
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
			return nil, 0, fmt.Errorf("its header says dimension %d is 0: there is nothing in it", i)
		case i > 0 && d > maxSide:
			return nil, 0, fmt.Errorf("its header says dimension %d is %d, more than the %d that an image may have", i, d, maxSide)
		case uint64(size)*uint64(d) > maxBytes: // no overflow: size < 2^31, d < 2^32
			return nil, 0, fmt.Errorf("its header says more than %d bytes follow", maxBytes)
		}
		size *= int(d)
		dims = append(dims, int(d))
	}
	return dims, size, nil
}

// readGrowing reads size bytes into a slice that doubles as they arrive, so that a header cannot have a large slice
// allocated for bytes that are not there.
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

// truncated names an early end as such, and where it is; any other error is one of the file system or of gzip.
func truncated(err error, where string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("is truncated: it ends %s", where)
	}
	return fmt.Errorf("cannot be read (is it damaged?): %w", err)
}
