package weightfile

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path"

	"github.com/gomfm/gomfm/mfm/pretrained/internal/pickle"
)

// openZip returns the object of a file in the zip format.
func (f *torchFile) openZip(r io.ReaderAt) (any, error) {
	archive, err := zip.NewReader(r, f.size)
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	entries, folder := make(map[string]*zip.File), ""
	for _, entry := range archive.File {
		if entries[entry.Name] != nil {
			return nil, fmt.Errorf("zip: %q occurs twice", entry.Name)
		}
		entries[entry.Name] = entry
		if path.Base(entry.Name) == "data.pkl" {
			if folder != "" {
				return nil, errors.New("zip: two entries data.pkl")
			}
			folder = path.Dir(entry.Name)
		}
	}
	if folder == "" {
		return nil, errors.New("zip without data.pkl: not a file of torch.save")
	}
	if entries[path.Join(folder, "constants.pkl")] != nil {
		return nil, errors.New("a TorchScript program: save its state_dict() instead")
	}
	section := func(name string) (*io.SectionReader, error) {
		entry := entries[path.Join(folder, name)]
		if entry == nil {
			return nil, fmt.Errorf("zip: %q is missing", name)
		}
		// PyTorch compresses nothing; a compressed entry can be a thousand times its size.
		if entry.Method != zip.Store || entry.UncompressedSize64 != entry.CompressedSize64 {
			return nil, fmt.Errorf("zip: %q is compressed, which PyTorch never does", name)
		}
		offset, err := entry.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("zip: %q: %w", name, err)
		}
		if n := entry.CompressedSize64; n > uint64(f.size) || offset > f.size-int64(n) {
			return nil, fmt.Errorf("zip: %q reaches beyond the file", name)
		}
		return io.NewSectionReader(r, offset, int64(entry.CompressedSize64)), nil
	}
	if order := entries[path.Join(folder, "byteorder")]; order != nil {
		s, err := section("byteorder")
		if err != nil {
			return nil, err
		}
		if text, err := readAll(s, 16); err != nil || string(text) != "little" {
			return nil, fmt.Errorf("byte order %q: only little is supported", text)
		}
	}
	s, err := section("data.pkl")
	if err != nil {
		return nil, err
	}
	data, err := readAll(s, maxPickle)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	f.read = func(s *storage, offset, n int64) ([]byte, error) {
		part, err := section(path.Join("data", s.key))
		if err != nil {
			return nil, err
		}
		if offset > part.Size()-n {
			return nil, fmt.Errorf("storage %q has %d bytes, want %d", s.key, part.Size(), offset+n)
		}
		return readAll(io.NewSectionReader(part, offset, n), n)
	}
	root, _, err := pickle.Decode(data, f.environment())
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	return root, nil
}

// legacyMagic is the first pickle of the older format, legacyVersion the second.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const legacyVersion = 1001

// openLegacy returns the object of a file in the older format.
func (f *torchFile) openLegacy(r io.ReaderAt) (any, error) {
	// The pickles come first; the data of the storages follow.
	head, err := readAll(io.NewSectionReader(r, 0, f.size), maxPickle)
	if err != nil && !errors.Is(err, errTooLong) {
		return nil, err
	}
	var values [5]any
	rest := head
	for i := range values {
		env := pickle.Environment{Class: refuse}
		if i == 3 {
			env = f.environment()
		}
		if values[i], rest, err = pickle.Decode(rest, env); err != nil {
			return nil, fmt.Errorf("not a file of PyTorch, or damaged: pickle %d: %w", i+1, err)
		}
		if magic, ok := values[0].(*big.Int); i == 0 && (!ok || magic.Cmp(legacyMagic) != 0) {
			return nil, errors.New("not a file of PyTorch: its first number is not the magic one")
		}
	}
	if version, ok := values[1].(int64); !ok || version != legacyVersion {
		return nil, fmt.Errorf("version %v of PyTorch's older format: only %d is supported", values[1], legacyVersion)
	}
	keys, ok := values[4].(*pickle.List)
	if !ok {
		return nil, errors.New("damaged: the fifth pickle is not the list of storages")
	}
	at := int64(len(head) - len(rest))
	offsets := make(map[string]int64, len(keys.Items))
	for _, item := range keys.Items {
		key, _ := item.(string)
		s := f.storages[key]
		if s == nil {
			return nil, fmt.Errorf("damaged: storage %v is not one of the tensors'", item)
		}
		length, err := readAll(io.NewSectionReader(r, at, 8), 8)
		if err != nil || len(length) < 8 {
			return nil, errors.New("truncated between two storages")
		}
		if n := binary.LittleEndian.Uint64(length); n != uint64(s.length) {
			return nil, fmt.Errorf("damaged: storage %q has %d elements, its tensors want %d", key, n, s.length)
		}
		if offsets[key] != 0 {
			return nil, fmt.Errorf("damaged: storage %q occurs twice", key)
		}
		offsets[key] = at + 8
		// A storage's length was checked against the file's size.
		if at += 8 + s.length*int64(s.dtype.Size()); at > f.size {
			return nil, fmt.Errorf("truncated: storage %q reaches beyond the file", key)
		}
	}
	f.read = func(s *storage, offset, n int64) ([]byte, error) {
		begin, ok := offsets[s.key]
		if !ok {
			return nil, fmt.Errorf("storage %q is missing", s.key)
		}
		return readAll(io.NewSectionReader(r, begin+offset, n), n)
	}
	return values[3], nil
}
