package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/data/imagefile"
)

// openFolder lists a folder of pictures, or of a subfolder for each class.
func openFolder(dir string) (*Set, error) {
	files, classes, err := List(dir)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 && len(classes) > 0 {
		return nil, fmt.Errorf("data: %s has images, such as %s, beside subfolders, such as %s: "+
			"move all images to subfolders, one for each class, or none", dir, files[0], classes[0])
	}
	s := &Set{classes: classes}
	add := func(dir string, files []string, class int) error {
		if len(files) == 0 {
			return fmt.Errorf("data: %s has no PNG, JPEG or WebP images: add some, or remove it", dir)
		}
		for _, name := range files {
			s.add(file{path: filepath.Join(dir, name), class: int32(class)})
		}
		return nil
	}
	if len(classes) == 0 {
		return s, add(dir, files, 0)
	}
	for class, name := range classes {
		path := filepath.Join(dir, name)
		files, deeper, err := List(path)
		if err != nil {
			return nil, err
		}
		if len(deeper) > 0 {
			return nil, fmt.Errorf("data: %s is a subfolder of a class: move its images to %s, or name that folder",
				filepath.Join(path, deeper[0]), path)
		}
		if err := add(path, files, class); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// List returns the names of the pictures and of the subfolders of a folder, sorted, without hidden
// ones. Pictures in formats that are not read are among them.
func List(dir string) (pictures, folders []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, failed(dir, err)
	}
	known := append(imagefile.Extensions(), otherPictures()...)
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, "."):
		case entry.IsDir() || !entry.Type().IsRegular() && isFolder(filepath.Join(dir, name)):
			folders = append(folders, name)
		case slices.Contains(known, strings.ToLower(filepath.Ext(name))):
			pictures = append(pictures, name)
		}
	}
	return pictures, folders, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
