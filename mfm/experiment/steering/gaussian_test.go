package steering_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

// In one dimension the divergence is that between two normal distributions, in two it is that of
// weighted samples.
func TestMeasuredKL(t *testing.T) {
	g, err := steering.NewGaussian([][]float64{{1}, {3}, {5}}) // mean 3, variance 4
	if err != nil {
		t.Fatal(err)
	}
	const y, sigma = 6.0, 0.5
	variance := 1 / (1/4. + 1/(sigma*sigma))
	mean := variance * (3/4. + y/(sigma*sigma))
	want := (variance/4 + (mean-3)*(mean-3)/4 - 1 + math.Log(4/variance)) / 2
	if got := g.MeasuredKL([]float64{y}, sigma); math.Abs(got-want) > 1e-12 {
		t.Errorf("one dimension: %.12f nats, want %.12f", got, want)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	points, rewards := make([][]float64, 200_000), make([]float64, 200_000)
	at := []float64{1, -0.5}
	for i := range points {
		a, b := rng.NormFloat64(), rng.NormFloat64()
		points[i] = []float64{a + 0.5, 0.8*a + 0.3*b}
		rewards[i] = -(math.Pow(points[i][0]-at[0], 2) + math.Pow(points[i][1]-at[1], 2)) / (2 * 0.4 * 0.4)
	}
	weights, err := steering.TiltedWeights(rewards, 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	kl, _ := steering.Divergence(weights, len(weights))
	if g, err = steering.NewGaussian(points); err != nil {
		t.Fatal(err)
	}
	if got := g.MeasuredKL(at, 0.4); math.Abs(got-kl) > 0.02 {
		t.Errorf("two dimensions: %.4f nats, weighted samples have %.4f", got, kl)
	}
	flat, err := steering.NewGaussian([][]float64{{1, 2}, {1, 3}, {1, 4}}) // no variance along one axis
	if err != nil || math.Abs(flat.MeasuredKL([]float64{7, 3}, 1)-(1/2.-1+math.Log(2))/2) > 1e-12 {
		t.Errorf("data in a line: %g nats (%v)", flat.MeasuredKL([]float64{7, 3}, 1), err)
	}
	for name, points := range map[string][][]float64{
		"one point": {{1}}, "no elements": {{}, {}}, "lengths": {{1}, {1, 2}}, "NaN": {{1}, {math.NaN()}},
	} {
		if _, err := steering.NewGaussian(points); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
