// Package stream reads sets of pictures that are larger than the memory.
//
// [Open] lists a folder of pictures by class, a tar file or a folder of them in the form of
// WebDataset, or a CSV file of paths. The [Set] has the places of the pictures and the names of
// their classes; it reads a picture when it is needed. [Set.Inspect] reads all of them and reports
// sizes, classes and bad files. A [Loader] makes batches for training: cropped and resized, in a
// new random order in each epoch, flipped at random, decoded in parallel. [Order] is that order for
// other samples.
package stream

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gomfm/gomfm/data/imagefile"
)

// MaxLabel is the largest number of a class, so that a table of all classes is small.
const MaxLabel = 1<<16 - 1

// maxFile bounds the bytes of a picture file, which is read as a whole.
const maxFile = 1 << 28

// Set is a list of picture files and their classes. Its methods may be called at the same time.
type Set struct {
	root    string // folder of the set, which its hash does not depend on
	files   []file
	classes []string
}

// file is the place of a picture: a file, or bytes of a tar file.
type file struct {
	path         string
	member       string // of a tar file, else empty
	offset, size int64  // of a member
	class        int32
}

// BadFile is the error of a file that is no usable picture: missing, damaged, or of a form that
// [imagefile.Decode] refuses.
type BadFile struct {
	// File is the path, for a member of a tar file that of the tar file, a colon and its name.
	File string `json:"file"`
	// Reason is what is wrong and what to do, such as "is empty: replace or remove it".
	Reason string `json:"reason"`
}

func (b *BadFile) Error() string { return "data: " + b.File + " " + b.Reason }

// Open lists the pictures of a data set in one of the forms
//
//   - a folder of PNG, JPEG or WebP files, or of a subfolder of them for each class, numbered from
//     0 in the order of their names; hidden files and files of other kinds are not read;
//   - a .tar file, or a folder of them, as of WebDataset ([IsTar]);
//   - a .csv file of paths ([IsCSV]).
//
// An error names the file, what is wrong, and what to do. Whether the pictures can be read shows
// when they are.
func Open(path string) (*Set, error) {
	s, err := list(path)
	if err != nil {
		return nil, err
	}
	if s.root = path; !isFolder(path) {
		s.root = filepath.Dir(path)
	}
	return s, nil
}

func list(path string) (*Set, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, failed(path, err)
	case IsCSV(path):
		return openCSV(path)
	case IsTar(path):
		return openTars(path)
	case info.IsDir():
		return openFolder(path)
	}
	return nil, fmt.Errorf("data: %s is no set of pictures: give a folder of PNG, JPEG or WebP images, "+
		"of .tar files, a .tar file, or a .csv file of paths", path)
}

// Len returns the number of files.
func (s *Set) Len() int { return len(s.files) }

// Classes returns the names of the classes, by number, or nil without labels.
func (s *Set) Classes() []string { return s.classes }

// Class returns the number of the class of file i, 0 without labels.
func (s *Set) Class(i int) int32 { return s.files[i].class }

// Name returns the name of file i for messages, see [BadFile].
func (s *Set) Name(i int) string {
	name := s.files[i].path
	if s.files[i].member != "" {
		name += ": " + s.files[i].member
	}
	return printable(name)
}

// Picture reads and decodes file i, see [imagefile.Decode]. It returns a [*BadFile] if this is
// not possible, and another error if the file exists but cannot be read, which may pass.
func (s *Set) Picture(i int) (*image.RGBA, error) {
	if ext := strings.ToLower(filepath.Ext(s.files[i].path)); slices.Contains(otherPictures(), ext) {
		return nil, &BadFile{
			s.Name(i), "has the type " + ext + ", which cannot be read: convert it to PNG, JPEG or WebP",
		}
	}
	content, err := s.files[i].read()
	if _, ok := errors.AsType[*fs.PathError](err); ok && !errors.Is(err, fs.ErrNotExist) {
		return nil, failed(s.Name(i), err)
	}
	var img *image.RGBA
	if err == nil {
		img, err = imagefile.Decode(content)
	}
	if err != nil {
		return nil, &BadFile{s.Name(i), printable(err.Error())}
	}
	return img, nil
}

// read returns the content of a file.
func (f file) read() ([]byte, error) {
	info, err := os.Stat(f.path) // before opening, which waits for the writer of a pipe
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("does not exist: correct its path")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file: replace or remove it")
	}
	size := f.size
	if f.member == "" {
		size = info.Size()
	}
	if size > maxFile {
		return nil, fmt.Errorf("has %d bytes, more than %d: make it smaller", size, maxFile)
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content := make([]byte, size)
	if n, err := r.ReadAt(content, f.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if int64(n) < size {
		return nil, fmt.Errorf("ends after %d of %d bytes: it changed while it was read", n, size)
	}
	return content, nil
}

// add appends a file.
func (s *Set) add(f file) { s.files = append(s.files, f) }

// number names the classes by their numbers, from 0 to the largest label.
func (s *Set) number() {
	most := int32(0)
	for _, f := range s.files {
		most = max(most, f.class)
	}
	s.classes = make([]string, most+1)
	for k := range s.classes {
		s.classes[k] = strconv.Itoa(k)
	}
}

// parseLabel returns the number of a class.
func parseLabel(text string) (int32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil || n > MaxLabel {
		return 0, fmt.Errorf("label %q: number the classes from 0 to at most %d", text, MaxLabel)
	}
	return int32(n), nil
}

// otherPictures are the endings of the names of pictures in formats that are not read.
func otherPictures() []string {
	return []string{".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif", ".jxl", ".jp2"}
}

// printable returns a name or a message as it is, or quoted if it is not one line of text.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// failed adds the full name of a file to an error, instead of the name that errors of os have.
func failed(name string, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("data: %s: %w", name, err)
}
