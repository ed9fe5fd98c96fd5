package gmm_test

import (
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// In these examples linear is the schedule (1-t, t), like interpolant.Linear.

// At t = 0.4 the posterior of a point near the middle mode still gives the neighboring modes some
// weight.
func ExampleMixture_Posterior() {
	post := gmm.Paper().Posterior(linear{}, 0.4, []float64{0.5, 0.5})
	mean, covariance := post.Component(1)
	fmt.Printf("weights %.3f\n", post.Weights())
	fmt.Printf("mode 1: mean %.3f, covariance %.3f\n", mean, covariance)
	fmt.Printf("mean of all %.3f, root mean square deviation %.3f\n", post.Mean(), post.Std())
	// Output:
	// weights [0.002 0.632 0.366]
	// mode 1: mean [0.227 0.227], covariance [[0.409 0.000] [0.000 0.409]]
	// mean of all [1.123 1.123], root mean square deviation 1.351
}

// The conditional drift transports fresh noise to the posterior, here by 100 steps of Euler's
// method.
func ExampleMixture_ConditionalDrift() {
	post := gmm.Paper().Posterior(linear{}, 0.4, []float64{0.5, 0.5}) // one for all steps
	rng := rand.New(rand.NewPCG(1, 2))
	mean := 0.0
	for range 1000 {
		xbar := []float64{rng.NormFloat64(), rng.NormFloat64()}
		for step := range 100 {
			for j, v := range post.Drift(linear{}, float64(step)/100, xbar) {
				xbar[j] += v / 100
			}
		}
		mean += xbar[0] / 1000
	}
	fmt.Printf("mean %.2f ± %.2f, exact %.2f\n", mean, post.Std()/math.Sqrt(1000), post.Mean()[0])
	// Output: mean 1.16 ± 0.04, exact 1.12
}

// The flow map of a single Gaussian: one step from noise is a posterior sample, and two steps lead
// to the same point.
func ExampleMixture_FlowMap() {
	m, err := gmm.New([]float64{1}, [][]float64{{1, 0}}, [][][]float64{{{1, 0.8}, {0.8, 1}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	post := m.Posterior(linear{}, 0.5, []float64{0.2, 0.9})
	noise := []float64{-1, 0.5}
	once, err := post.FlowMap(linear{}, 0, 1, noise)
	if err != nil {
		fmt.Println(err)
		return
	}
	// post is a single Gaussian, so there are no more errors to check.
	half, _ := post.FlowMap(linear{}, 0, 0.5, noise)
	twice, _ := post.FlowMap(linear{}, 0.5, 1, half)
	fmt.Printf("%.4f %.4f\n", once, twice)
	// Output: [0.6791 0.6915] [0.6791 0.6915]
}

// A data set is a mixture of points. Its posterior gives the probability that a noised point came
// from each of them.
func ExamplePoints() {
	m, err := gmm.Points([][]float64{{0, 0}, {1, 0}, {0, 1}, {5, 5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float64{0.6, 0.1}
	for _, t := range []float64{0.2, 0.5, 0.8, 1} {
		weights, denoised := m.PosteriorWeights(linear{}, t, x), m.Denoiser(linear{}, t, x)
		fmt.Printf("t = %.1f: weights %.2f, denoised %.2f\n", t, weights, denoised)
	}
	// Output:
	// t = 0.2: weights [0.26 0.31 0.26 0.16], denoised [1.13 1.09]
	// t = 0.5: weights [0.27 0.54 0.20 0.00], denoised [0.54 0.20]
	// t = 0.8: weights [0.02 0.98 0.00 0.00], denoised [0.98 0.00]
	// t = 1.0: weights [0.00 1.00 0.00 0.00], denoised [1.00 0.00]
}

func ExampleFromJSON() {
	m, err := gmm.FromJSON([]byte(`{"weights": [1, 3], "means": [[-1], [1]], "covariances": [[[0.5]], [[0.25]]]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Weights(), m.Mean(), m.Covariance())
	_, err = gmm.FromJSON([]byte(`{"weights": [1], "means": [[0]], "covariances": [[[-1]]]}`))
	fmt.Println(err)
	// Output:
	// [0.25 0.75] [0.5] [[1.0625]]
	// covariance 0 of the mixture has eigenvalue -1: it must be positive semi-definite
}

// On a graph the same methods take batches: times [batch], points [batch, dim].
func ExampleMixture_Like() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	m := gmm.Paper()
	drift, err := CallOnce(b, func(t, x *Node) *Node { return m.Like(x).Drift(linear{}, t, x) },
		[]float64{0, 0.5}, [][]float64{{1, 2}, {1, 2}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.4f\n", drift.Value())
	fmt.Printf("%.4f %.4f\n", m.Drift(linear{}, 0, []float64{1, 2}), m.Drift(linear{}, 0.5, []float64{1, 2}))
	// Output:
	// [[-1.0000 -2.0000] [3.3234 2.6568]]
	// [-1.0000 -2.0000] [3.3234 2.6568]
}
