package monitor

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Spectrum returns the power of images by frequency: element k, from 0 to half the smaller side, is
// the mean of |F|²/pixels² over the images and over the frequencies whose length, in waves along
// the smaller side, rounds to k. F is the discrete Fourier transform of the mean of the channels,
// so that the sum of |F|²/pixels² over all frequencies is the mean square of an image. Frequencies
// beyond the last k, in the corners, are left out. It returns the error of [Images.Validate].
func Spectrum(m Images) ([]float64, error) {
	side := min(m.Height, m.Width)
	power, count := make([]float64, max(side, 0)/2+1), make([]float64, max(side, 0)/2+1)
	_, err := m.each(func(pixels []float32) float64 {
		for i, f := range transform(m.gray(pixels), m.Height, m.Width) {
			y, x := frequency(i/m.Width, m.Height), frequency(i%m.Width, m.Width)
			k := int(math.Round(math.Hypot(y*float64(side)/float64(m.Height), x*float64(side)/float64(m.Width))))
			if k < len(power) {
				n := float64(m.Height * m.Width)
				power[k] += (real(f)*real(f) + imag(f)*imag(f)) / (n * n)
				count[k]++
			}
		}
		return 0
	})
	for k := range power {
		power[k] /= max(count[k], 1)
	}
	return power, err
}

// frequency returns the frequency of an element of a transform of n elements, in waves over all.
func frequency(i, n int) float64 {
	if i > n/2 {
		i -= n
	}
	return float64(i)
}

// transform returns the discrete Fourier transform of an image, [height, width].
func transform(gray []float64, height, width int) []complex128 {
	out := make([]complex128, len(gray))
	for i, v := range gray {
		out[i] = complex(v, 0)
	}
	rows, columns := fourier.NewCmplxFFT(width), fourier.NewCmplxFFT(height)
	for y := range height {
		rows.Coefficients(out[y*width:(y+1)*width], out[y*width:(y+1)*width])
	}
	column := make([]complex128, height)
	for x := range width {
		for y := range column {
			column[y] = out[y*width+x]
		}
		columns.Coefficients(column, column)
		for y := range column {
			out[y*width+x] = column[y]
		}
	}
	return out
}

// SpectralDistance returns the root mean square difference of two spectra of [Spectrum] in
// decibels, without frequency 0: 3 where one has twice the power of the other at all frequencies.
// It returns an error if they differ in length or have less than two frequencies, or if a power is
// not positive.
func SpectralDistance(a, b []float64) (float64, error) {
	if len(a) != len(b) || len(a) < 2 {
		return 0, fmt.Errorf("monitor: spectra of %d and %d frequencies: want equal numbers, at least 2", len(a), len(b))
	}
	sum := 0.
	for k := 1; k < len(a); k++ {
		if !(a[k] > 0 && b[k] > 0) {
			return 0, fmt.Errorf("monitor: spectra have the powers %g and %g at frequency %d: must be positive", a[k], b[k], k)
		}
		d := 10 * math.Log10(a[k]/b[k])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)-1)), nil
}
