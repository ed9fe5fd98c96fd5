package stream

import (
	"archive/tar"
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// one returns a PNG of one color.
func one(t testing.TB, height, width int, level uint8) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{level, uint8(x), uint8(y), 255})
		}
	}
	var raw bytes.Buffer
	if err := png.Encode(&raw, img); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

// write writes a file, whose folder it makes.
func write(t testing.TB, content []byte, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	err := os.MkdirAll(filepath.Dir(name), 0o777)
	if err == nil {
		err = os.WriteFile(name, content, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// member is a member of a tar file.
type member struct {
	name    string
	content []byte
}

// archive returns a tar file.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: 0o666})
		if err == nil {
			_, err = w.Write(m.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func open(t testing.TB, path ...string) *Set {
	t.Helper()
	s, err := Open(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
