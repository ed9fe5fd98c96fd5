package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Images is a set of N images of Height x Width pixels with one byte a channel, and the class of each where it is
// known. Methods that take a part of it return a new value; they never change the receiver.
//
// A value made by hand must satisfy [Images.Validate]; those that this package returns do.
type Images struct {
	N, Height, Width, Channels int
	Pixels                     []byte // [N, Height, Width, Channels], row-major, 0 to 255
	Labels                     []byte // [N], or nil where the images have none
}

// Validate returns an error that says what is inconsistent: a dimension that is not positive, or a number of pixels or
// labels that is not what the dimensions ask for.
func (m *Images) Validate() error {
	if m.N < 1 || m.Height < 1 || m.Width < 1 || m.Channels < 1 {
		return fmt.Errorf("data: images of shape %v: every dimension must be positive", m.shape())
	}
	// One division at a time, since the product of four dimensions can overflow.
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
	return nil
}

func (m *Images) shape() []int { return []int{m.N, m.Height, m.Width, m.Channels} }

// Dim returns Height*Width*Channels, the number of values in one image.
func (m *Images) Dim() int { return m.Height * m.Width * m.Channels }

// Slice returns images i to j-1, 0 <= i < j <= N. They share their pixels and labels with m.
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

// Split returns the first n images and the others, 0 < n < N, as two slices of m.
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

// Subset returns copies of the images of the given indices, in their order; an index may come more than once. It fails
// where there are none, or one is outside [0, N).
func (m *Images) Subset(indices []int) (*Images, error) {
	if len(indices) == 0 {
		return nil, fmt.Errorf("data: subset of %d images without an index", m.N)
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

// Shuffle returns a copy of m in an order drawn from rng.
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

// Moved returns a copy with each image moved by a random whole number of pixels, at most most along each axis. Pixels that come in are 0, those that leave are lost.
func (m *Images) Moved(rng *rand.Rand, most int) *Images {
	out := &Images{N: m.N, Height: m.Height, Width: m.Width, Channels: m.Channels, Pixels: make([]byte, len(m.Pixels)), Labels: slices.Clone(m.Labels)}
	row := m.Width * m.Channels
	for i := range m.N {
		down, right := rng.IntN(2*most+1)-most, rng.IntN(2*most+1)-most
		for y := range m.Height {
			from := y - down
			if from < 0 || from >= m.Height {
				continue
			}
			src, dst := m.Pixels[(i*m.Height+from)*row:][:row], out.Pixels[(i*m.Height+y)*row:][:row]
			if by := min(max(right, -m.Width), m.Width) * m.Channels; by >= 0 {
				copy(dst[by:], src)
			} else {
				copy(dst, src[-by:])
			}
		}
	}
	return out
}

// Classes returns the number of classes that the labels need: 1 + the largest label, and 0 without labels.
func (m *Images) Classes() int {
	if len(m.Labels) == 0 {
		return 0
	}
	return 1 + int(slices.Max(m.Labels))
}

// ClassCounts returns how many images each of the given number of classes has, [classes]. A label that is not below
// classes is an error that says which it is.
func (m *Images) ClassCounts(classes int) ([]int, error) {
	if classes < 0 {
		return nil, fmt.Errorf("data: %d classes: want none or more", classes)
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

// checkLabels says which is the first label outside [0, classes).
func checkLabels(labels []byte, classes int) error {
	for i, c := range labels {
		if int(c) >= classes {
			return fmt.Errorf("label %d of %d is %d, want 0 to %d", i, len(labels), c, classes-1)
		}
	}
	return nil
}
