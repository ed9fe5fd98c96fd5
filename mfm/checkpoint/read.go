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
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/gomlx/gomlx/core/tensors"
)

// Read reads a file in the safetensors format from r, which holds size bytes, and returns its
// tensors, in local memory, and its metadata.
//
// Read does not trust the file. Before it allocates a tensor it checks the header's length, every
// element type, shape and offset against size, and that the data fill the file without gap or
// overlap. A bad file therefore returns an error and never takes more memory than a small multiple
// of its size. Read refuses the files that the reference implementation refuses, and besides:
// element types that [Write] does not support, axes longer than 2^63 - 1, a bool other than 0 or 1,
// a name that occurs twice, and a tensor's entry in another form than that of the format.
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
		return nil, nil, fmt.Errorf("header of %d bytes: the format's limit is %d bytes", length, maxHeader)
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

// decodeHeader reads the JSON object of a header.
func decodeHeader(raw []byte) (layout []stored, metadata map[string]string, err error) {
	if err := checkText(raw); err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	err = eachField(raw, func(name string, value json.RawMessage) (err error) {
		if seen[name] {
			return errors.New("occurs twice")
		}
		seen[name] = true
		if name == metadataKey {
			metadata, err = decodeMetadata(value)
			return err
		}
		info, err := decodeTensor(value)
		layout = append(layout, stored{name, info})
		return err
	})
	return layout, metadata, err
}

// checkText refuses what encoding/json accepts but the reference implementation does not: text that
// is not UTF-8, half of a surrogate pair, and values nested deeper than 127.
func checkText(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("not valid UTF-8")
	}
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\':
			if first := escaped(raw[i:]); utf16.IsSurrogate(first) {
				if i += 6; utf16.DecodeRune(first, escaped(raw[min(i, len(raw)):])) == utf8.RuneError {
					return fmt.Errorf(`half of a surrogate pair, \u%04x, in a string`, first)
				}
			}
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > 127 {
				return errors.New("its values are nested too deeply: at most 127 levels are allowed")
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// escaped returns the number of the escape \uXXXX with which text begins, or -1.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// eachField calls each with the fields of a JSON object in their order. encoding/json alone would
// let the second of two equal keys replace the first, and ignore the case of a key.
func eachField(raw []byte, each func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return fmt.Errorf("want a JSON object, it begins with %q", fmt.Sprint(token))
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the decoder allows only strings as keys
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		if err := each(key, value); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is data after the JSON object")
	}
	return nil
}

// decodeMetadata reads an object of strings, or null for none.
func decodeMetadata(raw json.RawMessage) (map[string]string, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	metadata := map[string]string{}
	return metadata, eachField(raw, func(key string, value json.RawMessage) (err error) {
		if _, again := metadata[key]; again {
			return errors.New("occurs twice")
		}
		metadata[key], err = decodeString(value)
		return err
	})
}

// decodeTensor reads the entry of a tensor. It ignores unknown fields.
func decodeTensor(raw json.RawMessage) (info tensorInfo, err error) {
	seen := map[string]bool{}
	err = eachField(raw, func(key string, value json.RawMessage) (err error) {
		switch key {
		case "dtype":
			info.DType, err = decodeString(value)
		case "shape":
			info.Shape, err = decodeNumbers[int](value)
		case "data_offsets":
			info.Offsets, err = decodeNumbers[int64](value)
		default:
			return json.Unmarshal(value, new(any))
		}
		if seen[key] {
			return errors.New("occurs twice")
		}
		seen[key] = true
		return err
	})
	return info, err
}

func decodeString(raw json.RawMessage) (text string, err error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("%.100q is not a string", raw)
	}
	return text, json.Unmarshal(raw, &text)
}

// decodeNumbers reads a list of whole numbers from 0 on.
func decodeNumbers[T int | int64](raw json.RawMessage) ([]T, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%.100q is not a list of whole numbers", raw)
	}
	numbers := make([]T, len(list))
	for i, text := range list {
		n, err := strconv.ParseUint(string(text), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%.100q is not a whole number from 0 to 2^63 - 1", text)
		}
		numbers[i] = T(n)
	}
	return numbers, nil
}

// checkLayout sorts the tensors by offset and checks that they fill size bytes exactly.
func checkLayout(layout []stored, size int64) error {
	for _, s := range layout {
		_, want, err := s.info.shape()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", s.name, err)
		}
		o := s.info.Offsets
		if len(o) != 2 || o[1] < o[0] || o[1] > size {
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
