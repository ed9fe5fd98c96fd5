package stream

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
)

// FuzzTar checks that any input gives an error, or members that lie within the file and whose
// labels are in range.
func FuzzTar(f *testing.F) {
	good := archive(f, member{"a/b.png", []byte("x")}, member{"a/b.cls", []byte("7")}, member{"c.x.JPG", nil},
		member{strings.Repeat("long/", 30) + "d.webp", make([]byte, 600)})
	f.Add(good)
	f.Add(good[:700])
	f.Add(good[:2048])
	f.Add(bytes.Replace(good, []byte("a/b.png"), []byte("a\nb.png"), 1))
	f.Add(archive(f, member{"b.cls", []byte("-1")}))
	f.Add(archive(f, member{"b.cls", []byte("1")}))
	f.Add(archive(f, member{"b.png", nil}, member{"b.jpg", nil}))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, labels := &Set{}, 0
		err := fuzztest.Read(t, len(content), 64, func() (err error) {
			labels, err = s.addTar("x.tar", bytes.NewReader(content))
			return err
		})
		if err != nil {
			return
		}
		if labels > s.Len() {
			t.Errorf("%d labels of %d pictures", labels, s.Len())
		}
		for i, m := range s.files {
			if m.offset < 512 || m.size < 0 || m.offset+m.size > int64(len(content)) || m.class < 0 || m.class > MaxLabel {
				t.Errorf("member %+v of a file of %d bytes", m, len(content))
			}
			if strings.ContainsAny(s.Name(i), "\r\n") {
				t.Errorf("the name %q has more than one line", s.Name(i))
			}
		}
	})
}

// FuzzCSV checks that any input gives an error, or paths with labels in range.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"path\na.png\n", "path,label\na,0\nb,65535\n", "\ufeffclass,path\nb,x\na,y\n", "path,class\n\"a\n\",\"b\"\"\"\n",
		"path,label\na,-1\n", "path,label\na\n", "\"", "path,label,class\n", "path,label\n,1\n", "", "path\n\x00\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var s *Set
		err := fuzztest.Read(t, len(content), 256, func() (err error) {
			s, err = readCSV(bytes.NewReader(content), "dir")
			return err
		})
		if err != nil {
			return
		}
		for i, m := range s.files {
			if m.class < 0 || s.classes != nil && int(m.class) >= len(s.classes) {
				t.Errorf("class %d of %d", m.class, len(s.classes))
			}
			if strings.ContainsAny(s.Name(i), "\r\n") {
				t.Errorf("the name %q has more than one line", s.Name(i))
			}
		}
	})
}
