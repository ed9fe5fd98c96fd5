package pretrained_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/internal/npy"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// TestReadNPZ reads a file of testdata/make_references.py, whose elements are their places in C
// order.
func TestReadNPZ(t *testing.T) {
	all, metadata, err := pretrained.Open(filepath.Join("testdata", "arrays.npz"))
	if err != nil || metadata != nil {
		t.Fatalf("%v, metadata %v", err, metadata)
	}
	for name, want := range map[string]struct {
		dtype dtypes.DType
		shape []int
	}{
		"half": {dtypes.Float16, []int{3}}, "matrix": {dtypes.Float32, []int{2, 3}}, "double": {dtypes.Float64, []int{2}},
		"int": {dtypes.Int32, []int{3}}, "long": {dtypes.Int64, []int{3}}, "empty": {dtypes.Float32, []int{0, 2}},
		"scalar": {dtypes.Float32, nil}, "fortran": {dtypes.Float32, []int{2, 3, 4}},
		"layer/zeros": {dtypes.Float32, []int{50, 100}},
	} {
		v := all[name]
		if v == nil || v.DType() != want.dtype || !slices.Equal(v.Shape().Dimensions, want.shape) {
			t.Errorf("%s is %v, want %v %v", name, v, want.dtype, want.shape)
			continue
		}
		elements := count(v.Size())
		switch name {
		case "scalar":
			elements = []float32{7}
		case "layer/zeros":
			clear(elements)
		case "int", "long", "empty":
			continue
		}
		list := []pretrained.Weight{{File: name, Path: name, Shape: v.Shape().Dimensions}}
		imported, err := pretrained.Import(checkpoint.Tensors{name: v}, list)
		if err != nil {
			t.Fatal(err)
		}
		if got := tensors.MustCopyFlatData[float32](imported[name]); !slices.Equal(got, elements) {
			t.Errorf("%s = %v, want %v", name, got, elements)
		}
	}
	if got := tensors.MustCopyFlatData[int64](all["long"]); !slices.Equal(got, []int64{0, 1, 2}) || len(all) != 9 {
		t.Errorf("long = %v of %d arrays", got, len(all))
	}
	if got := tensors.MustCopyFlatData[int32](all["int"]); !slices.Equal(got, []int32{0, 1, 2}) {
		t.Errorf("int = %v", got)
	}
}

// npyFile returns a file of numpy.save.
func npyFile(descr, shape string, elements []byte) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", descr, shape)
	raw := binary.LittleEndian.AppendUint16([]byte(npy.Magic+"\x01\x00"), uint16(len(header)))
	return append(append(raw, header...), elements...)
}

// npzFile returns a zip file with one compressed entry for each pair of a name and content.
func npzFile(entries ...any) []byte {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(entries); i += 2 {
		entry, err := w.Create(entries[i].(string))
		if err == nil {
			_, err = entry.Write(entries[i+1].([]byte))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// hostileMemory is the limit for what a reader may allocate for a small hostile file.
const hostileMemory = 200 << 20

func TestReadNPZRefusesHostileFiles(t *testing.T) {
	sound := npyFile("<f4", "2, 2", make([]byte, 16))
	if _, err := pretrained.ReadNPZ(bytes.NewReader(npzFile("a.npy", sound)), int64(len(npzFile("a.npy", sound)))); err != nil {
		t.Fatalf("a sound file: %v", err)
	}
	damaged := npzFile("a.npy", npyFile("<f4", "8", bytes.Repeat([]byte("abcd"), 8)))
	damaged[bytes.Index(damaged, []byte("a.npy"))+20] ^= 0x40
	lie := npzFile("a.npy", sound)
	directory := bytes.LastIndex(lie, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(lie[directory+24:], 1<<31) // the size after decompression
	for name, c := range map[string]struct {
		data    []byte
		message string
	}{
		"objects":               {npzFile("a.npy", npyFile("|O", "2", []byte("cos\nsystem\n(S'echo'\ntR."))), "pickle"},
		"a pickle as an array":  {npzFile("a.npy", []byte("cos\nsystem\n(S'echo owned'\ntR.")), "magic of a .npy file"},
		"structured":            {npzFile("a.npy", npyFile("', [('a', '<f4')]", "2", nil)), "is not one of"},
		"complex":               {npzFile("a.npy", npyFile("<c8", "2", make([]byte, 16))), `"<c8" is not one of`},
		"big-endian":            {npzFile("a.npy", npyFile(">f4", "2", make([]byte, 8))), `">f4" is not one of`},
		"zip bomb":              {npzFile("a.npy", npyFile("<f4", "5000000", make([]byte, 20e6))), "times the file's size"},
		"many bombs":            {npzFile("a.npy", npyFile("<f4", "3000000", make([]byte, 12e6)), "b.npy", npyFile("<f4", "2500000", make([]byte, 10e6))), `"b"`},
		"2^60 elements":         {npzFile("a.npy", npyFile("<f4", fmt.Sprint(1<<60), make([]byte, 16))), "times the file's size"},
		"2^60 and 0":            {npzFile("a.npy", npyFile("<f4", fmt.Sprint(1<<60)+", 8, 0", nil)), "times the file's size"},
		"too many digits":       {npzFile("a.npy", npyFile("<f4", strings.Repeat("9", 40), nil)), "times the file's size"},
		"many axes":             {npzFile("a.npy", npyFile("<f4", strings.Repeat("1, ", 100), make([]byte, 4))), "axes"},
		"truncated":             {npzFile("a.npy", npyFile("<f4", "5", make([]byte, 16))), "truncated"},
		"truncated in a header": {npzFile("a.npy", sound[:20]), "ends in its header"},
		"more than its shape":   {npzFile("a.npy", npyFile("<f4", "3", make([]byte, 16))), "more than the 12 bytes"},
		"twice":                 {npzFile("a.npy", sound, "a.npy", sound), "occurs twice"},
		"another file":          {npzFile("a.npy", sound, "b.txt", sound), "not an array of numpy.savez"},
		"damaged":               {damaged, `array "a"`},
		"another size":          {lie, "times the file's size"},
		"no zip":                {[]byte("PK\x03\x04 and no more"), "zip: "},
		"truncated zip":         {npzFile("a.npy", sound)[:60], "zip: "},
	} {
		err := fuzztest.Read(t, hostileMemory, 1, func() error {
			_, err := pretrained.ReadNPZ(bytes.NewReader(c.data), int64(len(c.data)))
			return err
		})
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: error %v, want %q", name, err, c.message)
		}
	}
	if _, _, err := pretrained.Open(filepath.Join("testdata", "objects.npz")); err == nil || !strings.Contains(err.Error(), "pickle") {
		t.Errorf("objects of NumPy: %v", err)
	}
}

// FuzzReadNPZ checks that any input gives an error or arrays within the limit.
func FuzzReadNPZ(f *testing.F) {
	f.Add(npzFile("a.npy", npyFile("<f4", "2, 2", make([]byte, 16)), "b.npy", npyFile("<i8", "", make([]byte, 8))))
	f.Add(npzFile("a.npy", npyFile("|O", "2", nil)))
	raw, err := os.ReadFile(filepath.Join("testdata", "arrays.npz"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		var all checkpoint.Tensors
		err := fuzztest.Read(t, 48<<20+64*len(data), 1, func() (err error) {
			all, err = pretrained.ReadNPZ(bytes.NewReader(data), int64(len(data)))
			return err
		})
		if err != nil {
			return
		}
		var total int64
		for _, v := range all {
			total += v.Shape().ByteSize()
		}
		if limit := int64(16<<20 + 16*len(data)); total > limit || total < 0 || total > math.MaxInt64/2 {
			t.Errorf("%d bytes of arrays from %d", total, len(data))
		}
	})
}
