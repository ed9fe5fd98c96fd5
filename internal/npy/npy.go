// Package npy reads the headers of NumPy's arrays.
package npy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Magic begins a file in the NPY format (numpy.lib.format). Two bytes of version follow, the length
// of the header as a little-endian integer of 2 bytes in version 1 and 4 bytes in later ones, the
// header, a Python dictionary, and the elements.
const Magic = "\x93NUMPY"

// Header describes the elements that follow it.
type Header struct {
	Type    string  // such as "<f4": byte order, kind and bytes of an element
	Fortran bool    // whether the first axis varies fastest
	Shape   []int64 // not negative
}

// keys find the values in a header.
var keys = map[string]*regexp.Regexp{
	"descr":         regexp.MustCompile(`'descr'\s*:\s*'([^']*)'`),
	"fortran_order": regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`),
	"shape":         regexp.MustCompile(`'shape'\s*:\s*\(([\d,\s]*)\)`),
}

// Read reads a header from r, which is then at the first element. It returns an error for anything
// but one array whose type is a plain string: structured types have lists.
func Read(r io.Reader) (Header, error) {
	text, err := read(r)
	if err != nil {
		return Header{}, err
	}
	values := make(map[string]string)
	for key, pattern := range keys {
		found := pattern.FindSubmatch(text)
		if found == nil {
			return Header{}, fmt.Errorf("header %.200q has no plain %s: save one numeric array with numpy.save", text,
				key)
		}
		values[key] = string(found[1])
	}
	h := Header{Type: values["descr"], Fortran: values["fortran_order"] == "True"}
	for _, d := range strings.FieldsFunc(values["shape"], func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.ParseUint(d, 10, 63)
		if err != nil {
			n = math.MaxInt64 // too large for any reader
		}
		h.Shape = append(h.Shape, int64(n))
	}
	return h, nil
}

// read returns the text of a header.
func read(r io.Reader) ([]byte, error) {
	head := make([]byte, len(Magic)+2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, truncated(err)
	}
	if !bytes.HasPrefix(head, []byte(Magic)) {
		return nil, fmt.Errorf("starts with % x, want % x, the magic of a .npy file: save the array with numpy.save",
			head[:len(Magic)], Magic)
	}
	length := make([]byte, 2)
	if head[len(Magic)] > 1 {
		length = make([]byte, 4)
	}
	if _, err := io.ReadFull(r, length); err != nil {
		return nil, truncated(err)
	}
	n := binary.LittleEndian.Uint32(append(length, 0, 0))
	if n > math.MaxUint16 {
		return nil, fmt.Errorf("has a header of %d bytes: save one numeric array with numpy.save", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, truncated(err)
	}
	return text, nil
}

// truncated returns an error that says that the header ends early, or why it is unreadable.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("truncated: ends in its header")
	}
	return fmt.Errorf("unreadable or damaged: %w", err)
}
