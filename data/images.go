package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gomfm/gomfm/data/stream"
)

// Images is a set of N images of Height x Width pixels with one byte per channel, and their classes
// if known. Methods that select images return a new value; no method changes the receiver.
//
// A value must satisfy [Images.Validate]; those that this package returns do.
type Images struct {
	N, Height, Width, Channels int
	Pixels                     []byte  // [N, Height, Width, Channels], row-major, 0 to 255
	Labels                     []int32 // [N], 0 or more, or nil if unlabeled
	// Names are those of the classes in the order of their labels, such as folders, or nil.
	Names []string
	// Bad are the files that [Load] left out of the training and held-out images, on the former.
	Bad []*stream.BadFile
}

// Validate returns an error if a dimension is not positive, or if the number of pixels or labels
// does not match the dimensions, or names that do not match the labels.
func (m *Images) Validate() error {
	if m.N < 1 || m.Height < 1 || m.Width < 1 || m.Channels < 1 {
		return fmt.Errorf("data: images of shape %v: every dimension must be positive", m.shape())
	}
	// Divide one at a time: the product of four dimensions can overflow.
	rest := len(m.Pixels)
	for _, d := range m.shape() {
		if rest%d != 0 {
			return fmt.Errorf("data: images of shape %v with %d pixels", m.shape(), len(m.Pixels))
		}
		rest /= d
	}
	if rest != 1 {
		return fmt.Errorf("data: images of shape %v with %d pixels", m.shape(), len(m.Pixels))
	}
	if m.Labels != nil && len(m.Labels) != m.N {
		return fmt.Errorf("data: %d images with %d labels", m.N, len(m.Labels))
	}
	if n := m.Classes(); m.Names != nil && n > len(m.Names) {
		return fmt.Errorf("data: images of %d classes with %d names", n, len(m.Names))
	}
	return nil
}

func (m *Images) shape() []int { return []int{m.N, m.Height, m.Width, m.Channels} }

// Dim returns Height·Width·Channels, the number of values of one image.
func (m *Images) Dim() int { return m.Height * m.Width * m.Channels }

// Slice returns images i to j-1 with memory shared with m. It fails unless 0 <= i < j <= N.
func (m *Images) Slice(i, j int) (*Images, error) {
	if i < 0 || j > m.N || i >= j {
		return nil, fmt.Errorf("data: slice [%d:%d] of %d images: want 0 <= i < j <= %d", i, j, m.N, m.N)
	}
	part, d := *m, m.Dim()
	part.N = j - i
	part.Pixels = m.Pixels[i*d : j*d : j*d]
	if m.Labels != nil {
		part.Labels = m.Labels[i:j:j]
	}
	return &part, nil
}

// Split returns the first n images and the rest, as slices of m. It fails unless 0 < n < N.
func (m *Images) Split(n int) (first, rest *Images, err error) {
	if n <= 0 || n >= m.N {
		return nil, nil, fmt.Errorf("data: split of %d images at %d: want 0 < n < %d", m.N, n, m.N)
	}
	if first, err = m.Slice(0, n); err != nil {
		return nil, nil, err
	}
	rest, err = m.Slice(n, m.N)
	return first, rest, err
}

// Subset returns copies of the images at the given indices, in their order and with repetitions. It
// returns an error if there are no indices or one is outside [0, N).
func (m *Images) Subset(indices []int) (*Images, error) {
	if len(indices) == 0 {
		return nil, fmt.Errorf("data: subset of %d images without indices", m.N)
	}
	part, d := *m, m.Dim()
	part.N = len(indices)
	part.Pixels = make([]byte, 0, len(indices)*d)
	part.Labels = nil
	for _, i := range indices {
		if i < 0 || i >= m.N {
			return nil, fmt.Errorf("data: subset of %d images: index %d is outside [0, %d)", m.N, i, m.N)
		}
		part.Pixels = append(part.Pixels, m.Pixels[i*d:(i+1)*d]...)
		if m.Labels != nil {
			part.Labels = append(part.Labels, m.Labels[i])
		}
	}
	return &part, nil
}

// Shuffle returns a copy of m in a random order.
func (m *Images) Shuffle(rng *rand.Rand) *Images {
	part := *m
	part.Pixels, part.Labels = slices.Clone(m.Pixels), slices.Clone(m.Labels)
	d, tmp := m.Dim(), make([]byte, m.Dim())
	rng.Shuffle(m.N, func(i, j int) {
		a, b := part.Pixels[i*d:(i+1)*d], part.Pixels[j*d:(j+1)*d]
		copy(tmp, a)
		copy(a, b)
		copy(b, tmp)
		if part.Labels != nil {
			part.Labels[i], part.Labels[j] = part.Labels[j], part.Labels[i]
		}
	})
	return &part
}

// Moved returns a copy with each image moved by a random whole number of pixels, at most most along
// each axis. Pixels that enter repeat the edge; pixels that leave are lost.
func (m *Images) Moved(rng *rand.Rand, most int) *Images {
	out := *m
	out.Pixels, out.Labels = make([]byte, len(m.Pixels)), slices.Clone(m.Labels)
	row := m.Width * m.Channels
	for i := range m.N {
		down, right := rng.IntN(2*most+1)-most, rng.IntN(2*most+1)-most
		for y := range m.Height {
			from := min(max(y-down, 0), m.Height-1)
			src, dst := m.Pixels[(i*m.Height+from)*row:][:row], out.Pixels[(i*m.Height+y)*row:][:row]
			for x := range m.Width {
				at := min(max(x-right, 0), m.Width-1) * m.Channels
				copy(dst[x*m.Channels:][:m.Channels], src[at:])
			}
		}
	}
	return &out
}

// Classes returns 1 + the largest label, the number of classes in use, or 0 without labels.
func (m *Images) Classes() int {
	if len(m.Labels) == 0 {
		return 0
	}
	return 1 + int(slices.Max(m.Labels))
}

// ClassCounts returns the number of images of each class, [classes]. It returns an error if a label
// is not below classes.
func (m *Images) ClassCounts(classes int) ([]int, error) {
	if classes < 0 {
		return nil, fmt.Errorf("data: %d classes: must not be negative", classes)
	}
	if err := checkLabels(m.Labels, classes); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	counts := make([]int, classes)
	for _, c := range m.Labels {
		counts[c]++
	}
	return counts, nil
}

// Hash returns the SHA-256 of shape, pixels and labels in hexadecimal digits, which identifies the
// content of a data set wherever it is stored.
func (m *Images) Hash() string {
	h := sha256.New()
	fmt.Fprintln(h, m.shape())
	h.Write(m.Pixels)
	binary.Write(h, binary.LittleEndian, m.Labels) // a hash does not fail
	return hex.EncodeToString(h.Sum(nil))
}

// checkLabels returns an error for the first label outside [0, classes).
func checkLabels(labels []int32, classes int) error {
	for i, c := range labels {
		if c < 0 || int(c) >= classes {
			return fmt.Errorf("label %d of %d is %d, want 0 to %d", i, len(labels), c, classes-1)
		}
	}
	return nil
}
