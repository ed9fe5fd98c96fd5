package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

func repository() fs.FS { return os.DirFS("../..") }

// TestPages checks that the pages in the repository are those that its measurements give.
func TestPages(t *testing.T) {
	if err := checkPages(repository()); err != nil {
		t.Error(err)
	}
}

// copied returns a copy of what the pages depend on.
func copied(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(repository(), "figures/*.json")
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := fs.Glob(repository(), "figures/*.png")
	if err != nil {
		t.Fatal(err)
	}
	grids, err := fs.Glob(repository(), "figures/grids/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(names, pictures, grids, []string{readmePage, resultsPage}) {
		data, err := fs.ReadFile(repository(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

// TestCheckFindsChange changes one number in a copy of the measurements.
func TestCheckFindsChange(t *testing.T) {
	for _, c := range []struct {
		file, key string
		pages     []string
	}{
		{"gmm_sweep.json", "mean_excess", []string{resultsPage}},
		{"gmm_parametrization.json", "excess", []string{resultsPage}},
		{"finetuning_mnist.json", "l2", []string{resultsPage}},
		{"bench.json", "ratio", []string{resultsPage, readmePage}},
		{"idle.json", "wait_share", []string{resultsPage}},
		{"kill_test.json", "equal", []string{resultsPage}},
		{"parity.json", "largest", []string{resultsPage}},
		{"when_steering_pays.json", "mean", []string{resultsPage}},
	} {
		files := copied(t)
		name := path.Join("figures", c.file)
		var rows []map[string]any
		if err := json.Unmarshal(files[name].Data, &rows); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(rows, func(r map[string]any) bool { return r[c.key] != nil })
		rows[at][c.key] = rows[at][c.key].(float64) + 1
		changed, err := json.Marshal(rows)
		if err != nil {
			t.Fatal(err)
		}
		files[name].Data = changed
		err = checkPages(files)
		if err == nil {
			t.Errorf("%s: a change of %s is not found", c.file, c.key)
			continue
		}
		for _, page := range c.pages {
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(page) + `:\d+ `).MatchString(err.Error()) {
				t.Errorf("%s: the error does not name a line of %s: %v", c.file, page, err)
			}
		}
	}
}

// TestFigures checks that a figure has its caption below it, that the gallery has the figures that
// the page does not show elsewhere, and that a missing figure is an error.
func TestFigures(t *testing.T) {
	const pixel = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00....\x00\x00\x00\x1b" +
		"iTXtDescription\x00\x00\x00\x00\x00a | b*c, ε....."
	png := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	files := fstest.MapFS{"figures/a.png": png(pixel), "figures/b.png": png(pixel), "figures/c.png": png(pixel[:33])}
	page, err := captioned(files, "x\n\n![A](a.png)\n\n![C](c.png)\n")
	if want := "x\n\n![A](a.png)\n\n*a \\| b\\*c, ε*\n\n![C](c.png)\n"; err != nil || page != want {
		t.Errorf("page %q, error %v, want %q", page, err, want)
	}
	got, err := newStore(files).gallery("![A](a.png)")
	if want := "| | |\n| --- | --- |\n| ![b](b.png)<br>*a \\| b\\*c, ε* | ![c](c.png) |"; err != nil || got != want {
		t.Errorf("gallery %q, error %v, want %q", got, err, want)
	}
	for _, page := range []string{"![A](d.png)\n", "![A](e.png)\n"} {
		files["figures/e.png"] = png("no picture")
		if _, err := captioned(files, page); err == nil {
			t.Errorf("no error for %q", page)
		}
	}
}

func TestMissingMeasurements(t *testing.T) {
	for _, name := range []string{"bench.json", "precision.json", "stress_tests.json", "kill_test.json", "parity.json", "idle.json", "mnist_posterior.json"} {
		for content, data := range map[string]*fstest.MapFile{
			"missing": nil, "empty": {}, "an empty list": {Data: []byte("[]\n")},
			"no JSON": {Data: []byte("[")}, "without keys": {Data: []byte(`[{}]`)},
		} {
			files := copied(t)
			files[path.Join("figures", name)] = data
			if data == nil {
				delete(files, path.Join("figures", name))
			}
			if err := checkPages(files); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s is %s: got error %v, want one with its name", name, content, err)
			}
		}
	}
}

func TestBlockMarkers(t *testing.T) {
	files := copied(t)
	files[readmePage] = &fstest.MapFile{Data: []byte("# Title\n")}
	pages, err := render(files)
	if err != nil {
		t.Fatal(err)
	}
	if _, found := pages[readmePage]; found {
		t.Error("README.md without a block is rewritten")
	}
	files[readmePage] = &fstest.MapFile{Data: []byte("# Title\n" + blockBegin + "\nold\n" + blockEnd + "\nrest\n")}
	if pages, err = render(files); err != nil {
		t.Fatal(err)
	}
	text := pages[readmePage]
	if !strings.HasPrefix(text, "# Title\n"+blockBegin+"\n") || !strings.HasSuffix(text, "\n"+blockEnd+"\nrest\n") ||
		strings.Contains(text, "old") {
		t.Errorf("README.md is not its text around the new block:\n%s", text)
	}
	files[readmePage] = &fstest.MapFile{Data: []byte(blockBegin + "\n")}
	if _, err := render(files); err == nil {
		t.Error("a block without an end is no error")
	}
}

// TestLinks checks that the files and headings that the pages link to exist.
func TestLinks(t *testing.T) {
	pages, err := render(repository())
	if err != nil {
		t.Fatal(err)
	}
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(pages[resultsPage], -1) {
		kept := regexp.MustCompile(`[^\p{L}\p{N} -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(kept, " ", "-"))
	}
	for name, text := range pages {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(link[1], "#")
			if _, err := fs.Stat(repository(), path.Join(path.Dir(name), file)); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			}
			if (file == resultsPage || file == "" && name == resultsPage) && anchor != "" && !slices.Contains(anchors, anchor) {
				t.Errorf("%s links to %s: there is no such heading", name, link[1])
			}
		}
	}
}

func TestMatches(t *testing.T) {
	r := row{"x.json", map[string]any{"n": 16.0, "method": "dps", "t": 0.1 + 0.2,
		"ode": map[string]any{"w": []any{1.0, 2.0}}}}
	for condition, want := range map[string]bool{
		"n=16": true, "n=1|16": true, "n=1": false, "n!=16": false, "n>=16": true, "n<=15": false, "t=0.3": true,
		"method=dps": true, "method=exact|dps": true, "model=": true, "model=law": false, "model!=law": true,
		"ode.w.1=2": true,
	} {
		if got := r.matches(condition); got != want {
			t.Errorf("%s: got %v, want %v", condition, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{comma(1), "1"}, {comma(999), "999"}, {comma(1000), "1,000"}, {comma(1234567), "1,234,567"},
		{power(0, 6.3e-5), "6·10⁻⁵"}, {power(1, 1.26e-10), "1.3·10⁻¹⁰"}, {power(1, 2), "2.0"},
		{power(1, 4.56e10), "4.6·10¹⁰"}, {enumerate([]string{"a", "b", "c"}), "a, b and c"},
		{withinValues("%.2f", []float64{1, 2, 3}), "2.00 ± 0.58"}, {fmt.Sprintf("%.3f", beyond(5, 4)), "3.000"},
		{table("a | b", [][]string{{"1", "2"}, {"3"}}), "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// Columns that are empty in all lines are left out.
func TestFilledTable(t *testing.T) {
	want := "| a | c |\n| --- | --- |\n| 1 | 3 |\n| 2 |  |"
	if got := filledTable("a | b | c", [][]string{{"1", "", "3"}, {"2"}}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzRows checks that any file of measurements gives an error, as a panic that templates report,
// or rows whose values can be read.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`[{"a": 1, "b": [{"a": 2}]}, {"a": "x"}]`), "a", "a=1|x")
	f.Add([]byte(`{"b": [{"a": 2}, 3]}`), "b.0.a", "b.0.a>=2")
	f.Add([]byte(`[]`), "", "=")
	f.Add([]byte(``), ".", "a")
	f.Add([]byte(`[1, null]`), "0", "a<=x")
	f.Add([]byte(`[{"": {"": 1}}]`), ".", ".!=2")
	f.Fuzz(func(t *testing.T, content []byte, key, condition string) {
		_ = fuzztest.Read(t, len(content)+len(key)+len(condition), 256, func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					var isError bool
					if err, isError = p.(error); !isError || errors.As(err, new(runtime.Error)) {
						panic(p)
					}
					err = nil // keys and conditions are those of the templates
				}
			}()
			s := newStore(fstest.MapFS{"figures/x.json": {Data: content}})
			for _, r := range s.rows("x.json", condition) {
				r.Text(key)
				r.list(key)
				r.Num(key)
			}
			return nil
		})
	})
}
