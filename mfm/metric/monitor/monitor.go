// Package monitor measures pictures for signs of reward hacking: samples that a reward drives away
// from the data become more saturated, lose or gain edges and fine structure, or have latents of
// unusual norms. No measure needs a network. Compare each with that of the data and of unsteered
// samples: [metric.MeanSE] has means and their errors. The length of steered velocities, compared
// with that of the drift, is in the series of package steer.
package monitor

import (
	"fmt"
	"math"
)

// Images are pictures with values in [-1, 1], flat [N, Height, Width, Channels].
type Images struct {
	Pixels                     []float32
	N, Height, Width, Channels int
}

// Validate returns an error if the sizes are not positive or do not fit the number of pixels, or if
// a value is not finite.
func (m Images) Validate() error {
	if min(m.N, m.Height, m.Width, m.Channels) < 1 || m.N*m.Height*m.Width*m.Channels != len(m.Pixels) {
		return fmt.Errorf("monitor: %d values for images of shape [%d, %d, %d, %d]", len(m.Pixels), m.N, m.Height, m.Width,
			m.Channels)
	}
	for i, v := range m.Pixels {
		if v-v != 0 {
			return fmt.Errorf("monitor: value %d of the images is %v: all must be finite", i, v)
		}
	}
	return nil
}

// each returns f of every image, [Height, Width, Channels] flat.
func (m Images) each(f func(pixels []float32) float64) ([]float64, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	values, size := make([]float64, m.N), len(m.Pixels)/m.N
	for i := range values {
		values[i] = f(m.Pixels[i*size : (i+1)*size])
	}
	return values, nil
}

// Saturation returns for each image the mean over its pixels of the saturation (max - min)/max of
// their channels as levels in [0, 1], as in HSV: 0 for gray and black, 1 for a color without one of
// the channels. Values beyond [-1, 1] are clipped. It returns the error of [Images.Validate].
func Saturation(m Images) ([]float64, error) {
	return m.each(func(pixels []float32) float64 {
		sum := 0.
		for p := 0; p < len(pixels); p += m.Channels {
			low, high := 1., 0.
			for _, v := range pixels[p : p+m.Channels] {
				level := min(max((float64(v)+1)/2, 0), 1)
				low, high = min(low, level), max(high, level)
			}
			if high > 0 {
				sum += (high - low) / high
			}
		}
		return sum / float64(m.Height*m.Width)
	})
}

// Clipped returns for each image the share of its values that become 0 or 255 as 8-bit levels,
// ⌊127.5 x + 128⌋, and so lose what they were. It returns the error of [Images.Validate].
func Clipped(m Images) ([]float64, error) {
	return m.each(func(pixels []float32) float64 {
		n := 0.
		for _, v := range pixels {
			if level := 127.5*v + 128; level < 1 || level >= 255 {
				n++
			}
		}
		return n / float64(len(pixels))
	})
}

// EdgeDensity returns for each image the share of its inner pixels at which the mean of the
// channels has a gradient, by Sobel's operator, of more than threshold per pixel, such as 0.1. It
// returns the error of [Images.Validate], or one for fewer than 3x3 pixels.
func EdgeDensity(m Images, threshold float64) ([]float64, error) {
	if m.Height < 3 || m.Width < 3 {
		return nil, fmt.Errorf("monitor: edges of images of %dx%d pixels: want at least 3x3", m.Height, m.Width)
	}
	return m.each(func(pixels []float32) float64 {
		gray := m.gray(pixels)
		at := func(y, x int) float64 { return gray[y*m.Width+x] }
		edges := 0.
		for y := 1; y < m.Height-1; y++ {
			for x := 1; x < m.Width-1; x++ {
				across := (at(y-1, x+1) - at(y-1, x-1) + 2*(at(y, x+1)-at(y, x-1)) + at(y+1, x+1) - at(y+1, x-1)) / 8
				down := (at(y+1, x-1) - at(y-1, x-1) + 2*(at(y+1, x)-at(y-1, x)) + at(y+1, x+1) - at(y-1, x+1)) / 8
				if math.Hypot(across, down) > threshold {
					edges++
				}
			}
		}
		return edges / float64((m.Height-2)*(m.Width-2))
	})
}

// gray returns the means of the channels of an image.
func (m Images) gray(pixels []float32) []float64 {
	gray := make([]float64, m.Height*m.Width)
	for i, v := range pixels {
		gray[i/m.Channels] += float64(v) / float64(m.Channels)
	}
	return gray
}

// Norms returns |x|/√dim of each row of flat values, [n, dim]: of latents, whose root mean square
// is near one where an autoencoder scales them. It returns an error unless dim divides their
// number.
func Norms(flat []float32, dim int) ([]float64, error) {
	if dim < 1 || len(flat) == 0 || len(flat)%dim != 0 {
		return nil, fmt.Errorf("monitor: norms of %d values in rows of %d", len(flat), dim)
	}
	norms := make([]float64, len(flat)/dim)
	for i := range norms {
		sum := 0.
		for _, v := range flat[i*dim : (i+1)*dim] {
			sum += float64(v) * float64(v)
		}
		norms[i] = math.Sqrt(sum / float64(dim))
	}
	return norms, nil
}
