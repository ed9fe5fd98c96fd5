package alignment

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Monitors are properties of a set of pictures that rise or fall when a reward is exploited: compare
// those of steered pictures with those of unsteered ones.
type Monitors struct {
	// Saturation is the mean over the pixels of the largest minus the smallest channel, in [0, 1]: 0 for
	// gray pictures.
	Saturation float64 `json:"saturation"`
	// Clipped is the share of channel values at the ends of their range.
	Clipped float64 `json:"clipped"`
	// Edges is the share of pixels whose mean level differs by more than a tenth of the range from that
	// of the pixel to the right or below.
	Edges float64 `json:"edges"`
	// Latents is the root mean square of the elements of the latents, about 1 for data.
	Latents float64 `json:"latents"`
}

// edge is the difference of levels in [0, 1] that counts as an edge.
const edge = 0.1

// newMonitors returns the monitors of latents and pictures [n, height, width, channels], flat, in [-1, 1].
func newMonitors(latents, pixels []float32, height, width, channels int) (m Monitors) {
	count := len(pixels) / channels
	level := make([]float64, count) // the mean of the channels, in [0, 1]
	for i := range count {
		p := pixels[i*channels : (i+1)*channels]
		m.Saturation += float64(slices.Max(p)-slices.Min(p)) / 2 / float64(count)
		for _, v := range p {
			level[i] += (float64(v) + 1) / 2 / float64(channels)
			if v <= -1 || v >= 1 {
				m.Clipped += 1 / float64(len(pixels))
			}
		}
	}
	for i, v := range level {
		x, y := i%width, i/width%height
		if x < width-1 && math.Abs(level[i+1]-v) > edge || y < height-1 && math.Abs(level[i+width]-v) > edge {
			m.Edges += 1 / float64(count)
		}
	}
	for _, v := range latents {
		m.Latents += float64(v) * float64(v) / float64(len(latents))
	}
	m.Latents = math.Sqrt(m.Latents)
	return m
}

// frechet returns the squared Fréchet distance of two sets of features, [n][dim] with n >= 2, as
// [metric.Frechet] does for their moments. Its cost grows with dim instead of dim³: with centered
// features A and B, divided by √(n-1), the trace of (C_A^½ C_B C_A^½)^½ is the sum of the singular
// values of A Bᵀ.
func frechet(a, b [][]float64) (float64, error) {
	centered := func(rows [][]float64) (*mat.Dense, []float64) {
		mean := make([]float64, len(rows[0]))
		for _, row := range rows {
			floats.AddScaled(mean, 1/float64(len(rows)), row)
		}
		m := mat.NewDense(len(rows), len(mean), nil)
		for i, row := range rows {
			floats.SubTo(m.RawRowView(i), row, mean)
			floats.Scale(1/math.Sqrt(float64(len(rows)-1)), m.RawRowView(i))
		}
		return m, mean
	}
	if len(a) < 2 || len(b) < 2 || len(a[0]) != len(b[0]) {
		return 0, fmt.Errorf("Fréchet distance of %d and %d features: want at least 2 of equal length", len(a), len(b))
	}
	first, firstMean := centered(a)
	second, secondMean := centered(b)
	var product mat.Dense
	product.Mul(first, second.T())
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return 0, fmt.Errorf("Fréchet distance: the singular values did not converge")
	}
	norm := func(m *mat.Dense) float64 { return floats.Dot(m.RawMatrix().Data, m.RawMatrix().Data) }
	d := floats.Distance(firstMean, secondMean, 2)
	return max(d*d+norm(first)+norm(second)-2*floats.Sum(svd.Values(nil)), 0), nil
}

// mostPairs is the number of samples of which all pairs are compared.
const mostPairs = 256

// meanDistance returns the mean distance between two of the first 256 rows.
func meanDistance(rows [][]float64) float64 {
	rows = rows[:min(len(rows), mostPairs)]
	sum, pairs := 0., 0
	for i, a := range rows {
		for _, b := range rows[:i] {
			sum += floats.Distance(a, b, 2)
			pairs++
		}
	}
	return sum / float64(max(pairs, 1))
}

// strip returns a PNG with rows of pictures [n, height, width, channels] each, flat, in [-1, 1].
func strip(height, width, channels int, rows ...[]float32) ([]byte, error) {
	size := height * width * channels
	out := image.NewRGBA(image.Rect(0, 0, len(rows[0])/size*width, len(rows)*height))
	for row, pixels := range rows {
		for i := range len(pixels) / channels {
			level := func(k int) uint8 {
				v := float64(pixels[i*channels+min(k, channels-1)])
				return uint8(math.Round(min(max((v+1)/2, 0), 1) * 255))
			}
			picture, y, x := i/(height*width), i/width%height, i%width
			out.SetRGBA(picture*width+x, row*height+y, color.RGBA{level(0), level(1), level(2), 255})
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, out); err != nil {
		return nil, fmt.Errorf("encoding pictures: %w", err)
	}
	return file.Bytes(), nil
}
