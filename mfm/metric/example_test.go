package metric_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomfm/gomfm/mfm/metric"
)

// For a set shifted by (3, 4), the mean over the directions θ of (θ·(3, 4))² is 25/2.
func ExampleSlicedW2() {
	a := [][]float64{{0, 0}, {1, 0}, {0, 1}}
	b := [][]float64{{3, 4}, {4, 4}, {3, 5}}
	d, err := metric.SlicedW2(a, b, metric.Projections2D(256))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.4f, squared %.1f\n", d, d*d)
	// Output: 3.5355, squared 12.5
}

// A sampler with a standard deviation 5% too large barely exceeds the floor in distance, but shows
// clearly in the diversity.
func ExampleFloor() {
	draw := func(std float64) func(rng *rand.Rand) [][]float64 {
		return func(rng *rand.Rand) [][]float64 {
			samples := make([][]float64, 2000)
			for i := range samples {
				samples[i] = []float64{std * rng.NormFloat64(), std * rng.NormFloat64()}
			}
			return samples
		}
	}
	projections := metric.Projections2D(32)
	sw2 := func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) }
	rng := rand.New(rand.NewPCG(1, 2))
	floor, stdErr, err := metric.Floor(sw2, draw(1), rng, 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	samples := draw(1.05)(rng)
	d, err := sw2(samples, draw(1)(rng))
	if err != nil {
		fmt.Println(err)
		return
	}
	diversity, err := metric.Diversity(samples, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("floor %.2f ± %.3f, distance %.2f, excess %.2f, diversity %.2f\n",
		floor, stdErr, d, metric.Excess(d, floor, 1), diversity)
	// Output: floor 0.06 ± 0.002, distance 0.07, excess 0.04, diversity 1.05
}

func ExampleTotalVariation() {
	drawn, err := metric.Histogram([]int{0, 0, 1, 2}, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	exact := []float64{0.4, 0.3, 0.3}
	tv, err := metric.TotalVariation(drawn, exact)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v against %v: %.2f\n", drawn, exact, tv)
	// Output: [0.5 0.25 0.25] against [0.4 0.3 0.3]: 0.10
}
