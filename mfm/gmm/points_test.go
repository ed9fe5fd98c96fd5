package gmm_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// Points on a graph, as vectors and as images [2, 3, 1], agree with the mixture of points on the
// host.
func TestPointsGraphAgainstHost(t *testing.T) {
	const n, dim = 200, 6
	for dtype, tol := range tolerances {
		rng := newRNG(43)
		data := make([][]float64, n)
		for i := range data {
			data[i] = noise(rng, dim)
			for j := range data[i] {
				data[i][j] = round(dtype, data[i][j])
			}
		}
		m, err := gmm.Points(data)
		if err != nil {
			t.Fatal(err)
		}
		for name, sched := range schedules {
			var times []float64
			var x [][]float64
			for _, time := range []float64{0, 0.1, 0.4, 0.7, 0.9} {
				y := marginalSample(m, sched, time, rng)
				for j := range y {
					y[j] = round(dtype, y[j])
				}
				times, x = append(times, round(dtype, time)), append(x, y)
			}
			times, x = append(times, 1), append(x, data[17])
			got, err := CallOnceN(backendtest.New(t), func(data, t, x *Node) []*Node {
				image := func(v *Node) *Node { return Reshape(v, -1, 2, 3, 1) }
				return []*Node{
					gmm.PointsWeights(sched, data, t, x), gmm.PointsDenoiser(sched, data, t, x),
					gmm.PointsDrift(sched, data, t, x),
					gmm.PointsDenoiser(sched, image(data), t, image(x)),
					gmm.PointsDrift(sched, image(data), t, image(x)),
				}
			}, table(dtype, data), column(dtype, times), table(dtype, x))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("(%s)[%d, 2, 3, 1]", dtype, len(x)); got[3].Shape().String() != want {
				t.Errorf("denoised images have shape %s, want %s", got[3].Shape(), want)
			}
			for i, y := range x {
				at := fmt.Sprintf("%s, %s at t = %v: ", name, dtype, times[i])
				near(t, at+"weights", values(got[0], n)[i], m.PosteriorWeights(sched, times[i], y), tol)
				denoised, drift := m.Denoiser(sched, times[i], y), m.Drift(sched, times[i], y)
				for _, k := range []int{1, 3} {
					near(t, at+"denoiser", values(got[k], dim)[i], denoised, tol)
				}
				if times[i] < 1 || dtype == dtypes.Float64 {
					for _, k := range []int{2, 4} {
						near(t, at+"drift", values(got[k], dim)[i], drift, tol)
					}
				}
			}
		}
	}
}

// The drift of a class is that of the mixture of its points on the host, and rows without a class
// have that of all points.
func TestPointsClassDriftAgainstHost(t *testing.T) {
	const n, dim, classes = 30, 3, 2
	rng := newRNG(44)
	data, labels := make([][]float64, n), make([]int32, n)
	parts := make([][][]float64, classes+1)
	for i := range data {
		data[i], labels[i] = noise(rng, dim), int32(i%3/2)
		parts[labels[i]] = append(parts[labels[i]], data[i])
	}
	parts[classes] = data
	x, times := [][]float64{noise(rng, dim), noise(rng, dim), noise(rng, dim)}, []float64{0.2, 0.5, 0.8}
	got, err := CallOnceN(backendtest.New(t), func(data, labels, t, x, class *Node) []*Node {
		return []*Node{gmm.PointsClassDrift(schedules["linear"], data, labels, classes, t, x, class)}
	}, table(dtypes.Float64, data), tensors.FromValue(labels), column(dtypes.Float64, times), table(dtypes.Float64, x),
		tensors.FromValue([]int32{1, 0, classes}))
	if err != nil {
		t.Fatal(err)
	}
	for i, class := range []int{1, 0, classes} {
		m, err := gmm.Points(parts[class])
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("class %d", class), values(got[0], dim)[i], m.Drift(schedules["linear"], times[i], x[i]), 1e-9)
	}
}

// BenchmarkPointsDrift measures the exact drift of a data set as large as MNIST for a batch of 64:
// two matrix products of 0.9 GFLOP.
func BenchmarkPointsDrift(b *testing.B) {
	exec, err := NewExec(backendtest.New(b), func(data, t, x *Node) *Node {
		return gmm.PointsDrift(linear{}, data, t, x)
	})
	if err != nil {
		b.Fatal(err)
	}
	rng := newRNG(47)
	data := make([][]float64, 9000)
	for i := range data {
		data[i] = noise(rng, 784)
	}
	times := make([]float64, 64)
	for i := range times {
		times[i] = rng.Float64()
	}
	in, at, x := table(dtypes.Float32, data), column(dtypes.Float32, times), table(dtypes.Float32, data[:64])
	for b.Loop() {
		if _, err := exec.Call(in, at, x); err != nil {
			b.Fatal(err)
		}
	}
}
