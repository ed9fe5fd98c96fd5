package npy

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteHeader writes the header of an array whose elements, of a type such as "<f4", follow in C
// order.
func WriteHeader(w io.Writer, elements string, shape ...int) error {
	dims := ""
	for _, d := range shape {
		dims += strconv.Itoa(d) + ", "
	}
	if len(shape) > 1 {
		dims = strings.TrimSuffix(dims, ", ")
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", elements, dims)
	// NumPy aligns the elements to 64 bytes.
	text += strings.Repeat(" ", 63-(len(Magic)+4+len(text))%64) + "\n"
	raw := binary.LittleEndian.AppendUint16([]byte(Magic+"\x01\x00"), uint16(len(text)))
	_, err := w.Write(append(raw, text...))
	return err
}

// Write writes an array of a shape in the NPY format.
func Write[T uint8 | int64 | float32 | float64](w io.Writer, values []T, shape ...int) error {
	elements := map[any]string{uint8(0): "|u1", int64(0): "<i8", float32(0): "<f4", float64(0): "<f8"}[any(T(0))]
	if err := WriteHeader(w, elements, shape...); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, values)
}

// Entry begins an array of a name in a file of numpy.savez, which is not compressed.
func Entry(z *zip.Writer, name string) (io.Writer, error) {
	return z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
}
