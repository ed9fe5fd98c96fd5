package sets

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/interpolant"
)

// Posteriors by the samples of a generator are those of the closed form.
func TestPosteriorOfSamples(t *testing.T) {
	set, err := Lookup("eight-gaussians")
	if err != nil {
		t.Fatal(err)
	}
	shift, scale := []float64{0.5, -1}, []float64{3, 2}
	rng := rand.New(rand.NewPCG(1, 1))
	exact, err := NewTruth(set, shift, scale, 1, rng)
	if err != nil {
		t.Fatal(err)
	}
	sampled := set
	sampled.Blocks = []Block{{Dim: 2, Draw: set.Blocks[0].Draw}}
	pools, err := NewTruth(sampled, shift, scale, 200_000, rng)
	if err != nil {
		t.Fatal(err)
	}
	ip := interpolant.Linear{}
	for _, at := range []float64{0.2, 0.5, 0.8} {
		x := []float64{0.9 * at, 0.6 * at}
		a, b := exact.Posterior(ip, at, x), pools.Posterior(ip, at, x)
		if math.Abs(b.Std/a.Std-1) > 0.02 || !math.IsInf(min(a.Effective[0], a.Effective[1]), 1) ||
			min(b.Effective[0], b.Effective[1]) < 1000 {
			t.Errorf("t = %g: standard deviation %g by %.0f samples, want %g", at, b.Std, b.Effective[0], a.Std)
		}
		const n = 20_000
		for half := range 2 {
			want, got := a.Sample(rng, n, half), b.Sample(rng, n, half)
			for j := range 2 {
				mean, std := moments(want, j)
				m, s := moments(got, j)
				if math.Abs(m-mean) > 0.05*std || math.Abs(s/std-1) > 0.04 {
					t.Errorf("t = %g, column %d: %g ± %g, want %g ± %g", at, j, m, s, mean, std)
				}
			}
		}
	}
}

func moments(rows [][]float64, j int) (mean, std float64) {
	column := make([]float64, len(rows))
	for i, row := range rows {
		column[i] = row[j]
	}
	return stat.MeanStdDev(column, nil)
}

// The sets have their moments, and independent blocks in their columns.
func TestSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, s := range All() {
		const n = 20_000
		rows := s.Sample(rng, n)
		if len(rows) != n || len(rows[0]) != s.Dim() {
			t.Fatalf("%s: %d rows of %d columns", s.Name, len(rows), len(rows[0]))
		}
	}
	for name, want := range map[string][][2]float64{ // mean and deviation of the columns
		"checkerboard":    {{0, math.Sqrt(16. / 3)}, {0, math.Sqrt(16. / 3)}},
		"eight-gaussians": {{0, math.Sqrt(8.25)}, {0, math.Sqrt(8.25)}},
		"two-moons":       {{0.5, math.Sqrt(0.7525)}, {0.25, math.NaN()}},
		"knot-8d":         {{0, math.Sqrt(0.51)}, {0, math.Sqrt(0.51)}},
		"bananas-8d":      {{0, 1}, {0, math.Sqrt(0.59)}},
	} {
		s, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		rows := s.Sample(rng, 40_000)
		for j, w := range want {
			mean, std := moments(rows, j)
			if math.Abs(mean-w[0]) > 0.03*std || math.Abs(std/w[1]-1) > 0.03 {
				t.Errorf("%s, column %d: %g ± %g, want %g ± %g", name, j, mean, std, w[0], w[1])
			}
		}
	}
	if _, err := Lookup("moons"); err == nil || !strings.Contains(err.Error(), "use two-moons, pinwheel") {
		t.Errorf("an unknown set: %v", err)
	}
	if _, err := NewTruth(All()[0], []float64{0, 0}, []float64{1, 0}, 10, rng); err == nil {
		t.Error("a scale of zero is no error")
	}
}
