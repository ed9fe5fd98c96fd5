package monitor_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/metric/monitor"
)

// images returns pictures whose values are a function of image, row, column and channel.
func images(n, h, w, c int, value func(i, y, x, k int) float64) monitor.Images {
	m := monitor.Images{N: n, Height: h, Width: w, Channels: c}
	for i := range n {
		for y := range h {
			for x := range w {
				for k := range c {
					m.Pixels = append(m.Pixels, float32(value(i, y, x, k)))
				}
			}
		}
	}
	return m
}

func near(t *testing.T, name string, got, want []float64, err error) {
	t.Helper()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%s: %v, error %v, want %v", name, got, err, want)
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-6) {
			t.Errorf("%s %d is %g, want %g", name, i, got[i], want[i])
		}
	}
}

func TestSaturation(t *testing.T) {
	colors := [][]float64{{0.5, 0.5, 0.5}, {-1, -1, -1}, {1, -1, -1}, {0.5, 0, -0.5}, {3, 1, 0}}
	m := images(5, 2, 3, 3, func(i, _, _, k int) float64 { return colors[i][k] })
	got, err := monitor.Saturation(m) // (0.75 - 0.25)/0.75, and (1 - 0.5)/1 after clipping
	near(t, "saturation", got, []float64{0, 0, 1, 2. / 3, 0.5}, err)
	got, err = monitor.Clipped(images(1, 2, 2, 1, func(_, y, x, _ int) float64 { return []float64{-1, 1, 0.99, -0.99}[2*y+x] }))
	near(t, "clipped share", got, []float64{0.5}, err)
}

// A ramp has its slope everywhere, a step two columns of half its height.
func TestEdgeDensity(t *testing.T) {
	m := images(4, 6, 10, 2, func(i, y, x, k int) float64 {
		switch i {
		case 0:
			return 0.05*float64(x) + []float64{1, -1}[k] // of mean 0.05 x
		case 1:
			return 0.03*float64(x) + 0.04*float64(y)
		case 2:
			return []float64{-0.2, 0.2}[min(x/5, 1)]
		}
		return 0.7
	})
	got, err := monitor.EdgeDensity(m, 0.049)
	near(t, "edge density", got, []float64{1, 1, 2. / 8, 0}, err)
	got, err = monitor.EdgeDensity(m, 0.051)
	near(t, "edge density", got, []float64{0, 0, 2. / 8, 0}, err)
	got, err = monitor.EdgeDensity(m, 0.21)
	near(t, "edge density", got, []float64{0, 0, 0, 0}, err)
}

// A wave has its power, half the square of its amplitude, at its frequency alone; the powers of all
// frequencies of white noise are equal, and their sum is the mean square.
func TestSpectrum(t *testing.T) {
	const h, w = 8, 16
	wave := images(2, h, w, 1, func(_, y, x, _ int) float64 {
		return 0.25 + 0.5*math.Cos(2*math.Pi*3*float64(y)/h) + 0.3*math.Sin(2*math.Pi*4*float64(x)/w)
	})
	got, err := monitor.Spectrum(wave)
	count := make([]float64, 5)
	for y := range h {
		for x := range w {
			fy, fx := min(y, h-y), min(x, w-x)
			if k := int(math.Round(math.Hypot(float64(fy), float64(fx)/2))); k < 5 { // along 8 pixels
				count[k]++
			}
		}
	}
	near(t, "power of waves", got, []float64{0.0625, 0, 0.045 / count[2], 0.125 / count[3], 0}, err)

	rng := rand.New(rand.NewPCG(1, 2))
	noise := images(400, 8, 8, 1, func(int, int, int, int) float64 { return rng.NormFloat64() })
	white, err := monitor.Spectrum(noise)
	for k, p := range white {
		if !(math.Abs(p*64-1) < 0.2) || err != nil {
			t.Errorf("power of white noise at %d is %g/64, want 1/64 (%v)", k, p*64, err)
		}
	}
	for i := range noise.Pixels {
		noise.Pixels[i] *= 2
	}
	louder, err := monitor.Spectrum(noise)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := monitor.SpectralDistance(louder, white); err != nil || math.Abs(d-20*math.Log10(2)) > 1e-6 {
		t.Errorf("distance %g dB, want %g (%v)", d, 20*math.Log10(2), err)
	}
}

func TestNorms(t *testing.T) {
	got, err := monitor.Norms([]float32{3, 4, 0, 0, 1, 1, 1, 1}, 4)
	near(t, "norm", got, []float64{2.5, 1}, err)
}

func TestErrors(t *testing.T) {
	m := images(1, 4, 4, 1, func(int, int, int, int) float64 { return 0 })
	small, other, nan := images(1, 2, 4, 1, func(int, int, int, int) float64 { return 0 }), m, m
	other.Pixels, nan.Pixels = m.Pixels[1:], append([]float32{float32(math.NaN())}, m.Pixels[1:]...)
	for name, fails := range map[string]func() error{
		"other size":        func() error { _, err := monitor.Saturation(other); return err },
		"not a number":      func() error { _, err := monitor.Spectrum(nan); return err },
		"empty":             func() error { _, err := monitor.Spectrum(monitor.Images{}); return err },
		"too few pixels":    func() error { _, err := monitor.EdgeDensity(small, 0.1); return err },
		"rows":              func() error { _, err := monitor.Norms(m.Pixels, 3); return err },
		"spectra":           func() error { _, err := monitor.SpectralDistance([]float64{1, 1}, []float64{1}); return err },
		"a power of nought": func() error { _, err := monitor.SpectralDistance([]float64{1, 0}, []float64{1, 1}); return err },
	} {
		if fails() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
