package data

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gomfm/gomfm/data/imagefile"
	"github.com/gomfm/gomfm/data/stream"
)

// Location says where a data set is and how it is read.
type Location struct {
	// Path is a folder or a file in one of [Formats]. Empty means the digits of [MNIST].
	Path string
	// Labels is a .npy file with the labels of a .npy file of images. Empty means no labels.
	Labels string
	// Height and Width are the size of the images after a center crop and resizing. Zero means the
	// size that they have.
	Height, Width int
	// Skip is the number of picture files that may be bad and are left out, see [stream.BadFile].
	// One more is an error.
	Skip int
}

// Format is a form of a data set that [Load] reads.
type Format struct {
	// Name describes the form, such as "a folder of PNG or JPEG images".
	Name string
	// Accepts reports whether the file or folder at path, which exists, has this form.
	Accepts func(path string) bool
	// Labels and Pictures report whether Load follows these parts of a location, the latter the
	// size and the number of files to skip; if not, they are empty.
	Labels, Pictures bool
	// Load reads the training images and the held-out images.
	Load func(l Location) (train, heldOut *Images, err error)
}

// Formats returns the forms of data sets in the order in which [Load] tries them.
func Formats() []Format {
	return []Format{
		{Name: "a .npy file of uint8 [n, h, w] or [n, h, w, c]", Accepts: isNPY, Labels: true, Load: loadNPY},
		{Name: "a folder of MNIST's four IDX files", Accepts: isMNIST,
			Load: func(l Location) (_, _ *Images, err error) { return LoadMNIST(l.Path) }},
		{Name: "a .csv file with a column \"path\" and at most one of \"label\" and \"class\"", Accepts: stream.IsCSV,
			Pictures: true, Load: loadPictures},
		{Name: "a .tar file or a folder of them (WebDataset)", Accepts: stream.IsTar,
			Pictures: true, Load: loadPictures},
		{Name: "a folder of PNG, JPEG or WebP images, with a subfolder for each class", Accepts: isFolder,
			Pictures: true, Load: loadPictures},
	}
}

// FormatNames returns the names of [Formats] in one line.
func FormatNames() string {
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, "; or ")
}

// Load returns the training images and the held-out images of a location. Of a data set without
// held-out images, a tenth, always the same at random, is held out. An error names the file, what
// is wrong with it, and what to do.
func Load(l Location) (train, heldOut *Images, err error) {
	format, err := formatOf(l)
	if err != nil {
		return nil, nil, err
	}
	return format.Load(l)
}

// formatOf returns the form of a location, or an error if a part of the location does not fit it.
func formatOf(l Location) (Format, error) {
	format := Format{
		Name: "the digits in the package", Load: func(Location) (_, _ *Images, err error) { return MNIST() },
	}
	if l.Path != "" {
		if _, err := os.Stat(l.Path); err != nil {
			return format, fmt.Errorf("%w: give %s", fileSource(l.Path).fail(err), FormatNames())
		}
		all := Formats()
		i := slices.IndexFunc(all, func(f Format) bool { return f.Accepts(l.Path) })
		if i < 0 {
			return format, fmt.Errorf("data: %s is not a data set: give %s", l.Path, FormatNames())
		}
		format = all[i]
	}
	if l.Labels != "" && !format.Labels {
		return format, fmt.Errorf("data: labels %s: only a .npy file takes labels, %q is %s: leave them out",
			l.Labels, l.Path, format.Name)
	}
	if l.Skip != 0 && !format.Pictures {
		return format, fmt.Errorf("data: skip %d: only picture files can be skipped, %q is %s: leave it out",
			l.Skip, l.Path, format.Name)
	}
	if l.Height != 0 && !format.Pictures {
		return format, fmt.Errorf("data: size %dx%d: only picture files are resized, %q is %s: leave it out",
			l.Height, l.Width, l.Path, format.Name)
	}
	return format, nil
}

// String returns the location as one text, which [ParseLocation] reads: the path, followed by
// "?labels=FILE&size=HxW&skip=N" if it has these parts.
func (l Location) String() string {
	parts := make(url.Values)
	if l.Labels != "" || partsStart(l.Path) >= 0 { // the path ends where the last parts begin
		parts.Set("labels", l.Labels)
	}
	if l.Height != 0 {
		parts.Set("size", fmt.Sprintf("%dx%d", l.Height, l.Width))
	}
	if l.Skip != 0 {
		parts.Set("skip", strconv.Itoa(l.Skip))
	}
	if len(parts) == 0 {
		return l.Path
	}
	return l.Path + "?" + parts.Encode()
}

// partsStart returns the index of the parts in the text of a location, -1 if there are none.
func partsStart(text string) int {
	return max(strings.LastIndex(text, "?labels="), strings.LastIndex(text, "?size="),
		strings.LastIndex(text, "?skip="))
}

// ParseLocation is the inverse of [Location.String]. Text after a question mark that is not such a
// part belongs to the path.
func ParseLocation(text string) (Location, error) {
	end := partsStart(text)
	if end < 0 {
		return Location{Path: text}, nil
	}
	parts, err := url.ParseQuery(text[end+1:])
	if err != nil {
		return Location{}, fmt.Errorf("data: location %q: %w", text, err)
	}
	l := Location{Path: text[:end], Labels: parts.Get("labels")}
	if size := parts.Get("size"); size != "" {
		if l.Height, l.Width, err = ParseSize(size); err != nil {
			return Location{}, err
		}
	}
	if skip := parts.Get("skip"); skip != "" {
		if l.Skip, err = strconv.Atoi(skip); err != nil || l.Skip < 0 {
			return Location{}, fmt.Errorf("data: location %q: skip %q: give a number from 0 on", text, skip)
		}
	}
	return l, nil
}

// ParseSize parses the size of an image in pixels: a height and a width, such as "24x32", or one
// number for both. Each must lie in [1, 16384].
func ParseSize(text string) (height, width int, err error) {
	first, second, two := strings.Cut(text, "x")
	if !two {
		second = first
	}
	height, err1 := strconv.Atoi(first)
	width, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil || min(height, width) < 1 || max(height, width) > imagefile.MaxSide {
		return 0, 0, fmt.Errorf("data: size %q: give a height and a width from 1 to %d, such as 24x32, "+
			"or one number for both", text, imagefile.MaxSide)
	}
	return height, width, nil
}

// holdOut splits off a tenth of the images of the data set called name, at least one, at random
// and always the same.
func holdOut(m *Images, name string) (train, heldOut *Images, err error) {
	if m.N < 2 {
		return nil, nil, fmt.Errorf("data: %s has one image: give at least two, one of which is held out", name)
	}
	first, rest := heldOutOf(m.N)
	if heldOut, err = m.Subset(first); err != nil {
		return nil, nil, err
	}
	train, err = m.Subset(rest)
	return train, heldOut, err
}

// heldOutOf returns the indices of a tenth of n images, at least one, at random and always the
// same, and those of the others.
func heldOutOf(n int) (heldOut, rest []int) {
	order, tenth := rand.New(rand.NewPCG(0, 0)).Perm(n), max(1, n/10)
	slices.Sort(order[:tenth])
	slices.Sort(order[tenth:])
	return order[:tenth], order[tenth:]
}
