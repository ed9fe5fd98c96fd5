package data

import "fmt"

// halfRange maps pixels from 0..255 to [-1, 1], about the size of standard normal noise.
const halfRange = 255.0 / 2

// Float32 returns the pixels as x/127.5 - 1, in [-1, 1], with shape [N, Height, Width, Channels],
// the layout of GoMLX's convolutions.
func (m *Images) Float32() []float32 {
	var table [256]float32
	for i := range table {
		table[i] = float32(float64(i)/halfRange - 1)
	}
	x := make([]float32, len(m.Pixels))
	for i, p := range m.Pixels {
		x[i] = table[p]
	}
	return x
}

// Mean returns the mean image in the units of [Images.Float32], [Height, Width, Channels].
func (m *Images) Mean() []float32 {
	d := m.Dim()
	sums := make([]uint64, d)
	for i, p := range m.Pixels {
		sums[i%d] += uint64(p)
	}
	mean := make([]float32, d)
	for i, s := range sums {
		mean[i] = float32(float64(s)/float64(m.N)/halfRange - 1)
	}
	return mean
}

// Centered returns [Images.Float32] minus the mean image, [N, Height, Width, Channels]. For
// held-out images too, mean is [Images.Mean] of the training set. It fails if mean has not the size
// of an image.
func (m *Images) Centered(mean []float32) ([]float32, error) {
	if err := m.checkMean(mean); err != nil {
		return nil, err
	}
	x, d := m.Float32(), m.Dim()
	for i := range x {
		x[i] -= mean[i%d]
	}
	return x, nil
}

// Variance returns the average of (x - mean)² over all images and pixels, with x in the units of
// [Images.Float32]: the variance V0 for the Gaussian preconditioning of centered data. For MNIST's
// digits about their own mean it is 0.269. It fails if mean has not the size of an image.
func (m *Images) Variance(mean []float32) (float64, error) {
	if err := m.checkMean(mean); err != nil {
		return 0, err
	}
	sum, d := 0.0, m.Dim()
	for i, p := range m.Pixels {
		r := float64(p)/halfRange - 1 - float64(mean[i%d])
		sum += r * r
	}
	return sum / float64(len(m.Pixels)), nil
}

func (m *Images) checkMean(mean []float32) error {
	if len(mean) != m.Dim() {
		return fmt.Errorf("data: mean of %d values for images of %dx%dx%d", len(mean), m.Height, m.Width, m.Channels)
	}
	return nil
}
