package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/gomlx/gomlx/core/tensors"
)

// Read reads a file in the safetensors format from r, which holds size bytes, and returns its
// tensors, in local memory, and its metadata.
//
// Read does not trust the file. Before it allocates a tensor it checks the header's length, every
// element type, shape and offset against size, and that the data fill the file without gap or
// overlap. A bad file therefore returns an error and never takes more memory than a small multiple
// of its size. A bool must be 0 or 1.
func Read(r io.Reader, size int64) (Tensors, map[string]string, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, nil, fmt.Errorf("%d bytes is too short for a safetensors file", size)
	}
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, nil, fmt.Errorf("header length: %w", err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	size -= int64(len(prefix))
	if length > maxHeader {
		return nil, nil, fmt.Errorf("not a safetensors file: header of %d bytes exceeds the limit of %d",
			length, maxHeader)
	}
	if int64(length) > size {
		return nil, nil, fmt.Errorf("truncated, or not a safetensors file: header of %d bytes, %d bytes left",
			length, size)
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	layout, metadata, err := decodeHeader(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if err := checkLayout(layout, size-int64(length)); err != nil {
		return nil, nil, err
	}
	t := make(Tensors, len(layout))
	for _, s := range layout {
		if t[s.name], err = readTensor(r, s.info); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", s.name, err)
		}
	}
	return t, metadata, nil
}

// decodeHeader reads the JSON object of a header key by key, because encoding/json would silently
// let a second tensor of the same name replace the first.
func decodeHeader(raw []byte) (layout []stored, metadata map[string]string, err error) {
	if !utf8.Valid(raw) {
		return nil, nil, errors.New("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return nil, nil, err
	}
	if token != json.Delim('{') {
		return nil, nil, fmt.Errorf("want a JSON object, it begins with %v", token)
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := token.(string) // the decoder allows only strings as keys
		if seen[name] {
			return nil, nil, fmt.Errorf("%q occurs twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			err = dec.Decode(&metadata)
		} else {
			layout = append(layout, stored{name: name})
			err = dec.Decode(&layout[len(layout)-1].info)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%q: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, errors.New("there is data after the JSON object")
	}
	return layout, metadata, nil
}

// checkLayout sorts the tensors by offset and checks that they fill size bytes exactly.
func checkLayout(layout []stored, size int64) error {
	for _, s := range layout {
		_, want, err := s.info.shape()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", s.name, err)
		}
		o := s.info.Offsets
		if len(o) != 2 || o[0] < 0 || o[1] < o[0] || o[1] > size {
			return fmt.Errorf("tensor %q: data_offsets %v are not a range in %d bytes of data", s.name, o, size)
		}
		if o[1]-o[0] != want {
			return fmt.Errorf("tensor %q: data_offsets %v span %d bytes, %s of shape %v takes %d",
				s.name, o, o[1]-o[0], s.info.DType, s.info.Shape, want)
		}
	}
	slices.SortFunc(layout, func(a, b stored) int {
		return cmp.Or(slices.Compare(a.info.Offsets, b.info.Offsets), cmp.Compare(a.name, b.name))
	})
	var end int64
	for _, s := range layout {
		if begin := s.info.Offsets[0]; begin != end {
			return fmt.Errorf("tensor %q: its data begin at byte %d, the previous data end at %d", s.name, begin, end)
		}
		end = s.info.Offsets[1]
	}
	if end != size {
		return fmt.Errorf("the tensors take %d bytes of data, the file has %d", end, size)
	}
	return nil
}

// readTensor reads the data of one tensor from r. checkLayout has validated info.
func readTensor(r io.Reader, info tensorInfo) (*tensors.Tensor, error) {
	shape, size, err := info.shape()
	if err != nil {
		return nil, err
	}
	t := tensors.FromShape(shape)
	if size == 0 {
		return t, nil
	}
	var failure error
	err = t.MutableBytes(func(data []byte) {
		if _, failure = io.ReadFull(r, data); failure != nil || info.DType != "BOOL" {
			return
		}
		if i := slices.IndexFunc(data, func(b byte) bool { return b > 1 }); i >= 0 {
			failure = fmt.Errorf("element %d is %d, not a bool", i, data[i])
		}
	})
	if err = cmp.Or(failure, err); err != nil {
		return nil, err
	}
	return t, nil
}
