package stress

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
)

// Two equal modes: the first sample hits one, and the second sample hits the other in half of the
// cases. A sample between them counts for the nearer one but hits none.
func TestModeShares(t *testing.T) {
	almost(t, "hits of one sample", hit([]float64{0.5, 0.5}, 1), 1, 1e-12)
	almost(t, "hits of two samples", hit([]float64{0.5, 0.5}, 2), 1.5, 1e-12)
	almost(t, "hits of a single mode", hit([]float64{1, 0}, 3), 1, 1e-12)
	identity := [][]float64{{1, 0}, {0, 4}}
	m := mfmtest.NewMixture(t, []float64{1, 1}, [][]float64{{-10, 0}, {10, 0}}, [][][]float64{identity, identity})
	// Two dimensions: squared Mahalanobis distances up to 2 + 4·2 = 10 hit, √10 = 3.16.
	got, err := modeShares([][]float64{{-10, 0}, {-13.1, 0}, {-13.3, 0}, {10, 6.2}, {10, 6.4}}, m)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][2]float64{{0.6, 0.4}, {0.4, 0.2}} {
		almost(t, "share of the nearest mode", got.nearest[k], want[0], 1e-12)
		almost(t, "share of hits of the mode", got.hit[k], want[1], 1e-12)
	}
}

// A perturbation changes of the paper's mixture what its name says, and nothing else.
func TestPerturbations(t *testing.T) {
	const size = 0.3
	paper := gmm.Paper()
	var total float64
	for k, w := range paper.Weights() {
		total += w * math.Exp(size*float64(1-k))
	}
	for _, p := range Perturbations() {
		m, err := p.mixture(size)
		if err != nil {
			t.Fatal(err)
		}
		directions := map[[2]int]bool{}
		for k := range paper.Len() {
			weight := paper.Weights()[k]
			if p == WrongWeights {
				weight *= math.Exp(size*float64(1-k)) / total
			}
			almost(t, string(p)+": weight", m.Weights()[k], weight, 1e-12)
			mean, covariance := m.Component(k)
			was, wasCovariance := paper.Component(k)
			moved := 0.0
			if p == Shifted {
				moved = size
			}
			x, y := mean[0]-was[0], mean[1]-was[1]
			almost(t, string(p)+": distance of a mean", math.Hypot(x, y), moved, 1e-12)
			directions[[2]int{int(math.Round(10 * x)), int(math.Round(10 * y))}] = true
			for i := range covariance {
				for j := range covariance[i] {
					want := wasCovariance[i][j]
					if p == Smoothed && i == j {
						want += size * size
					}
					almost(t, string(p)+": covariance", covariance[i][j], want, 1e-12)
				}
			}
		}
		if p == Shifted && len(directions) != paper.Len() {
			t.Errorf("%d means are moved in %d directions", paper.Len(), len(directions))
		}
	}
	if _, err := Perturbation("luck").mixture(size); err == nil {
		t.Error("an unknown perturbation is accepted")
	}
}

// almost checks that got is within tolerance of want.
func almost(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %g, want %g ± %g", what, got, want, tolerance)
	}
}

// Features of one number have a distance in closed form. For the held-out images themselves the
// distance is zero.
func TestLossDistances(t *testing.T) {
	pixels := func(values ...byte) *data.Images {
		images := &data.Images{N: len(values), Height: 2, Width: 2, Channels: 1}
		for _, v := range values {
			images.Pixels = append(images.Pixels, bytes.Repeat([]byte{v}, 4)...)
		}
		return images
	}
	// A dark image has the class probabilities 0.85 and 0.15, a bright one 0.05 and 0.95.
	evaluate := func(images []float32, _ float64) (probabilities, features [][]float64, err error) {
		for image := range slices.Chunk(images, 4) {
			p := 0.15
			if image[0] >= 0 {
				p = 0.95
			}
			probabilities, features = append(probabilities, []float64{1 - p, p}),
				append(features, []float64{float64(image[0])})
		}
		return probabilities, features, nil
	}
	training, heldOut := pixels(0, 255, 0, 255), pixels(0, 0, 0, 255)
	var r LossResult
	if err := r.distances(evaluate, heldOut.Float32(), training, heldOut); err != nil {
		t.Fatal(err)
	}
	almost(t, "distance of the held-out images", r.Distance, 0, 1e-9)
	almost(t, "share of confident images", r.Confident, 0.25, 1e-12)
	// The features of the held-out images have mean -1/2 and variance 1, those of the training
	// images mean 0 and variance 4/3.
	almost(t, "distance of the training images", r.DistanceFloor, 0.25+math.Pow(math.Sqrt(4./3)-1, 2), 1e-6)
	r = LossResult{}
	if err := r.distances(evaluate, training.Float32()[:2*4], training, heldOut); err != nil {
		t.Fatal(err)
	}
	almost(t, "distance of a dark and a bright image", r.Distance, 0.25+math.Pow(math.Sqrt2-1, 2), 1e-6)
	almost(t, "distance of two training images, both dark", r.DistanceFloor, 0.25+1, 1e-6)
}
