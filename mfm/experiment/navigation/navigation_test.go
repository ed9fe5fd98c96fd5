package navigation

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The value by quadrature equals the closed form without obstacles, does not depend on the number
// of nodes, and has the gradient of finite differences.
func TestNavigationValue(t *testing.T) {
	n := Default()
	for _, lambda := range []float64{1, 10, 100} {
		for _, at := range []float64{0.05, 0.4, 0.8, 0.95} {
			for _, x := range [][]float64{{0.3, -0.5}, {1.5, 1.2}, {1.9, 2.2}} {
				value, gradient := n.Value(at, x, lambda)
				finer, finerGradient := n.value(at, x, lambda, 2*quadratureNodes)
				if math.Abs(value-finer) > 1e-6 {
					t.Errorf("λ = %g, t = %g, x = %v: value %v, with twice the nodes %v", lambda, at, x, value, finer)
				}
				const h = 1e-5
				for j := range x {
					up, down := append([]float64(nil), x...), append([]float64(nil), x...)
					up[j] += h
					down[j] -= h
					a, _ := n.Value(at, up, lambda)
					b, _ := n.Value(at, down, lambda)
					want := (a - b) / (2 * h)
					if math.Abs(gradient[j]-want) > 1e-4*(1+math.Abs(want)) {
						t.Errorf("λ = %g, t = %g, x = %v: gradient %g, finite differences %g",
							lambda, at, x, gradient[j], want)
					}
					if math.Abs(gradient[j]-finerGradient[j]) > 1e-6*(1+math.Abs(want)) {
						t.Errorf("λ = %g, t = %g, x = %v: gradient %g, with twice the nodes %g",
							lambda, at, x, gradient[j], finerGradient[j])
					}
				}
				bare := n
				bare.Obstacles = nil
				data, err := bare.Mixture()
				if err != nil {
					t.Fatal(err)
				}
				identity := [][]float64{{1, 0}, {0, 1}}
				posterior := data.Posterior(interpolant.Linear{}, at, x)
				_, want, err := posterior.Tilt(identity, bare.Goal, bare.GoalWidth/math.Sqrt(lambda))
				if err != nil {
					t.Fatal(err)
				}
				if got, _ := bare.Value(at, x, lambda); math.Abs(got-want) > 1e-9*(1+math.Abs(want)) {
					t.Errorf("λ = %g, t = %g, x = %v: value %v without obstacles, want %v", lambda, at, x, got, want)
				}
			}
		}
	}
}

// The samples of the tilted distribution have the mean that follows from the gradient of the value
// at small t.
func TestNavigationSamples(t *testing.T) {
	n := Default()
	const at = 1e-4
	_, gradient := n.Value(at, []float64{0, 0}, 2)
	samples := n.Sample(rand.New(rand.NewPCG(1, 2)), 2, 200_000)
	for j := range gradient {
		mean, square := 0.0, 0.0
		for _, x := range samples {
			mean += x[j] / float64(len(samples))
			square += x[j] * x[j] / float64(len(samples))
		}
		// E*[X_1] - E[X_1], where the second mean is zero at x = 0
		want := gradient[j] * (1 - at) * (1 - at) / at
		if se := math.Sqrt((square - mean*mean) / float64(len(samples))); math.Abs(mean-want) > 4*se+1e-3 {
			t.Errorf("element %d: mean %.4f ± %.4f, want %.4f", j, mean, se, want)
		}
	}
}

// The error of a faulty task names the fault.
func TestNavigationRefused(t *testing.T) {
	for name, change := range map[string]func(n *Task){
		"goal":               func(n *Task) { n.Goal = []float64{1} },
		"standard deviation": func(n *Task) { n.StdDev = -1 },
		"obstacle":           func(n *Task) { n.Obstacles = []Obstacle{{Center: n.Goal, Width: 1, Height: -2}} },
	} {
		n := Default()
		change(&n)
		if _, err := n.Model(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
