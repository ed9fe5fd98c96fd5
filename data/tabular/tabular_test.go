package tabular_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/internal/fuzztest"
)

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every form of a table is read as the same points.
func TestRead(t *testing.T) {
	xy, numbered := []string{"x", "y"}, []string{"0", "1"}
	rows := [][]float64{{1, -2.5}, {0.1, 3e4}}
	for _, tc := range []struct {
		name, text, classes string
		columns, names      []string
		labels              []int32
	}{
		{"header.csv", "x,y\n1,-2.5\n0.1,3e4\n", "", xy, nil, nil},
		{"mark.csv", "\ufeffx,y\r\n1,-2.5\r\n0.1,3e4", "", xy, nil, nil},
		{"semicolons.csv", "x;y\n1;-2.5\n0.1;3e4\n", "", xy, nil, nil},
		{"tabs.csv", "x\ty\n1\t-2.5\n0.1\t3e4\n", "", xy, nil, nil},
		{"bare.csv", "1, -2.5\n0.1, 3e4\n", "", numbered, nil, nil},
		{"classes.csv", "x,kind,y\n1,red,-2.5\n0.1,blue,3e4\n", "kind", xy, []string{"blue", "red"}, []int32{1, 0}},
		{"numbered.csv", "0,1\n1,-2.5\n0.1,3e4\n", "", numbered, nil, nil},
		{"bare-classes.csv", "1,-2.5,10\n0.1,3e4,9\n", "2", numbered, []string{"9", "10"}, []int32{1, 0}},
		{"lists.json", "[[1, -2.5], [0.1, 3e4]]", "", numbered, nil, nil},
		{"objects.json", `[{"x": 1, "y": -2.5}, {"y": 3e4, "x": 0.1}]`, "", xy, nil, nil},
		{"classes.json", `[{"x": 1, "k": "b", "y": -2.5}, {"x": 0.1, "k": "a", "y": 3e4}]`, "k", xy, []string{"a", "b"},
			[]int32{1, 0}},
	} {
		got, err := tabular.Read(file(t, tc.name, tc.text), tc.classes)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if !reflect.DeepEqual(got.Rows, rows) || !reflect.DeepEqual(got.Columns, tc.columns) ||
			!reflect.DeepEqual(got.Names, tc.names) || !reflect.DeepEqual(got.Classes, tc.labels) {
			t.Errorf("%s: read as %+v", tc.name, got)
		}
	}
}

// An error of a file names line or row, column and value, and says what to do, in one line.
func TestReadRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, classes, want string }{
		{"a.txt", "1,2", "", "is no table: name a file .csv, .npy or .json"},
		{"a.csv", "", "", "has no rows"},
		{"a.csv", "x,y\n", "", "has no rows"},
		{"a.csv", "x,y\n1,2\n3\n", "", `line 3 has 1 values, but there are 2 columns ("x", "y")`},
		{"a.csv", "x,y\n1,2\n\n3,\n", "", `line 4, column "y": the value "" is missing: remove the row, or fill it in`},
		{"a.csv", "x,y\n1,2\n3,NaN\n", "", `line 3, column "y": the value "NaN" is missing`},
		{"a.csv", "x,y\n1,-Inf\n", "", `line 2, column "y": the value "-Inf" is not finite`},
		{"a.csv", "x,y\n1,1e999\n", "", `line 2, column "y": the value "1e999" is not finite`},
		{"a.csv", "x,y\n1,red\n", "", `line 2, column "y": the value "red" is not a number: remove the column`},
		{"a.csv", "x,x\n1,2\n", "", `columns 1 and 2 have the same name "x"`},
		{"a.csv", "x,y\n1,2\n", "z", `has no column "z" for the classes, only "x", "y"`},
		{"a.csv", "k\n1\n", "k", "has no column of numbers"},
		{"a.csv", "x,y\n\"1,2\n", "", `line 2: extraneous or missing " in quoted-field`},
		{"a.csv", ",x,y\n0,1,2\n", "", `line 1: "y" is not a number, but other values are numbers or missing: if the line has`},
		{"a.csv", "kind,2019\nred,1\n", "", `leave out an index of the rows; if it is a row, name column 0 as that of the classes`},
		{"a.csv", "1.5e+00 2.5e+00\n1 2\n", "", `line 1: "1.5e+00 2.5e+00" has spaces between its values: write commas`},
		{"a.json", `{"x": 1}`, "", "is no JSON list of rows"},
		{"a.json", `[[1, 2], [3, null]]`, "", `row 2, column "1": the value "null" is missing`},
		{"a.json", `[[1, 2], [3]]`, "", `row 2 has 1 values, but there are 2 columns`},
		{"a.json", `[{"x": 1, "y": 2}, {"x": 1}]`, "", `row 2: has no value for "y"`},
		{"a.json", `[{"x": 1}, {"x": 1, "y": 2}]`, "", `row 2: has 2 values, but there are 1 columns`},
		{"a.json", `[[1, [2]]]`, "", "row 1: value 2 is a list or an object"},
		{"a.json", `[3]`, "", "row 1: 3 is no list or object"},
		{"a.json", `[[1, 2]`, "", "is cut off after row 1"},
		{"a.json", `[[1, 2]] x`, "", "has text after the list"},
		{"a.npy", "no array", "", "starts with"},
	} {
		path := file(t, tc.name, tc.text)
		_, err := tabular.Read(path, tc.classes)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), path+": ") ||
			strings.Count(err.Error(), path) > 1 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s with %q: error %v, want one line with %q", tc.name, tc.text, err, tc.want)
		}
	}
	if _, err := tabular.Read(filepath.Join(t.TempDir(), "none.csv"), ""); err == nil ||
		!strings.HasSuffix(err.Error(), "none.csv: no such file or directory") {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// What is written is read back, to the last bit.
func TestWrite(t *testing.T) {
	want := &tabular.Table{
		Columns: []string{"a b", "c,d"}, Rows: [][]float64{{1. / 3, -1e-300}, {math.Pi, 5e20}, {0, -0.5}},
	}
	for _, name := range []string{"x.csv", "x.npy", "x.json"} {
		path := filepath.Join(t.TempDir(), name)
		if err := tabular.Write(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := tabular.Read(path, "")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Rows, want.Rows) || name == "x.csv" && !reflect.DeepEqual(got.Columns, want.Columns) {
			t.Errorf("%s: read back as %+v", name, got)
		}
	}
	// Names that are numbers would be a row.
	for columns, written := range map[string]string{"0,1": "0,1", "1,2": "x1,x2", "0,?": "x0,x?", "0": "0", "1,x1": "xx1,x1"} {
		names, path := strings.Split(columns, ","), filepath.Join(t.TempDir(), "x.csv")
		rows := [][]float64{[]float64{5, 6}[:len(names)], []float64{7, 8}[:len(names)]}
		if err := tabular.Write(path, &tabular.Table{Columns: names, Rows: rows}); err != nil {
			t.Fatal(err)
		}
		got, err := tabular.Read(path, "")
		if err != nil || !reflect.DeepEqual(got.Rows, rows) || strings.Join(got.Columns, ",") != written {
			t.Errorf("columns %s: read back as %+v, %v", columns, got, err)
		}
	}
	want.Class, want.Classes, want.Names = "kind", []int32{1, 0, 1}, []string{"blue, dark", "red"}
	for _, name := range []string{"x.csv", "x.json"} {
		path := filepath.Join(t.TempDir(), name)
		if err := tabular.Write(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := tabular.Read(path, "kind")
		if err != nil {
			t.Fatal(err)
		}
		got.Path, got.Places = "", nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read back as %+v", name, got)
		}
	}
	folder := filepath.Join(t.TempDir(), "x.csv")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"x.txt": "name a file .csv", "none/x.csv": "no such file", folder: "file exists",
	} {
		if err := tabular.Write(path, want); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v, want one with %q", path, err, text)
		}
	}
}

// The hash of a table depends on all that is in it.
func TestHash(t *testing.T) {
	base := func() *tabular.Table {
		return &tabular.Table{
			Columns: []string{"x"}, Rows: [][]float64{{1}, {2}}, Classes: []int32{0, 1}, Names: []string{"a", "b"},
		}
	}
	seen := map[string]bool{base().Hash(): true}
	for _, change := range []func(*tabular.Table){
		func(t *tabular.Table) { t.Columns[0] = "y" }, func(t *tabular.Table) { t.Rows[1][0] = 3 },
		func(t *tabular.Table) { t.Classes[0] = 1 }, func(t *tabular.Table) { t.Names[0] = "c" },
		func(t *tabular.Table) { t.Classes, t.Names = nil, nil },
	} {
		other := base()
		change(other)
		if seen[other.Hash()] {
			t.Errorf("%+v has the hash of another table", other)
		}
		seen[other.Hash()] = true
	}
	if first, second := base().Hash(), base().Hash(); first != second {
		t.Error("the hash is not a function of the table")
	}
}

// FuzzRead reads any bytes as each format.
func FuzzRead(f *testing.F) {
	f.Add([]byte("x,y\n1,2\n"), uint8(0), "")
	f.Add([]byte("[[1, 2], [3, 4]]"), uint8(1), "1")
	f.Add([]byte(`[{"x": 1, "k": "a"}]`), uint8(1), "k")
	f.Add([]byte("\x93NUMPY\x01\x00"), uint8(2), "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, format uint8, classes string) {
		path := filepath.Join(dir, "x"+[]string{".csv", ".json", ".npy"}[format%3])
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		var got *tabular.Table
		err := fuzztest.Read(t, len(content), 1024, func() (err error) {
			got, err = tabular.Read(path, classes)
			return err
		})
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		for _, row := range got.Rows {
			if len(row) != len(got.Columns) {
				t.Fatalf("row %v for columns %q", row, got.Columns)
			}
			for _, v := range row {
				if v-v != 0 {
					t.Fatalf("row %v is not finite", row)
				}
			}
		}
	})
}
