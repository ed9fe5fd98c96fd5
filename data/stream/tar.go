package stream

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/data/imagefile"
)

// IsTar reports whether path is a .tar file, or a folder of them without pictures and subfolders,
// in the form of WebDataset. A sample is the consecutive members KEY.EXTENSION of one key, which
// ends at the first dot of the base name: a picture, and the number of its class in KEY.cls.
// Members of other extensions are not read. A file classnames.txt in the folder, with a line for
// each class, names the classes; otherwise their numbers do.
//
// The files are read in the order of their names. They must not be compressed, so that every
// picture can be read without those before it.
func IsTar(path string) bool {
	shards, err := shardsOf(path)
	return err == nil && len(shards) > 0
}

// classNames is the name of the file with the names of classes beside tar files.
const classNames = "classnames.txt"

// maxNames bounds the bytes of the names of classes.
const maxNames = 4 << 20

// shardsOf returns the tar files at a path, including compressed ones. A folder that has pictures
// or subfolders too is none of tar files.
func shardsOf(path string) ([]string, error) {
	if !isFolder(path) {
		if isShard(path) {
			return []string{path}, nil
		}
		return nil, nil
	}
	pictures, folders, err := List(path)
	if err != nil || len(pictures)+len(folders) > 0 {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, failed(path, err)
	}
	var shards []string
	for _, entry := range entries {
		if name := entry.Name(); isShard(name) && !strings.HasPrefix(name, ".") {
			shards = append(shards, filepath.Join(path, name))
		}
	}
	return shards, nil
}

func isShard(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// openTars lists the pictures of the tar files at a path.
func openTars(path string) (*Set, error) {
	shards, err := shardsOf(path)
	if err != nil {
		return nil, err
	}
	s, labels := &Set{}, 0
	for _, shard := range shards {
		if !strings.HasSuffix(strings.ToLower(shard), ".tar") {
			return nil, fmt.Errorf("data: %s is compressed, so that no picture can be read alone: decompress it", shard)
		}
		f, err := os.Open(shard)
		if err != nil {
			return nil, failed(shard, err)
		}
		n, err := s.addTar(shard, f)
		f.Close()
		if err != nil {
			return nil, failed(shard, err)
		}
		labels += n
	}
	if s.Len() == 0 {
		return nil, fmt.Errorf("data: %s has no PNG, JPEG or WebP images in its .tar files: add some", path)
	}
	if labels == 0 {
		return s, nil
	}
	if labels < s.Len() {
		return nil, fmt.Errorf("data: %s has %d labels for %d images: give each KEY.jpg a KEY.cls, or none",
			path, labels, s.Len())
	}
	s.number()
	if !isFolder(path) {
		path = filepath.Dir(path)
	}
	return s, s.readNames(filepath.Join(path, classNames))
}

// readNames reads the names of the classes, if there is a file of them.
func (s *Set) readNames(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNames))
	if err != nil {
		return failed(path, err)
	}
	names := strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	if len(names) < len(s.classes) || len(names) > MaxLabel+1 {
		return fmt.Errorf("data: %s has %d lines, but the labels go up to %d: give a line for each class, at most %d",
			path, len(names), len(s.classes)-1, MaxLabel+1)
	}
	s.classes = names
	return nil
}

// addTar appends the pictures of a tar file, and returns the number of those that have a label. The
// reader must not have been read yet.
func (s *Set) addTar(name string, r io.ReadSeeker) (labels int, err error) {
	var key string
	var picture *file
	label := int32(-1)
	end := func() error {
		switch {
		case picture == nil && label >= 0:
			return fmt.Errorf("%s.cls has no picture beside it: put one before or after it", printable(key))
		case picture == nil:
			return nil
		case label >= 0:
			picture.class = label
			labels++
		}
		s.add(*picture)
		picture, label = nil, -1
		return nil
	}
	archive := tar.NewReader(r)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return labels, end()
		}
		if err != nil {
			return 0, fmt.Errorf("is no tar file, or damaged: %w: replace it", err)
		}
		dir, base := path.Split(head.Name)
		stem, extension, _ := strings.Cut(base, ".")
		extension = strings.ToLower(extension)
		if head.Typeflag != tar.TypeReg && head.Typeflag != tar.TypeGNUSparse || strings.HasPrefix(base, ".") {
			continue
		}
		if dir+stem != key {
			if err := end(); err != nil {
				return 0, err
			}
			key = dir + stem
		}
		switch ending := path.Ext("." + extension); {
		case extension == "cls":
			if label, err = readLabel(archive); err != nil {
				return 0, fmt.Errorf("%s: %w", printable(head.Name), err)
			}
		case slices.Contains(imagefile.Extensions(), ending) && picture != nil:
			return 0, fmt.Errorf("%s and %s have one key: give a sample one picture",
				printable(picture.member), printable(head.Name))
		case slices.Contains(imagefile.Extensions(), ending):
			if sparse(head) {
				return 0, fmt.Errorf("%s is stored as a sparse file: create the tar file without --sparse",
					printable(head.Name))
			}
			at, err := r.Seek(0, io.SeekCurrent) // tar reads headers alone, in whole blocks
			if err != nil {
				return 0, err
			}
			picture = &file{path: name, member: head.Name, offset: at, size: head.Size}
		}
	}
}

// sparse reports whether the content of a member is stored without its holes.
func sparse(head *tar.Header) bool {
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return head.Typeflag == tar.TypeGNUSparse
}

// readLabel reads the number of a class in the member of a tar file.
func readLabel(r io.Reader) (int32, error) {
	text, err := io.ReadAll(io.LimitReader(r, 32))
	if err != nil {
		return 0, err
	}
	return parseLabel(string(bytes.TrimSpace(text)))
}
