package alignment

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	experiment "github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/metric/monitor"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Monitors are means over a set of pictures of what rises or falls when a reward is exploited, see
// package monitor: compare those of steered pictures with those of unsteered ones.
type Monitors struct {
	Saturation float64 `json:"saturation"` // see [monitor.Saturation]
	Clipped    float64 `json:"clipped"`    // see [monitor.Clipped]
	// Edges is the share of inner pixels with a gradient of more than 0.1 per pixel, see
	// [monitor.EdgeDensity].
	Edges   float64 `json:"edges"`
	Latents float64 `json:"latents"` // see [monitor.Norms], about 1 for data
	// Speed is the mean over the steps of the length of drift and steering together, over that of the
	// drift, see [steer.Series]; undefined for samples without a steering term.
	Speed metric.Optional `json:"speed,omitzero"`
}

// speed returns the mean of a run's speeds, undefined if no step has a steering term.
func speed(s steer.Series) metric.Optional {
	if len(s.Ratio) == 0 || floats.Max(s.Ratio) == 0 {
		return metric.Optional{}
	}
	return metric.Some(stat.Mean(s.Speed, nil))
}

// edge is the gradient per pixel, of values in [-1, 1], that counts as an edge.
const edge = 0.1

// newMonitors returns the monitors of latents and pictures [n, height, width, channels], flat, in
// [-1, 1].
func newMonitors(latents, pixels []float32, height, width, channels int) (m Monitors, err error) {
	n := len(pixels) / (height * width * channels)
	images := monitor.Images{Pixels: pixels, N: n, Height: height, Width: width, Channels: channels}
	for _, of := range []struct {
		to     *float64
		values func() ([]float64, error)
	}{
		{&m.Saturation, func() ([]float64, error) { return monitor.Saturation(images) }},
		{&m.Clipped, func() ([]float64, error) { return monitor.Clipped(images) }},
		{&m.Edges, func() ([]float64, error) { return monitor.EdgeDensity(images, edge) }},
		{&m.Latents, func() ([]float64, error) { return monitor.Norms(latents, len(latents)/max(n, 1)) }},
	} {
		values, err := of.values()
		if err != nil {
			return m, err
		}
		*of.to = stat.Mean(values, nil)
	}
	return m, nil
}

// spectralDistance returns the distance of the spectra of two sets of pictures [n, height, width,
// channels], flat, in decibels, undefined if one has no power at a frequency.
func spectralDistance(a, b []float32, height, width, channels int) metric.Optional {
	var spectra [2][]float64
	for i, pixels := range [][]float32{a, b} {
		n := min(len(pixels)/(height*width*channels), mostCompared)
		images := monitor.Images{
			Pixels: pixels[:n*height*width*channels], N: n, Height: height, Width: width, Channels: channels,
		}
		var err error
		if spectra[i], err = monitor.Spectrum(images); err != nil {
			return metric.Optional{}
		}
	}
	d, err := monitor.SpectralDistance(spectra[0], spectra[1])
	if err != nil {
		return metric.Optional{}
	}
	return metric.Some(d)
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

// Pairs returns a grid with the first pictures, up to eight, of each strip as a row: the one before
// steering or tuning above the one after it, from the same noise. Strips are those of
// [Result].Pictures and [TuningResult].Pictures, size is that of a picture, [height, width, 3], and
// labels are those of the rows, one each. It returns an error if they do not fit.
func Pairs(strips [][]byte, size []int, labels []string) (figure.Images, error) {
	if len(size) != 3 || size[2] != 3 || len(labels) != len(strips) {
		return figure.Images{}, fmt.Errorf("%d labels of %d rows of pictures of size %v: want one each, and three channels",
			len(labels), len(strips), size)
	}
	grid := figure.Images{H: 2 * size[0], W: size[1], C: size[2], Cols: 8, RowLabels: labels}
	for _, strip := range strips {
		n, err := experiment.Count(strip, grid.W)
		if err != nil {
			return figure.Images{}, err
		}
		grid.Cols = min(grid.Cols, n)
	}
	for _, strip := range strips {
		pixels, err := experiment.Unstrip(strip, []int{grid.H, grid.W, grid.C}, grid.Cols)
		if err != nil {
			return figure.Images{}, err
		}
		grid.Pixels = append(grid.Pixels, pixels...)
		grid.N += grid.Cols
	}
	return grid, nil
}
