package steer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// With one particle the best overall is that of the particle; more particles find larger rewards.
// The grid is that of the paper's code.
func TestSearchOverall(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	m, r := steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward()
	search := steer.Search{Config: steer.SearchConfig(), N: 1, Transition: steer.Renoise}
	search.Steps = 20
	const n = 200
	mean := map[steer.Selection]map[int]float64{}
	for _, selection := range []steer.Selection{steer.Greedy, steer.MaxOverall} {
		search.Selection, mean[selection] = selection, map[int]float64{}
		for _, particles := range []int{1, 4, 16} {
			search.Particles = particles
			got := sample(t, newSteerer(t, m, r, search), 1, n)
			mean[selection][particles] = stat.Mean(got.Rewards, nil)
		}
	}
	greedy, overall := mean[steer.Greedy], mean[steer.MaxOverall]
	if greedy[1] != overall[1] {
		t.Errorf("one particle: mean reward %g by the best overall, %g by its own best", overall[1], greedy[1])
	}
	for _, particles := range []int{4, 16} {
		if !(overall[particles] > overall[particles/4]) || !(overall[particles] > greedy[particles]) {
			t.Errorf("%d particles: mean rewards %v by the best overall, %v by the particles' own bests", particles,
				overall, greedy)
		}
	}
	times := search.Times()
	for k, got := range times[1:] {
		want := math.Pow(0.01+0.99*float64(k)/19, 2.5)
		if math.Abs(got-want) > 0.02 {
			t.Errorf("time %d is %g, the paper's %g", k+1, got, want)
		}
	}
}

// A search by softmax with one particle and many posterior samples draws from the tilted
// distribution, with either transition.
func TestPosteriorResampling(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	target, _ := tilt(t, mixture, r)
	const n = 2048
	projections := metric.Projections2D(64)
	rng := rand.New(rand.NewPCG(1, 1))
	distance := func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) }
	floor, se, err := metric.Floor(distance, func(rng *rand.Rand) [][]float64 { return target.Sample(rng, n) }, rng, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, transition := range []steer.Transition{steer.Renoise, steer.DDPM} {
		m := steer.Search{
			Config: steer.SearchConfig(), Particles: 1, Selection: steer.SoftmaxSelection, Transition: transition,
		}
		m.Steps = 20
		var distances []float64
		for _, m.N = range []int{2, 64} {
			got := sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			d, err := distance(mfm.Rows(got.Samples, 2), target.Sample(rng, n))
			if err != nil {
				t.Fatal(err)
			}
			distances = append(distances, d)
		}
		if limit := 1.6*floor + 3*se*math.Sqrt(8); !(distances[1] < limit && distances[0] > limit) {
			t.Errorf("%v: sliced W2 %.3f with N = 2 and %.3f with 64, floor %.3f", m, distances[0], distances[1], floor)
		}
	}
}
