package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
)

// Tensors maps names to tensors. A name is any valid UTF-8 except "__metadata__", which the format
// reserves.
type Tensors map[string]*tensors.Tensor

const (
	metadataKey = "__metadata__"
	// maxHeader is the limit for the header in bytes, that of the reference implementation.
	// Decoding takes about ten times the header's size in memory.
	maxHeader = 100_000_000
)

// format is an element type and its name in the header.
type format struct {
	dtype dtypes.DType
	name  string
}

// formats are the supported element types, in the order of the reference implementation, which
// stores the tensors of the last ones first so that all data are aligned. GoMLX has the same memory
// layout as the file: little-endian, one byte for a bool.
var formats = []format{
	{dtypes.Bool, "BOOL"},
	{dtypes.Uint8, "U8"},
	{dtypes.Int8, "I8"},
	{dtypes.Int16, "I16"},
	{dtypes.Uint16, "U16"},
	{dtypes.Float16, "F16"},
	{dtypes.BFloat16, "BF16"},
	{dtypes.Int32, "I32"},
	{dtypes.Uint32, "U32"},
	{dtypes.Float32, "F32"},
	{dtypes.Float64, "F64"},
	{dtypes.Int64, "I64"},
	{dtypes.Uint64, "U64"},
}

// tensorInfo is the header's entry for one tensor.
type tensorInfo struct {
	DType   string  `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"` // begin and end, relative to the end of the header
}

// shape returns the tensor's shape and its size in bytes. It returns an error for an unknown type
// and for a size that overflows before an axis of length 0, as in the reference implementation.
func (info tensorInfo) shape() (shapes.Shape, int64, error) {
	none := shapes.Shape{}
	if info.DType == "" {
		return none, 0, errors.New("has no dtype")
	}
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == info.DType })
	if i < 0 {
		return none, 0, fmt.Errorf("element type %q is not supported", info.DType)
	}
	if info.Shape == nil {
		return none, 0, errors.New("has no shape")
	}
	dtype := formats[i].dtype
	elements := int64(1)
	for _, n := range info.Shape {
		if elements > 0 && int64(n) > math.MaxInt64/elements {
			return none, 0, fmt.Errorf("shape %v is too large", info.Shape)
		}
		elements *= int64(n)
	}
	if elements > math.MaxInt64/int64(dtype.Size()) {
		return none, 0, fmt.Errorf("shape %v is too large", info.Shape)
	}
	return shapes.Make(dtype, info.Shape...), elements * int64(dtype.Size()), nil
}

// stored is one tensor of a file. Slices of them have the order of the file.
type stored struct {
	name string
	info tensorInfo
}

// Write writes t in the safetensors format, version 0.4: the header's length as 8 little-endian
// bytes, a JSON header padded to a multiple of 8 bytes, and the data without gaps. metadata may be
// nil. The same tensors and metadata give the same bytes, those of the reference implementation
// with sorted metadata.
//
// Element types are bool, the integers of 8 to 64 bits, float16, bfloat16, float32 and float64. If
// a tensor is nil, finalized or of another type, or a name is not UTF-8, Write returns an error
// before it writes anything.
func Write(w io.Writer, t Tensors, metadata map[string]string) error {
	layout, err := arrange(t)
	if err != nil {
		return err
	}
	header, err := encodeHeader(layout, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, s := range layout {
		if err := writeTensor(w, t[s.name], s.info); err != nil {
			return fmt.Errorf("tensor %q: %w", s.name, err)
		}
	}
	return nil
}

// arrange assigns each tensor its offsets: the widest element types first, by name within a type.
func arrange(t Tensors) ([]stored, error) {
	layout := make([]stored, 0, len(t))
	rank := make(map[string]int, len(t))
	for name, tensor := range t {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("tensor %q: its name is not valid UTF-8", name)
		}
		if name == metadataKey {
			return nil, fmt.Errorf("tensor %q: the format reserves this name", name)
		}
		if err := tensor.CheckValid(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		shape := tensor.Shape()
		i := slices.IndexFunc(formats, func(f format) bool { return f.dtype == shape.DType })
		if i < 0 {
			return nil, fmt.Errorf("tensor %q: element type %s is not supported", name, shape.DType)
		}
		rank[name] = i
		dims := append([]int{}, shape.Dimensions...) // a scalar's shape is [], not null
		layout = append(layout, stored{name, tensorInfo{DType: formats[i].name, Shape: dims}})
	}
	slices.SortFunc(layout, func(a, b stored) int {
		return cmp.Or(cmp.Compare(rank[b.name], rank[a.name]), cmp.Compare(a.name, b.name))
	})
	var offset int64
	for i := range layout {
		end := offset + t[layout[i].name].Shape().ByteSize()
		layout[i].info.Offsets = []int64{offset, end}
		offset = end
	}
	return layout, nil
}

// encodeHeader returns the header, preceded by its length.
func encodeHeader(layout []stored, metadata map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	buf.Write(make([]byte, 8))
	field := func(name string, value any) error {
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		separator := byte(',')
		if buf.Len() == 8 {
			separator = '{'
		}
		buf.WriteByte(separator)
		buf.Write(key)
		buf.WriteByte(':')
		buf.Write(text)
		return nil
	}
	if len(metadata) > 0 {
		for key, value := range metadata {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, fmt.Errorf("metadata %q: not valid UTF-8", key)
			}
		}
		if err := field(metadataKey, metadata); err != nil {
			return nil, err
		}
	}
	for _, s := range layout {
		if err := field(s.name, s.info); err != nil {
			return nil, err
		}
	}
	if buf.Len() == 8 {
		buf.WriteByte('{')
	}
	buf.WriteByte('}')
	for buf.Len()%8 != 0 {
		buf.WriteByte(' ')
	}
	length := buf.Len() - 8
	if length > maxHeader {
		return nil, fmt.Errorf("header of %d bytes for %d tensors and the metadata exceeds the limit of %d",
			length, len(layout), maxHeader)
	}
	binary.LittleEndian.PutUint64(buf.Bytes(), uint64(length))
	return buf.Bytes(), nil
}

func writeTensor(w io.Writer, t *tensors.Tensor, info tensorInfo) error {
	if info.Offsets[0] == info.Offsets[1] {
		return nil // GoMLX has no buffer for an empty tensor
	}
	var failure error
	if err := t.ConstBytes(func(data []byte) { _, failure = w.Write(data) }); err != nil {
		return err
	}
	return failure
}
