package experiment

import (
	"math"
	"testing"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// One of two equal modes is hit by the first draw, and the other one by the second in half of the cases; a sample between them counts for the nearer one and hits none.
func TestModeShares(t *testing.T) {
	near(t, "hits of one draw", hit([]float64{0.5, 0.5}, 1), 1, 1e-12)
	near(t, "hits of two draws", hit([]float64{0.5, 0.5}, 2), 1.5, 1e-12)
	near(t, "hits of a sure mode", hit([]float64{1, 0}, 3), 1, 1e-12)
	identity := [][]float64{{1, 0}, {0, 4}}
	law, err := gmm.New([]float64{1, 1}, [][]float64{{-10, 0}, {10, 0}}, [][][]float64{identity, identity})
	if err != nil {
		t.Fatal(err)
	}
	// Two dimensions: squared Mahalanobis distances up to 2 + 4·2 = 10 hit, √10 = 3.16.
	got, err := modeShares([][]float64{{-10, 0}, {-13.1, 0}, {-13.3, 0}, {10, 6.2}, {10, 6.4}}, law)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][2]float64{{0.6, 0.4}, {0.4, 0.2}} {
		near(t, "share of the nearest mode", got.nearest[k], want[0], 1e-12)
		near(t, "share of the mode that is hit", got.hit[k], want[1], 1e-12)
	}
}

// The perturbations do to the paper's mixture what their names say, and leave the rest alone.
func TestPerturbations(t *testing.T) {
	const size = 0.3
	paper := gmm.Paper()
	var total float64
	for k, w := range paper.Weights() {
		total += w * math.Exp(size*float64(1-k))
	}
	for _, p := range Perturbations() {
		law, err := p.law(size)
		if err != nil {
			t.Fatal(err)
		}
		directions := map[[2]int]bool{}
		for k := range paper.Len() {
			weight := paper.Weights()[k]
			if p == WrongWeights {
				weight *= math.Exp(size*float64(1-k)) / total
			}
			near(t, string(p)+": weight", law.Weights()[k], weight, 1e-12)
			mean, covariance := law.Component(k)
			was, wide := paper.Component(k)
			moved := 0.0
			if p == Shifted {
				moved = size
			}
			x, y := mean[0]-was[0], mean[1]-was[1]
			near(t, string(p)+": way of a mean", math.Hypot(x, y), moved, 1e-12)
			directions[[2]int{int(math.Round(10 * x)), int(math.Round(10 * y))}] = true
			for i := range covariance {
				for j := range covariance[i] {
					want := wide[i][j]
					if p == Smoothed && i == j {
						want += size * size
					}
					near(t, string(p)+": covariance", covariance[i][j], want, 1e-12)
				}
			}
		}
		if p == Shifted && len(directions) != paper.Len() {
			t.Errorf("%d means are moved in %d directions", paper.Len(), len(directions))
		}
	}
	if _, err := Perturbation("luck").law(size); err == nil {
		t.Error("an unknown perturbation is one")
	}
}
