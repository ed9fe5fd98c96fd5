package pretrained_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/pretrained"
)

// torchZip returns a file of torch.save with the given pickle and storages.
func torchZip(pickle string, storages map[string]string) []byte {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	add := func(name, content string) {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = entry.Write([]byte(content))
		}
		if err != nil {
			panic(err)
		}
	}
	add("data.pkl", pickle)
	for key, content := range storages {
		add("data/"+key, content)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// tensorPickle returns the pickle {"w": tensor} of a view of storage "0" with the given number of
// float32 elements.
func tensorPickle(elements, offset int, size, steps string) string {
	integer := func(n int) string {
		raw := binary.LittleEndian.AppendUint64(nil, uint64(n))
		return "\x8a\x08" + string(raw)
	}
	return "\x80\x02}U\x01w" + "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" +
		integer(elements) + "tQ" + integer(offset) + "(" + size + "t(" + steps + "t\x89}tRs."
}

func read(data []byte) error {
	_, err := pretrained.ReadTorch(bytes.NewReader(data), int64(len(data)))
	return err
}

func TestReadTorchRefusesHostileFiles(t *testing.T) {
	four := map[string]string{"0": strings.Repeat("\x00\x00\x80\x3f", 4)}
	if err := read(torchZip(tensorPickle(4, 0, "K\x02K\x02", "K\x02K\x01"), four)); err != nil {
		t.Fatalf("a sound file: %v", err)
	}
	huge := "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10" // 2^60
	var bomb bytes.Buffer
	w := zip.NewWriter(&bomb)
	entry, err := w.Create("archive/data.pkl")
	if err == nil {
		_, err = entry.Write(make([]byte, 1<<20))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	sound := strings.TrimSuffix(tensorPickle(4, 0, "K\x04", "K\x01")[6:], "s.") // without its dictionary
	nested := strings.Repeat("}U\x01a", 100) + strings.Repeat("}s", 1) + strings.Repeat("s", 99) + "."
	for name, c := range map[string]struct {
		data    []byte
		message string
	}{
		"calls a function":       {torchZip("cposix\nsystem\n(S'echo owned'\ntR.", nil), "the file calls posix.system"},
		"calls eval":             {torchZip("c__builtin__\neval\n(S'1'\ntR.", nil), "the file calls __builtin__.eval"},
		"stack global":           {torchZip("\x80\x04\x8c\x02os\x8c\x06system\x93.", nil), "the file calls os.system"},
		"legacy calls":           {[]byte("\x80\x02cposix\nsystem\n(S'echo'\ntR."), "the file calls posix.system"},
		"sets attributes":        {torchZip("\x80\x02K\x01}b.", nil), "sets attributes"},
		"zip bomb":               {bomb.Bytes(), "is compressed"},
		"2^60 elements":          {torchZip(tensorPickle(1<<60, 0, "K\x02", "K\x01"), four), "is larger than the file"},
		"a view of 2^60":         {torchZip(tensorPickle(4, 0, huge, "K\x00"), four), "do not fit"},
		"beyond its storage":     {torchZip(tensorPickle(4, 1, "K\x02K\x02", "K\x02K\x01"), four), "beyond its storage"},
		"step beyond":            {torchZip(tensorPickle(4, 0, "K\x02", huge), four), "beyond its storage"},
		"negative offset":        {torchZip(tensorPickle(4, -1, "K\x02", "K\x01"), four), "beyond its storage"},
		"axes and steps":         {torchZip(tensorPickle(4, 0, "K\x02", "K\x01K\x01"), four), "axes"},
		"short storage":          {torchZip(tensorPickle(8, 0, "K\x08", "K\x01"), four), "has 16 bytes"},
		"missing storage":        {torchZip(tensorPickle(4, 0, "K\x04", "K\x01"), nil), "missing"},
		"no data.pkl":            {torchZip("", nil)[:0], "too short"},
		"truncated pickle":       {torchZip("\x80\x02}U\x01w", nil), "truncated"},
		"string of 2^60 bytes":   {torchZip("\x8d\x00\x00\x00\x00\x00\x00\x00\x10.", nil), "truncated"},
		"unknown instruction":    {torchZip("\xff.", nil), "instruction 0xff"},
		"empty stack":            {torchZip(".", nil), "takes more"},
		"no mark":                {torchZip("t.", nil), "no mark"},
		"nested too deep":        {torchZip(nested, nil), "nested more than"},
		"keys without values":    {torchZip("(K\x01d.", nil), "without a value"},
		"values before they are": {torchZip("h\x05.", nil), "before it puts it"},
		"magic number":           {[]byte("\x80\x02K\x01.\x80\x02K\x01."), "magic"},
		"calls in other parts": {torchZip("}(U\x01w"+sound+"U\x10hyper_parameterscposix\nsystem\n(S'echo owned'\ntRu.", four),
			"the file calls posix.system"},
		"names eval in other parts": {torchZip("}(U\x01w"+sound+"U\x01hcbuiltins\neval\nu.", four), "the file calls builtins.eval"},
		"a class alone":             {torchZip("cproject\nSettings\n)R.", nil), "no tensors, but a value of project.Settings"},
		"an unknown tensor":         {torchZip("}U\x01wctorch._utils\n_rebuild_qtensor\n)Rs.", nil), "_rebuild_qtensor"},
		"unknown elements": {torchZip(strings.Replace(tensorPickle(4, 0, "K\x04", "K\x01"), "FloatStorage",
			"ComplexFloatStorage", 1), four), "unknown type"},
		"many instructions": {torchZip("}"+strings.Repeat("}\x94", 1<<20), nil), "instructions"},
		"many containers":   {torchZip("("+strings.Repeat("}]", 1<<20), nil), "instructions"},
		"a large pickle":    {torchZip("U"+strings.Repeat("\x00", 17<<20), nil), "more than"},
		"text":              {[]byte("hello world, this is text"), "not a file of PyTorch"},
	} {
		err := fuzztest.Read(t, hostileMemory, 1, func() error { return read(c.data) })
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: error %v, want %q", name, err, c.message)
		}
	}
	duplicate := "\x80\x02}" + strings.Repeat(strings.TrimSuffix(tensorPickle(4, 0, "K\x04", "K\x01")[3:], "."), 2) + "."
	if err := read(torchZip(duplicate, four)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a name that occurs twice: %v", err)
	}
}

func FuzzReadTorch(f *testing.F) {
	four := map[string]string{"0": strings.Repeat("\x00\x00\x80\x3f", 4)}
	f.Add(torchZip(tensorPickle(4, 0, "K\x02K\x02", "K\x02K\x01"), four))
	f.Add([]byte("\x80\x02cposix\nsystem\n(S'echo'\ntR."))
	f.Add(wheel(f, map[string][]byte{"w.pth": torchZip(tensorPickle(4, 0, "K\x02K\x02", "K\x02K\x01"), four)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := pretrained.ReadTorch(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		total := 0
		for _, v := range tensors {
			total += int(v.Shape().ByteSize())
		}
		if total > 4*len(data) {
			t.Errorf("%d bytes of tensors from %d", total, len(data))
		}
	})
}
