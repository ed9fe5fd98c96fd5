package data

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mnistFS has the embedded digits. mnist/README.md names their source and license.
//
//go:embed mnist/*.gz
var mnistFS embed.FS

// mnistClasses is the number of classes of MNIST and of data sets in the same form.
const mnistClasses = 10

// MNIST returns the 10,000 embedded digits, 9,000 for training and 1,000 held out: real digits of
// MNIST, 28x28 pixels with one channel, with labels 0 to 9. [MNISTFiles] and [LoadMNIST] give the
// full set of 60,000 + 10,000.
func MNIST() (train, heldOut *Images, err error) {
	return loadMNIST(mnistFS, "mnist", func(name string) string { return name })
}

// LoadMNIST loads a training set and a held-out set from the four files of MNIST in dir,
// {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte, each with or without the
// suffix .gz. It also loads data sets in the same form, such as Fashion-MNIST from the folder
// /usr/share/datasets/fashion-mnist of Debian's dataset-fashion-mnist. It returns an error as
// [ReadPair] does, if a label is not below ten, or if the image sizes of the two sets differ.
func LoadMNIST(dir string) (train, heldOut *Images, err error) {
	display := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	return loadMNIST(os.DirFS(dir), ".", display)
}

// isMNIST reports whether a folder has one of the files of [LoadMNIST].
func isMNIST(path string) bool {
	found, _ := fs.Glob(os.DirFS(path), "*-idx[13]-ubyte*") // fails for a bad pattern alone
	return len(found) > 0
}

// loadMNIST loads the four files in the folder root of fsys. Errors name a file by display(name).
func loadMNIST(fsys fs.FS, root string, display func(string) string) (train, heldOut *Images, err error) {
	load := func(set string) (*Images, error) {
		images, err := findIDX(fsys, path.Join(root, set+"-images-idx3-ubyte"), display)
		if err != nil {
			return nil, err
		}
		labels, err := findIDX(fsys, path.Join(root, set+"-labels-idx1-ubyte"), display)
		if err != nil {
			return nil, err
		}
		m, err := readPair(images, labels)
		if err != nil {
			return nil, err
		}
		if err := checkLabels(m.Labels, mnistClasses); err != nil {
			return nil, labels.fail(err)
		}
		return m, nil
	}
	if train, err = load("train"); err != nil {
		return nil, nil, err
	}
	if heldOut, err = load("t10k"); err != nil {
		return nil, nil, err
	}
	if train.Height != heldOut.Height || train.Width != heldOut.Width {
		return nil, nil, fmt.Errorf("data: %s: training images of %dx%d pixels but held-out images of %dx%d",
			display(root), train.Height, train.Width, heldOut.Height, heldOut.Width)
	}
	return train, heldOut, nil
}

// findIDX returns the file name.gz of fsys, or name if absent.
func findIDX(fsys fs.FS, name string, display func(string) string) (source, error) {
	for _, n := range []string{name + ".gz", name} {
		switch _, err := fs.Stat(fsys, n); {
		case err == nil:
			return source{display(n), func() (io.ReadCloser, error) { return fsys.Open(n) }}, nil
		case !errors.Is(err, fs.ErrNotExist):
			return source{}, source{name: display(n)}.fail(err)
		}
	}
	return source{}, fmt.Errorf("data: neither %s.gz nor %s found: %w", display(name), path.Base(name), fs.ErrNotExist)
}

// MNISTMirrors returns the base URLs of public mirrors of MNIST, in the order in which to try them.
func MNISTMirrors() []string {
	return []string{
		"https://ossci-datasets.s3.amazonaws.com/mnist/",
		"https://storage.googleapis.com/cvdf-datasets/mnist/",
	}
}

// MNISTFiles returns the four files of the full MNIST, 60,000 + 10,000 digits in 11.6 MB, at the
// given base URLs, with or without a slash at the end, or, without any, at [MNISTMirrors].
// [Fetcher] downloads and [LoadMNIST] loads them.
func MNISTFiles(mirrors ...string) []File {
	if len(mirrors) == 0 {
		mirrors = MNISTMirrors()
	}
	// Sizes and checksums as published by TensorFlow Datasets and others.
	files := []File{
		{Name: "train-images-idx3-ubyte.gz", Size: 9912422,
			SHA256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
		{Name: "train-labels-idx1-ubyte.gz", Size: 28881,
			SHA256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
		{Name: "t10k-images-idx3-ubyte.gz", Size: 1648877,
			SHA256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
		{Name: "t10k-labels-idx1-ubyte.gz", Size: 4542,
			SHA256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
	}
	for i := range files {
		for _, base := range mirrors {
			files[i].URLs = append(files[i].URLs, strings.TrimSuffix(base, "/")+"/"+files[i].Name)
		}
	}
	return files
}

// DefaultDir returns the default folder for downloads: gomfm in the user's cache folder
// ([os.UserCacheDir]: $XDG_CACHE_HOME or ~/.cache on Linux). It does not create the folder. It
// returns an error if the environment defines neither.
func DefaultDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("data: no cache folder, choose a folder: %w", err)
	}
	return filepath.Join(cache, "gomfm"), nil
}
