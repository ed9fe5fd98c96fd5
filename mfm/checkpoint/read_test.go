package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestReferenceFile reads a file written by the reference implementation of the format
// (testdata/reference.py) and writes it again: same numbers, same bytes.
func TestReferenceFile(t *testing.T) {
	path := filepath.Join("testdata", "reference.safetensors")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ts, metadata, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, ts, metadata); !bytes.Equal(got, want) {
		t.Errorf("written again, the file differs:\n%q\nwant\n%q", got, want)
	}
	if len(metadata) != 1 || metadata["größe"] != "a\n\"b\" c" {
		t.Errorf("metadata %q", metadata)
	}
	half := []float16.Float16{float16.FromFloat32(1.5), float16.FromFloat32(-2)}
	brain := []bfloat16.BFloat16{bfloat16.FromFloat32(1.5), bfloat16.FromFloat32(-2)}
	single := []float32{0, float32(math.Copysign(0, -1)), 1.5, float32(math.Inf(1)), math.SmallestNonzeroFloat32, -3.25}
	requireSame(t, ts, Tensors{
		"kind/bool":     tensors.FromFlatDataAndDimensions([]bool{true, false, true}, 3),
		"kind/uint8":    tensors.FromFlatDataAndDimensions([]uint8{0, 255, 7}, 3),
		"kind/int8":     tensors.FromFlatDataAndDimensions([]int8{-128, 127}, 2),
		"kind/int16":    tensors.FromFlatDataAndDimensions([]int16{math.MinInt16, math.MaxInt16}, 2),
		"kind/uint16":   tensors.FromFlatDataAndDimensions([]uint16{math.MaxUint16}, 1),
		"kind/float16":  tensors.FromFlatDataAndDimensions(half, 2),
		"kind/bfloat16": tensors.FromFlatDataAndDimensions(brain, 2),
		"kind/int32":    tensors.FromFlatDataAndDimensions([]int32{math.MinInt32, -1, math.MaxInt32}, 3, 1),
		"kind/uint32":   tensors.FromFlatDataAndDimensions([]uint32{math.MaxUint32}, 1),
		"kind/float32":  tensors.FromFlatDataAndDimensions(single, 2, 3),
		"kind/float64":  tensors.FromFlatDataAndDimensions([]float64{math.Pi, -1e300}, 2),
		"kind/int64":    tensors.FromFlatDataAndDimensions([]int64{math.MinInt64, math.MaxInt64}, 2),
		"kind/uint64":   tensors.FromFlatDataAndDimensions([]uint64{math.MaxUint64, 42}, 2),
		"scalar":        tensors.FromScalar(float32(3)),
		"empty":         tensors.FromShape(shapes.Make(dtypes.Float64, 3, 0)),
	})
}

// withHeader returns a file of a header and n zero bytes.
func withHeader(header string, n int) []byte {
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(data, header...), make([]byte, n)...)
}

// badFiles are invalid files, each with a part of the expected error.
var badFiles = []struct {
	name string
	data []byte
	want string
}{
	{"empty", nil, "too short"},
	{"short", []byte("\x02\x00\x00"), "too short"},
	{"zip", []byte("PK\x03\x04PK\x03\x04PK"), "limit"},
	{"header beyond the end", []byte("\x09\x00\x00\x00\x00\x00\x00\x00{}"), "truncated"},
	{"header length negative", []byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "the format's limit is 100000000 bytes"},
	{"no header", withHeader("", 0), "EOF"},
	{"not UTF-8", withHeader("{\"\xff\":{}}", 0), "UTF-8"},
	{"list", withHeader("[]", 0), "object"},
	{"truncated JSON", withHeader(`{"w":{"dtype":"F32"`, 0), "unexpected EOF"},
	{"unclosed", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]}`, 4), "EOF"},
	{"tail", withHeader(`{} {}`, 0), "after the JSON"},
	{"twice", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[0,4]},`+
		`"w":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}`, 8), "occurs twice"},
	{"metadata number", withHeader(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
	{"metadata twice", withHeader(`{"__metadata__":{"a":"1"},"__metadata__":{"a":"1"}}`, 0), "occurs twice"},
	{"type", withHeader(`{"w":{"dtype":"F31","shape":[],"data_offsets":[0,4]}}`, 4), `"F31" is not supported`},
	{"no shape", withHeader(`{"w":{"dtype":"F32","data_offsets":[0,4]}}`, 4), `tensor "w": has no shape`},
	{"negative axis", withHeader(
		`{"w":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}`, 4,
	), `"-1" is not a whole number`},
	{"fraction", withHeader(`{"w":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}`, 4), `"w"`},
	{"overflow", withHeader(
		`{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0,
	), "too large"},
	{"overflow of an empty shape", withHeader(
		`{"w":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}`, 0,
	), "too large"},
	{"field twice", withHeader(
		`{"w":{"dtype":"I32","dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 4,
	), `"w": "dtype": occurs twice`},
	{"capitals", withHeader(`{"w":{"DType":"F32","shape":[],"data_offsets":[0,4]}}`, 4), `tensor "w": has no dtype`},
	{"no offsets", withHeader(`{"w":{"dtype":"F32","shape":[]}}`, 4), "data_offsets"},
	{"three offsets", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[0,4,4]}}`, 4), "data_offsets"},
	{"negative offset", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[-4,0]}}`, 4), "data_offsets"},
	{"reversed", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[4,0]}}`, 4), "data_offsets"},
	{"beyond the end", withHeader(`{"w":{"dtype":"F32","shape":[],"data_offsets":[4,8]}}`, 4), "data_offsets"},
	{"huge", withHeader(
		`{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}`, 4,
	), "data_offsets"},
	{"size", withHeader(`{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "span 4 bytes"},
	{"overlap", withHeader(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
		`"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begin at byte 4"},
	{"gap", withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},`+
		`"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), "begin at byte 8"},
	{"gap in front", withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "begin at byte 4"},
	{"data left over", withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 5), "the file has 5"},
	{"no bool", append(withHeader(`{"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}`, 1), 2), "element 1 is 2"},
}

// TestReadAgreesWithTheReference compares the verdict on each file of testdata/verdicts.json,
// accepted or refused, with that of the format's reference implementation (testdata/verdicts.py).
func TestReadAgreesWithTheReference(t *testing.T) {
	// Read refuses these, which the reference accepts; see the documentation of Read.
	stricter := map[string]string{
		"tensor twice, the same":        "occurs twice", // the format forbids it
		"tensor twice, the first a gap": "occurs twice",
		"tensor twice, once escaped":    "occurs twice",
		"metadata key twice":            "occurs twice",
		"tensor a list":                 "want a JSON object", // side effects of the reference's parser
		"dtype an object":               "not a string",
		"shape of 2^63 with 0":          "2^63 - 1",
		"shape of 2^64 - 1 with 0":      "2^63 - 1",
		"bool of 2":                     "not a bool",
		"dtype C64":                     "not supported",
		"dtype F8_E5M2":                 "not supported", "dtype F8_E4M3": "not supported",
		"dtype F8_E8M0": "not supported", "dtype F8_E4M3FNUZ": "not supported", "dtype F8_E5M2FNUZ": "not supported",
		"dtype F6_E2M3": "not supported", "dtype F6_E3M2": "not supported", "dtype F4": "not supported",
	}
	for _, v := range verdicts(t) {
		_, _, err := decoded(v.File)
		want, strict := stricter[v.Name]
		delete(stricter, v.Name)
		switch {
		case strict && (v.Error != "" || err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, the reference's %q: want one with %q, and none of the reference",
				v.Name, err, v.Error, want)
		case !strict && (err == nil) != (v.Error == ""):
			t.Errorf("%s: error %v, the reference's %q", v.Name, err, v.Error)
		}
	}
	if len(stricter) > 0 {
		t.Errorf("no file for %v", stricter)
	}
}

// verdict is a file with the reference implementation's error, empty if it accepts the file.
type verdict struct {
	Name, Error string
	File        []byte
}

func verdicts(t testing.TB) (all []verdict) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "verdicts.json"))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestReadRefuses(t *testing.T) {
	for _, test := range badFiles {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := decoded(test.data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestReadTruncated checks that Read refuses proper prefixes of a file, and files that end too
// early.
func TestReadTruncated(t *testing.T) {
	data := encoded(t, everyKind(), nil)
	for n := range data {
		if _, _, err := decoded(data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted as a file", n, len(data))
		}
		if _, _, err := Read(bytes.NewReader(data[:n]), int64(len(data))); err == nil {
			t.Fatalf("%d bytes are accepted as a file of %d", n, len(data))
		}
	}
}

// TestReadOrder reads a file with tensors in another order than Write's, empty ones among them.
func TestReadOrder(t *testing.T) {
	header := `{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},` +
		`"e":{"dtype":"F64","shape":[0],"data_offsets":[1,1]},` +
		`"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"z":{"dtype":"U8","shape":[2,0],"data_offsets":[2,2]}}`
	data := withHeader(header, 2)
	copy(data[len(data)-2:], []byte{5, 6})
	got, _, err := decoded(data)
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got, Tensors{
		"a": tensors.FromFlatDataAndDimensions([]uint8{5}, 1),
		"b": tensors.FromFlatDataAndDimensions([]uint8{6}, 1),
		"e": tensors.FromShape(shapes.Make(dtypes.Float64, 0)),
		"z": tensors.FromShape(shapes.Make(dtypes.Uint8, 2, 0)),
	})
}

// FuzzRead checks that any input gives an error, or tensors that survive writing and reading again.
func FuzzRead(f *testing.F) {
	for _, test := range badFiles {
		f.Add(test.data)
	}
	for _, v := range verdicts(f) {
		f.Add(v.File)
	}
	f.Add(encoded(f, everyKind(), map[string]string{"seed": "7"}))
	f.Add(encoded(f, Tensors{"w": tensors.FromScalar(true)}, nil))
	for _, header := range []string{`"a\nb"`, "{\"w\":{\"dtype\":[\n]}}", "{\"w\":{\"shape\":{\n}}}",
		"{\"w\":{\"shape\":[[\n]]}}"} {
		f.Add(withHeader(header, 0))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ts Tensors
		var metadata map[string]string
		err := fuzztest.Read(t, len(data), 256, func() (err error) {
			ts, metadata, err = decoded(data)
			return err
		})
		if err != nil {
			return
		}
		var total int64
		for _, tensor := range ts {
			total += tensor.Shape().ByteSize()
		}
		if total > int64(len(data)) {
			t.Fatalf("%d bytes of tensors from a file of %d", total, len(data))
		}
		if _, err := contentSum(ts, metadata); err != nil {
			t.Fatal(err)
		}
		again, metadataAgain, err := decoded(encoded(t, ts, metadata))
		if err != nil {
			t.Fatal(err)
		}
		requireSame(t, again, ts)
		if fmt.Sprint(metadataAgain) != fmt.Sprint(metadata) {
			t.Fatalf("metadata %q, want %q", metadataAgain, metadata)
		}
	})
}
