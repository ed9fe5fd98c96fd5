package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// everyKind has each element type, each special value and each unusual shape and name.
func everyKind() Tensors {
	return Tensors{
		"float32": tensors.FromFlatDataAndDimensions([]float32{
			0, float32(math.Copysign(0, -1)), 1.5, float32(math.Inf(1)), math.SmallestNonzeroFloat32,
			math.Float32frombits(0x7fc00001), math.Float32frombits(0xff812345), -math.MaxFloat32,
		}, 2, 4),
		"float64": tensors.FromFlatDataAndDimensions([]float64{
			math.Pi, math.Inf(-1),
			math.Float64frombits(0x7ff8_dead_beef_0001), math.Float64frombits(0xfff0_0000_0000_0001),
		}, 4),
		"int8":                   tensors.FromFlatDataAndDimensions([]int8{-128, 127}, 2),
		"int16":                  tensors.FromFlatDataAndDimensions([]int16{math.MinInt16, math.MaxInt16}, 2),
		"int32":                  tensors.FromFlatDataAndDimensions([]int32{math.MinInt32, -1, math.MaxInt32}, 3, 1),
		"int64":                  tensors.FromFlatDataAndDimensions([]int64{math.MinInt64, math.MaxInt64}, 2),
		"uint8":                  tensors.FromFlatDataAndDimensions([]uint8{0, 255, 7}, 3),
		"uint16":                 tensors.FromFlatDataAndDimensions([]uint16{math.MaxUint16}, 1),
		"uint32":                 tensors.FromFlatDataAndDimensions([]uint32{math.MaxUint32}, 1),
		"uint64":                 tensors.FromFlatDataAndDimensions([]uint64{math.MaxUint64, 1 << 63, 42}, 3),
		"bool":                   tensors.FromFlatDataAndDimensions([]bool{true, false, true}, 3),
		"float16":                tensors.FromFlatDataAndDimensions([]float16.Float16{0x7e01, 0x3c00}, 2),
		"bfloat16":               tensors.FromFlatDataAndDimensions([]bfloat16.BFloat16{0x7fc1, 0x3f80}, 2),
		"scalar":                 tensors.FromScalar(float32(3)),
		"empty":                  tensors.FromShape(shapes.Make(dtypes.Float32, 0)),
		"empty/uint64":           tensors.FromShape(shapes.Make(dtypes.Uint64, 3, 0, 5)),
		"größe/α→β 重み 🙂":         tensors.FromScalar(int64(1)),
		"a \"b\"\n<&>\u2028\x00": tensors.FromScalar(int64(2)),
		"":                       tensors.FromScalar(int64(3)),
	}
}

// requireSame fails unless both have the same names, shapes and bytes, including NaN payloads.
func requireSame(t *testing.T, got, want Tensors) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		g := got[name]
		if g == nil {
			t.Fatalf("tensor %q is missing", name)
		}
		if !g.Shape().Equal(w.Shape()) {
			t.Fatalf("tensor %q: %s, want %s", name, g.Shape(), w.Shape())
		}
		if !bytes.Equal(rawBytes(t, g), rawBytes(t, w)) {
			t.Fatalf("tensor %q: %s, want %s", name, g, w)
		}
	}
}

func rawBytes(t *testing.T, tensor *tensors.Tensor) (data []byte) {
	t.Helper()
	if tensor.Size() == 0 {
		return nil
	}
	if err := tensor.ConstBytes(func(b []byte) { data = bytes.Clone(b) }); err != nil {
		t.Fatal(err)
	}
	return data
}

func encoded(t testing.TB, ts Tensors, metadata map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Write(&buf, ts, metadata); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func decoded(data []byte) (Tensors, map[string]string, error) {
	return Read(bytes.NewReader(data), int64(len(data)))
}

func TestRoundTrip(t *testing.T) {
	metadata := map[string]string{"seed": "7", "größe": "a\n\"b\" <c>"}
	data := encoded(t, everyKind(), metadata)
	got, gotMetadata, err := decoded(data)
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got, everyKind())
	if fmt.Sprint(gotMetadata) != fmt.Sprint(metadata) {
		t.Errorf("metadata %q, want %q", gotMetadata, metadata)
	}
	if header := binary.LittleEndian.Uint64(data); header%8 != 0 {
		t.Errorf("header of %d bytes, want a multiple of 8", header)
	}
	for range 20 { // the order of a map differs between iterations
		if !bytes.Equal(encoded(t, everyKind(), metadata), data) {
			t.Fatal("the same tensors gave different bytes")
		}
	}
}

func TestNothing(t *testing.T) {
	data := encoded(t, nil, nil)
	if want := "\x08\x00\x00\x00\x00\x00\x00\x00{}      "; string(data) != want {
		t.Errorf("no tensors are written as %q, want %q", data, want)
	}
	got, metadata, err := decoded(data)
	if err != nil || len(got) != 0 || len(metadata) != 0 {
		t.Errorf("read %v, %v, %v", got, metadata, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	finalized := tensors.FromScalar(float32(1))
	finalized.MustFinalizeAll()
	one := tensors.FromScalar(float32(1))
	for _, test := range []struct {
		name     string
		tensors  Tensors
		metadata map[string]string
		want     string
	}{
		{"nil", Tensors{"w": nil}, nil, `tensor "w"`},
		{"finalized", Tensors{"w": finalized}, nil, `tensor "w"`},
		{"complex", Tensors{"w": tensors.FromScalar(complex64(1))}, nil, "Complex64 is not supported"},
		{"name", Tensors{"\xff": one}, nil, "not valid UTF-8"},
		{"reserved", Tensors{"__metadata__": one}, nil, "reserves"},
		{"metadata", Tensors{"w": one}, map[string]string{"k": "\xff"}, "not valid UTF-8"},
		{"header", nil, map[string]string{"k": strings.Repeat("x", maxHeader)}, "exceeds the limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var buf bytes.Buffer
			err := Write(&buf, test.tensors, test.metadata)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if buf.Len() > 0 {
				t.Errorf("wrote %d bytes before the error", buf.Len())
			}
		})
	}
}

// limited accepts n bytes and then fails, like a full disk.
type limited struct{ n int }

var errFull = errors.New("no space left")

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.n, len(p))
	l.n -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriteError(t *testing.T) {
	size := len(encoded(t, everyKind(), nil))
	for n := range size {
		if err := Write(&limited{n}, everyKind(), nil); !errors.Is(err, errFull) {
			t.Fatalf("after %d of %d bytes: error %v", n, size, err)
		}
	}
	if err := Write(&limited{size}, everyKind(), nil); err != nil {
		t.Error(err)
	}
}

// TestEveryFormat checks that everyKind has every supported element type.
func TestEveryFormat(t *testing.T) {
	var tested []dtypes.DType
	for _, tensor := range everyKind() {
		tested = append(tested, tensor.DType())
	}
	for _, f := range formats {
		if !slices.Contains(tested, f.dtype) {
			t.Errorf("no test has a tensor of %s", f.name)
		}
	}
}

// TestWriteFromDevice writes a result on a device and returns it to the device.
func TestWriteFromDevice(t *testing.T) {
	b := backendtest.New(t)
	double := graph.MustNewExec(b, func(x *graph.Node) *graph.Node { return graph.Add(x, x) })
	result := double.MustCall(tensors.FromFlatDataAndDimensions([]float32{1, 2, 3}, 3))[0]
	got, _, err := decoded(encoded(t, Tensors{"w": result}, nil))
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, got, Tensors{"w": tensors.FromFlatDataAndDimensions([]float32{2, 4, 6}, 3)})
	again := double.MustCall(got["w"])[0]
	requireSame(t, Tensors{"w": again}, Tensors{"w": tensors.FromFlatDataAndDimensions([]float32{4, 8, 12}, 3)})
}
