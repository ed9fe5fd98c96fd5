package data

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/internal/npy"
)

func isNPY(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".npy") }

// loadNPY is the Load of NumPy's arrays.
func loadNPY(l Location) (train, heldOut *Images, err error) {
	m, err := ReadNPY(l.Path, l.Labels)
	if err != nil {
		return nil, nil, err
	}
	return holdOut(m, l.Path)
}

// ReadNPY reads images from a .npy file of NumPy, uint8 [n, height, width] or [n, height, width,
// channels], and their labels from a second one, integers [n] from 0 to 65535. An empty name of the
// second file means no labels. An error names the file, what is wrong, and what to do.
func ReadNPY(images, labels string) (*Images, error) {
	return readNPYPair(fileSource(images), fileSource(labels))
}

func readNPYPair(s, labels source) (*Images, error) {
	dims, descr, pixels, err := readNPY(s)
	if err != nil {
		return nil, s.fail(err)
	}
	if descr[1:] != "u1" {
		return nil, s.fail(fmt.Errorf("has elements of type %s, want uint8: save x.astype(numpy.uint8) of values 0 to 255",
			descr))
	}
	if n := len(dims); n != 3 && n != 4 {
		return nil, s.fail(fmt.Errorf("has shape %v, want [n, height, width] or [n, height, width, channels]: reshape it",
			dims))
	}
	dims = append(dims, 1)
	m := &Images{N: dims[0], Height: dims[1], Width: dims[2], Channels: dims[3], Pixels: pixels}
	if m.Height <= 4 && m.Channels > 4 {
		return nil, s.fail(fmt.Errorf("has shape %v, which looks like [n, channels, height, width]: "+
			"save x.transpose(0, 2, 3, 1)", dims[:4]))
	}
	if labels.name == "" {
		return m, nil
	}
	if m.Labels, err = readNPYLabels(labels); err != nil {
		return nil, labels.fail(err)
	}
	if len(m.Labels) != m.N {
		return nil, labels.fail(fmt.Errorf("has %d labels but %s has %d images: give one label for each image",
			len(m.Labels), s.name, m.N))
	}
	return m, nil
}

// readNPYLabels returns the labels in a .npy file of integers.
func readNPYLabels(s source) ([]int32, error) {
	dims, descr, raw, err := readNPY(s)
	if err != nil {
		return nil, err
	}
	if kind := descr[1]; len(dims) != 1 || kind != 'u' && kind != 'i' {
		return nil, fmt.Errorf("has type %s and shape %v, want integers of shape [n]: save labels.astype(numpy.int32)",
			descr, dims)
	}
	labels, size := make([]int32, dims[0]), len(raw)/dims[0]
	for i := range labels {
		word := slices.Clone(raw[i*size : (i+1)*size])
		if descr[0] == '>' {
			slices.Reverse(word)
		}
		negative := descr[1] == 'i' && word[size-1] >= 0x80
		value := binary.LittleEndian.Uint64(append(word, make([]byte, 8)...))
		if negative || value > stream.MaxLabel {
			return nil, fmt.Errorf("label %d of %d is negative or exceeds %d: number the classes from 0",
				i, len(labels), stream.MaxLabel)
		}
		labels[i] = int32(value)
	}
	return labels, nil
}

// readNPY returns the dimensions, the type, such as "|u1", and the bytes of the elements.
func readNPY(s source) (dims []int, descr string, elements []byte, err error) {
	f, err := s.open()
	if err != nil {
		return nil, "", nil, err
	}
	defer f.Close()
	header, err := npy.Read(f)
	if err != nil {
		return nil, "", nil, err
	}
	descr = header.Type
	if !regexp.MustCompile(`^[|<>][uif][1248]$`).MatchString(descr) {
		return nil, "", nil, fmt.Errorf("has elements of type %q, want integers: save x.astype(numpy.uint8)", descr)
	}
	if header.Fortran {
		return nil, "", nil, fmt.Errorf("is in Fortran order: save numpy.ascontiguousarray(x)")
	}
	size := int(descr[2] - '0')
	for _, d := range header.Shape {
		if d < 1 || d > int64(maxBytes/size) {
			return nil, "", nil, fmt.Errorf("has shape %v: every dimension must be positive, "+
				"and all elements at most %d bytes", header.Shape, maxBytes)
		}
		dims, size = append(dims, int(d)), size*int(d)
	}
	if elements, err = readGrowing(f, size); err != nil {
		return nil, "", nil, err
	}
	if n, _ := f.Read(make([]byte, 1)); n > 0 {
		return nil, "", nil, fmt.Errorf("has more than the %d bytes of its header %v: save it again", size, dims)
	}
	return dims, descr, elements, nil
}
