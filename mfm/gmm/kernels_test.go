package gmm_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/solver"
)

// A kernel density estimate has the drift of the mixture of Gaussians that it is, for all points
// and for those of a class, and its posterior samples have that mixture's moments.
func TestKernelsAgainstMixture(t *testing.T) {
	const n, dim, classes = 12, 3, 2
	rng := newRNG(5)
	variance := []float64{0.04, 0.09, 0.25}
	covariance := [][]float64{{0.04, 0, 0}, {0, 0.09, 0}, {0, 0, 0.25}}
	var data [classes + 1][][]float64 // by class, the last one has all
	var labels []int32
	for i := range n {
		y := noise(rng, dim)
		class := i * i % 3 % classes
		labels = append(labels, int32(class))
		data[class], data[classes] = append(data[class], y), append(data[classes], y)
	}
	state, err := RNGStateFromSeed(3)
	if err != nil {
		t.Fatal(err)
	}
	for name, sched := range schedules {
		var times []float64
		var x [][]float64
		var class []int32
		for _, time := range []float64{0, 0.3, 0.8, 1} {
			for c := range classes + 1 {
				times, x, class = append(times, time), append(x, noise(rng, dim)), append(class, int32(c))
			}
		}
		const draws = 20_000
		out, err := CallOnceN(backendtest.New(t), func(points, v, t, x, class, state *Node) []*Node {
			k := gmm.Kernels{Data: points, Variance: v, Labels: Const(t.Graph(), labels), Classes: classes}
			all := func(v *Node) *Node { // each row draws times
				v = BroadcastToDims(InsertAxes(v, 1), append([]int{v.Shape().Dim(0), draws}, v.Shape().Dimensions[1:]...)...)
				return Reshape(v, append([]int{-1}, v.Shape().Dimensions[2:]...)...)
			}
			r := &solver.RNG{State: state}
			samples := Reshape(k.Sample(r, sched, all(t), all(x), all(class)), -1, draws, dim)
			mean := ReduceMean(samples, 1)
			squares := Square(Sub(samples, InsertAxes(mean, 1)))
			return []*Node{
				k.Drift(sched, t, x, class), mean, ReduceMean(squares, 1), ReduceVariance(squares, 1),
				Sub(k.Drift(sched, t, x, nil), k.Drift(sched, t, x, AddScalar(ZerosLike(class), classes))),
			}
		}, table(dtypes.Float64, data[classes]), table(dtypes.Float64, [][]float64{variance}), column(dtypes.Float64, times),
			table(dtypes.Float64, x), tensors.FromValue(class), state)
		if err != nil {
			t.Fatal(err)
		}
		for i, y := range x {
			points := data[class[i]]
			weights, covariances := make([]float64, len(points)), make([][][]float64, len(points))
			for j := range points {
				weights[j], covariances[j] = 1/float64(len(points)), covariance
			}
			m, err := gmm.New(weights, points, covariances)
			if err != nil {
				t.Fatal(err)
			}
			near(t, name+" drift", values(out[0], dim)[i], m.Drift(sched, times[i], y), 1e-9)
			near(t, name+" drift without class", values(out[4], dim)[i], []float64{0, 0, 0}, 0)
			posterior := m.Posterior(sched, times[i], y)
			mean, cov := posterior.Mean(), posterior.Covariance()
			for d := range dim {
				se := math.Sqrt(cov[d][d] / draws)
				if got := values(out[1], dim)[i][d]; math.Abs(got-mean[d]) > 5*se+1e-9 {
					t.Errorf("%s, t = %g: posterior mean %g, want %g ± %g", name, times[i], got, mean[d], se)
				}
				se = math.Sqrt(values(out[3], dim)[i][d] / draws)
				if got := values(out[2], dim)[i][d]; math.Abs(got-cov[d][d]) > 5*se+1e-9 {
					t.Errorf("%s, t = %g: posterior variance %g, want %g ± %g", name, times[i], got, cov[d][d], se)
				}
			}
		}
	}
}
