package stream

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The same pictures have the same classes and pixels in all forms.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	var shards [2][]member
	paths, labels := "\ufeffname,path,class\n", "path,label\r\n"
	for i := range 6 {
		content, class := one(t, 2, 3, uint8(i)), []string{"dog", "cat"}[i%2]
		write(t, content, dir, "folder", class, fmt.Sprintf("%d.PNG", i))
		long := fmt.Sprintf("part/%0120d", i) // too long for the name in a header
		label := member{long + ".cls", []byte(fmt.Sprintf("%d\n", 1-i%2))}
		picture := member{long + ".x.png", content}
		more := member{long + ".json", []byte("{}")}
		if i == 3 {
			label, picture = picture, label
		}
		shards[i/4] = append(shards[i/4], more, label, picture)
		paths += fmt.Sprintf("x,folder/%s/%d.PNG,%[1]s\n", class, i)
		labels += fmt.Sprintf("%s,%d\r\n", filepath.Join(dir, "folder", class, fmt.Sprintf("%d.PNG", i)), 1-i%2)
	}
	write(t, nil, dir, "folder", "cat", "notes.txt")
	write(t, nil, dir, "folder", ".hidden.png")
	write(t, nil, dir, "folder", "download.tar")
	write(t, archive(t, append(shards[0], member{"README", nil}, member{"._0.png", nil})...), dir, "tars", "0.tar")
	write(t, archive(t, shards[1]...), dir, "tars", "1.TAR")
	write(t, nil, dir, "tars", "notes.txt")
	write(t, archive(t, slices.Concat(shards[0], shards[1])...), dir, "named", "all.tar")
	write(t, []byte("cat\r\ndog\r\n\r\n"), dir, "named", "classnames.txt")
	write(t, []byte(paths), dir, "paths.csv")
	write(t, []byte(labels), dir, "labels.CSV")
	for name, classes := range map[string][]string{
		"folder": {"cat", "dog"}, "tars": {"0", "1"}, "named": {"cat", "dog"}, "named/all.tar": {"cat", "dog"},
		"paths.csv": {"cat", "dog"}, "labels.CSV": {"0", "1"},
	} {
		s := open(t, dir, name)
		if s.Len() != 6 || !slices.Equal(s.Classes(), classes) {
			t.Errorf("%s: %d pictures of %q, want 6 of %q", name, s.Len(), s.Classes(), classes)
			continue
		}
		seen := make(map[uint8]bool)
		for i := range s.Len() {
			img, err := s.Picture(i)
			if err != nil {
				t.Fatal(err)
			}
			level := img.Pix[0]
			seen[level] = true
			if img.Rect.Dx() != 3 || img.Rect.Dy() != 2 || s.Class(i) != int32(1-level%2) {
				t.Errorf("%s: picture %d has class %d, size %v", name, level, s.Class(i), img.Rect.Size())
			}
		}
		if len(seen) != 6 {
			t.Errorf("%s: pictures %v", name, seen)
		}
	}
}

// Without labels there are no classes.
func TestOpenWithoutLabels(t *testing.T) {
	dir := t.TempDir()
	write(t, one(t, 1, 1, 7), dir, "folder", "a.png")
	write(t, archive(t, member{"a.png", one(t, 1, 1, 7)}), dir, "a.tar")
	write(t, []byte("path\nfolder/a.png\n"), dir, "a.csv")
	for _, name := range []string{"folder", "a.tar", "a.csv"} {
		s := open(t, dir, name)
		if img, err := s.Picture(0); s.Classes() != nil || s.Len() != 1 || err != nil || img.Pix[0] != 7 {
			t.Errorf("%s: classes %q, %d pictures, error %v", name, s.Classes(), s.Len(), err)
		}
	}
}

// A data set of a form that cannot be read is an error with the name of the file, what is wrong,
// and what to do.
func TestOpenRejects(t *testing.T) {
	dir := t.TempDir()
	picture := one(t, 2, 2, 1)
	file := func(name string, content []byte) string { return write(t, content, dir, name) }
	tarred := func(name string, members ...member) string { return file(name, archive(t, members...)) }
	good := archive(t, member{"a.png", picture})
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	w.Write(good)
	w.Close()
	tarred("names/a.tar", member{"a.png", picture}, member{"a.cls", []byte("3")})
	file("names/classnames.txt", []byte("cat\ndog\n"))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, want string }{
		"nothing there":      {filepath.Join(dir, "none"), "none: no such file"},
		"another file":       {file("a.txt", nil), "a.txt is no set of pictures: give a folder"},
		"empty folder":       {filepath.Join(dir, "empty"), "empty has no PNG, JPEG or WebP images: add some"},
		"compressed":         {file("a.tar.gz", small.Bytes()), "a.tar.gz is compressed"},
		"no tar":             {file("text.tar", []byte(strings.Repeat("text ", 200))), "text.tar: is no tar file, or damaged"},
		"truncated tar":      {file("cut.tar", good[:530]), "cut.tar: is no tar file, or damaged: unexpected EOF"},
		"tar of nothing":     {tarred("none.tar", member{"a.txt", nil}), "none.tar has no PNG, JPEG or WebP images in"},
		"label alone":        {tarred("alone.tar", member{"a.cls", []byte("1")}, member{"b.png", picture}), "alone.tar: a.cls has no picture"},
		"two pictures":       {tarred("two.tar", member{"a.png", picture}, member{"a.jpg", picture}), "a.png and a.jpg have one key"},
		"some labels":        {tarred("some.tar", member{"a.png", picture}, member{"a.cls", []byte("1")}, member{"b.png", picture}), "1 labels for 2 images"},
		"label of text":      {tarred("l1.tar", member{"a.cls", []byte("dog")}), `a.cls: label "dog": number the classes from 0`},
		"large label":        {tarred("l2.tar", member{"a.cls", []byte("65536")}), `label "65536"`},
		"too few names":      {filepath.Join(dir, "names"), "classnames.txt has 2 lines, but the labels go up to 3"},
		"empty CSV":          {file("empty.csv", nil), "empty.csv: is empty: give a line"},
		"CSV of columns":     {file("head.csv", []byte("path,label\n")), "head.csv: has no line below its columns"},
		"CSV without paths":  {file("nopath.csv", []byte("file\na.png\n")), `nopath.csv: has the columns ["file"]`},
		"CSV of both":        {file("both.csv", []byte("path,label,class\na,0,b\n")), "keep one of them"},
		"CSV without a path": {file("blank.csv", []byte("path,label\na.png,0\n,0\n")), `line 3 has the path ""`},
		"CSV label":          {file("label.csv", []byte("path,label\na.png,-1\n")), `line 2: label "-1"`},
		"CSV class":          {file("class.csv", []byte("path,class\na.png,\n")), `line 2: class ""`},
		"CSV of two lengths": {file("wide.csv", []byte("path,class\na.png\n")), "wide.csv: is no CSV file: record on line 2"},
	} {
		if s, err := Open(tc.path); err == nil || !strings.Contains(filepath.ToSlash(err.Error()), tc.want) {
			t.Errorf("%s: %v, error %v, want %q", name, s, err, tc.want)
		}
	}
}

// Bad files are named with a reason. Others that cannot be read are errors of another type.
func TestPictureRejects(t *testing.T) {
	dir := t.TempDir()
	write(t, nil, dir, "zero.png")
	write(t, []byte("no picture"), dir, "text.png")
	write(t, nil, dir, "moving.gif")
	write(t, one(t, 4, 4, 1)[:50], dir, "cut.png")
	write(t, archive(t, member{"a\n.png", []byte("text")}), dir, "a.tar")
	if err := os.Truncate(write(t, nil, dir, "sparse.png"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.png"), 0o666); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"zero.png": "is empty", "text.png": "is no PNG, JPEG or WebP image", "cut.png": "is no PNG image, or damaged",
		"moving.gif": "has the type .gif, which cannot be read: convert it", "sparse.png": "more than 268435456: make it smaller",
		"pipe.png": "is no file", "none.png": "does not exist", ".": "is no file",
	}
	lines := "path\n"
	for name := range want {
		lines += name + "\n"
	}
	s := open(t, write(t, []byte(lines), dir, "a.csv"))
	for i := range s.Len() {
		_, err := s.Picture(i)
		bad, ok := errors.AsType[*BadFile](err)
		name, _ := filepath.Rel(dir, s.Name(i))
		if !ok || bad.File != s.Name(i) || !strings.Contains(bad.Reason, want[name]) {
			t.Errorf("%s: error %v, want %q", s.Name(i), err, want[name])
		}
	}
	_, err := open(t, dir, "a.tar").Picture(0)
	if err == nil || !strings.Contains(err.Error(), `a.tar: a\n.png" is no PNG`) {
		t.Errorf("a member of a tar file: error %v", err)
	}
	loop := filepath.Join(dir, "loop.png")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, write(t, []byte("path\nloop.png\n"), dir, "b.csv")).Picture(0)
	if _, ok := errors.AsType[*BadFile](err); err == nil || ok || !strings.Contains(err.Error(), "loop.png: ") {
		t.Errorf("a file that cannot be read: error %v", err)
	}
}
