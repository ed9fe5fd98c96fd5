package experiment

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The value by quadrature is that of the closed form without obstacles, does not change with the nodes, and has the gradient that differences give.
func TestNavigationValue(t *testing.T) {
	n := DefaultNavigation()
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
						t.Errorf("λ = %g, t = %g, x = %v: gradient %g, differences give %g", lambda, at, x, gradient[j], want)
					}
					if math.Abs(gradient[j]-finerGradient[j]) > 1e-6*(1+math.Abs(want)) {
						t.Errorf("λ = %g, t = %g, x = %v: gradient %g, with twice the nodes %g", lambda, at, x, gradient[j], finerGradient[j])
					}
				}
				bare := n
				bare.Obstacles = nil
				law, err := bare.Law()
				if err != nil {
					t.Fatal(err)
				}
				_, want, err := law.Posterior(interpolant.Linear{}, at, x).Tilt([][]float64{{1, 0}, {0, 1}}, bare.Goal, bare.GoalWidth/math.Sqrt(lambda))
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

// Samples of the tilted law have the mean that the value's gradient at small t tells.
func TestNavigationSamples(t *testing.T) {
	n := DefaultNavigation()
	const at = 1e-4
	_, gradient := n.Value(at, []float64{0, 0}, 2)
	samples := n.Sample(rand.New(rand.NewPCG(1, 2)), 2, 200_000)
	for j := range gradient {
		mean, square := 0.0, 0.0
		for _, x := range samples {
			mean += x[j] / float64(len(samples))
			square += x[j] * x[j] / float64(len(samples))
		}
		want := gradient[j] * (1 - at) * (1 - at) / at // E*[X_1] - E[X_1], the latter being zero at x = 0
		if se := math.Sqrt((square - mean*mean) / float64(len(samples))); math.Abs(mean-want) > 4*se+1e-3 {
			t.Errorf("element %d: mean %.4f ± %.4f, want %.4f", j, mean, se, want)
		}
	}
}

func TestNavigationRefused(t *testing.T) {
	for name, change := range map[string]func(n *Navigation){
		"goal":     func(n *Navigation) { n.Goal = []float64{1} },
		"spread":   func(n *Navigation) { n.Spread = -1 },
		"obstacle": func(n *Navigation) { n.Obstacles = []Obstacle{{Center: []float64{0, 0}, Width: 1, Height: -2}} },
	} {
		n := DefaultNavigation()
		change(&n)
		if _, err := n.Model(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
