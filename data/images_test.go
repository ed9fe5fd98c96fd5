package data

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"
)

// sample returns n images of 2x3 pixels and 2 channels from rng, image i with label i mod 5.
func sample(n int, rng *rand.Rand) *Images {
	m := &Images{N: n, Height: 2, Width: 3, Channels: 2, Pixels: make([]byte, 12*n), Labels: make([]int32, n)}
	for i := range m.Pixels {
		m.Pixels[i] = byte(rng.UintN(256))
	}
	for i := range m.Labels {
		m.Labels[i] = int32(i % 5)
	}
	return m
}

func TestValidate(t *testing.T) {
	huge := 1 << (bits.UintSize / 2) // huge*huge overflows to 0
	for _, tc := range []struct {
		name string
		m    Images
		want string // empty: valid
	}{
		{"valid", Images{2, 1, 3, 1, make([]byte, 6), make([]int32, 2), nil, nil}, ""},
		{"no labels", Images{2, 1, 3, 1, make([]byte, 6), nil, nil, nil}, ""},
		{"zero value", Images{}, "positive"},
		{"negative", Images{2, -1, -3, 1, make([]byte, 6), nil, nil, nil}, "positive"},
		{"few pixels", Images{2, 1, 3, 1, make([]byte, 5), nil, nil, nil}, "5 pixels"},
		{"many pixels", Images{2, 1, 3, 1, make([]byte, 12), nil, nil, nil}, "12 pixels"},
		{"no pixels", Images{2, 1, 3, 1, nil, nil, nil, nil}, "0 pixels"},
		{"overflow to zero", Images{huge, huge, 1, 1, nil, nil, nil, nil}, "0 pixels"},
		{"labels", Images{2, 1, 3, 1, make([]byte, 6), make([]int32, 3), nil, nil}, "2 images with 3 labels"},
		{"names", Images{2, 1, 3, 1, make([]byte, 6), []int32{0, 1}, []string{"a"}, nil}, "2 classes with 1 names"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.m.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSliceSplitSubset(t *testing.T) {
	m := sample(7, rand.New(rand.NewPCG(1, 2)))
	part, err := m.Slice(2, 5)
	if err != nil {
		t.Fatal(err)
	}
	picked, err := m.Subset([]int{2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Images{"slice": part, "subset": picked} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.N != 3 || !bytes.Equal(p.Pixels, m.Pixels[24:60]) || !slices.Equal(p.Labels, []int32{2, 3, 4}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	// A slice shares its pixels but cannot grow into its neighbor's. A subset is a copy.
	_ = append(part.Pixels, 1)
	if &part.Pixels[0] != &m.Pixels[24] || cap(part.Pixels) != 36 || &picked.Pixels[0] == &m.Pixels[24] {
		t.Error("a slice must share memory and a subset must not")
	}

	first, rest, err := m.Split(3)
	if err != nil {
		t.Fatal(err)
	}
	if first.N != 3 || rest.N != 4 || !bytes.Equal(slices.Concat(first.Pixels, rest.Pixels), m.Pixels) ||
		!slices.Equal(slices.Concat(first.Labels, rest.Labels), m.Labels) {
		t.Errorf("split: %+v and %+v", first, rest)
	}

	m.Labels = nil
	if part, err := m.Slice(0, 1); err != nil || part.Labels != nil {
		t.Errorf("slice without labels: %+v, %v", part, err)
	}
	if picked, err := m.Subset([]int{6, 6}); err != nil || picked.Labels != nil || picked.N != 2 {
		t.Errorf("subset without labels: %+v, %v", picked, err)
	}
}

func TestPartsReject(t *testing.T) {
	m := sample(7, rand.New(rand.NewPCG(1, 2)))
	for name, err := range map[string]error{
		"slice [-1:3]": second(m.Slice(-1, 3)),
		"slice [3:8]":  second(m.Slice(3, 8)),
		"slice [3:3]":  second(m.Slice(3, 3)),
		"slice [5:3]":  second(m.Slice(5, 3)),
		"at 0":         third(m.Split(0)),
		"at 7":         third(m.Split(7)),
		"without ind":  second(m.Subset(nil)),
		"index 7":      second(m.Subset([]int{0, 7})),
		"index -1":     second(m.Subset([]int{-1})),
		"label 3 of 7": second(m.ClassCounts(3)),
		"-1 classes":   second(m.ClassCounts(-1)),
		"11 values":    second(m.Centered(make([]float32, 11))),
		"13 values":    second(m.Variance(make([]float32, 13))),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

func TestShuffle(t *testing.T) {
	m := sample(1000, rand.New(rand.NewPCG(1, 2)))
	for i := range m.N { // the first two pixels identify image i
		m.Pixels[12*i], m.Pixels[12*i+1] = byte(i>>8), byte(i)
	}
	before := slices.Clone(m.Pixels)
	s := m.Shuffle(rand.New(rand.NewPCG(3, 4)))
	again := m.Shuffle(rand.New(rand.NewPCG(3, 4)))
	if !bytes.Equal(m.Pixels, before) {
		t.Fatal("Shuffle changed the receiver")
	}
	if !bytes.Equal(s.Pixels, again.Pixels) || !slices.Equal(s.Labels, again.Labels) {
		t.Error("equal random sources give different orders")
	}
	seen, fixed := make([]bool, m.N), 0
	for i := range s.N {
		j := int(s.Pixels[12*i])<<8 | int(s.Pixels[12*i+1])
		seen[j] = true
		if !bytes.Equal(s.Pixels[12*i:12*i+12], m.Pixels[12*j:12*j+12]) || s.Labels[i] != m.Labels[j] {
			t.Fatalf("image %d, originally %d, has other pixels or another label", i, j)
		}
		if i == j {
			fixed++
		}
	}
	if slices.Contains(seen, false) {
		t.Error("an image is missing")
	}
	if fixed > 8 { // Poisson distribution with mean 1: P(> 8) = 1e-6
		t.Errorf("%d of %d images kept their position", fixed, m.N)
	}
}

func TestClassCounts(t *testing.T) {
	m := &Images{N: 5, Height: 1, Width: 1, Channels: 1, Pixels: make([]byte, 5), Labels: []int32{3, 0, 3, 3, 1}}
	if m.Classes() != 4 {
		t.Errorf("%d classes, want 4", m.Classes())
	}
	for classes, want := range map[int][]int{4: {1, 1, 0, 3}, 6: {1, 1, 0, 3, 0, 0}} {
		if got, err := m.ClassCounts(classes); err != nil || !slices.Equal(got, want) {
			t.Errorf("counts of %d classes: %v, %v, want %v", classes, got, err, want)
		}
	}
	m.Labels = nil
	if got, err := m.ClassCounts(2); err != nil || m.Classes() != 0 || !slices.Equal(got, []int{0, 0}) {
		t.Errorf("without labels: %v, %v", got, err)
	}
}

// The statistics agree with those of gonum, pixel by pixel.
func TestStatistics(t *testing.T) {
	m := sample(400, rand.New(rand.NewPCG(5, 6)))
	x, mean := m.Float32(), m.Mean()
	if x[0] != float32(float64(m.Pixels[0])/127.5-1) {
		t.Errorf("pixel %d is mapped to %g", m.Pixels[0], x[0])
	}
	centered, err := m.Centered(mean)
	if err != nil {
		t.Fatal(err)
	}
	variance, err := m.Variance(mean)
	if err != nil {
		t.Fatal(err)
	}
	d, total := m.Dim(), 0.0
	for j := range d {
		column := make([]float64, m.N)
		for i := range column {
			column[i] = float64(x[i*d+j])
			if got, want := centered[i*d+j], x[i*d+j]-mean[j]; got != want {
				t.Fatalf("centered [%d, %d] is %g, want %g", i, j, got, want)
			}
		}
		if want := stat.Mean(column, nil); math.Abs(float64(mean[j])-want) > 1e-6 {
			t.Errorf("mean %d is %g, want %g", j, mean[j], want)
		}
		total += stat.PopVariance(column, nil) / float64(d)
	}
	if math.Abs(variance-total) > 1e-6 {
		t.Errorf("variance %g, want %g", variance, total)
	}
	// Uniform bytes have variance (256²-1)/12/127.5² = 0.3359, with standard error 0.0043 here.
	if math.Abs(variance-0.3359) > 4*0.0043 {
		t.Errorf("variance %g of uniform bytes, want 0.336", variance)
	}
}

func TestFloat32Range(t *testing.T) {
	m := &Images{N: 1, Height: 1, Width: 2, Channels: 1, Pixels: []byte{0, 255}}
	if got := m.Float32(); got[0] != -1 || got[1] != 1 {
		t.Errorf("0 and 255 are mapped to %v, want -1 and 1", got)
	}
}

// Each copy is the image moved as a whole, all moves occur, and pixels that enter repeat the edge.
func TestMoved(t *testing.T) {
	m := &Images{N: 300, Height: 3, Width: 4, Channels: 1, Pixels: make([]byte, 300*12), Labels: make([]int32, 300)}
	for i := range m.N {
		for j := range 12 {
			m.Pixels[i*12+j] = byte(1 + j)
		}
		m.Labels[i] = int32(i % 10)
	}
	moved := m.Moved(rand.New(rand.NewPCG(1, 1)), 1)
	if err := moved.Validate(); err != nil || !slices.Equal(moved.Labels, m.Labels) {
		t.Fatalf("labels %v..., error %v", moved.Labels[:3], err)
	}
	seen := make(map[[2]int]int)
	for i := range moved.N {
		found := false
		for down := -1; down <= 1; down++ {
			for right := -1; right <= 1; right++ {
				want := make([]byte, 12)
				for y := range 3 {
					for x := range 4 {
						fy, fx := min(max(y-down, 0), 2), min(max(x-right, 0), 3)
						want[y*4+x] = byte(1 + fy*4 + fx)
					}
				}
				if bytes.Equal(want, moved.Pixels[i*12:][:12]) {
					found = true
					seen[[2]int{down, right}]++
				}
			}
		}
		if !found {
			t.Fatalf("image %d is %v: not a move by at most one pixel", i, moved.Pixels[i*12:][:12])
		}
	}
	if len(seen) != 9 {
		t.Errorf("moves %v, want all nine", seen)
	}
	if m.Pixels[0] != 1 {
		t.Error("Moved changed the receiver")
	}
}

// The hash is that of the whole content: shape, pixels and labels.
func TestHash(t *testing.T) {
	make := func(change func(m *Images)) string {
		m := &Images{N: 2, Height: 1, Width: 2, Channels: 3, Pixels: count(12), Labels: []int32{0, 44}}
		change(m)
		return m.Hash()
	}
	// Of "[2 1 2 3]\n", the bytes 0 to 11, and 0 and 44 as little-endian integers of four bytes.
	want := fmt.Sprintf("%x", sha256.Sum256(append(append([]byte("[2 1 2 3]\n"), count(12)...), 0, 0, 0, 0, 44, 0, 0, 0)))
	if got := make(func(*Images) {}); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	for name, change := range map[string]func(m *Images){
		"shape":         func(m *Images) { m.Height, m.Width = 2, 1 },
		"pixel":         func(m *Images) { m.Pixels[11] = 0 },
		"label":         func(m *Images) { m.Labels[1] = 300 }, // 44 modulo 256
		"without label": func(m *Images) { m.Labels = nil },
	} {
		if make(change) == want {
			t.Errorf("%s: the hash is the same", name)
		}
	}
}
