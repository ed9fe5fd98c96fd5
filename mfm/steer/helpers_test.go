package steer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// measured is the reward of the paper's mixture, but wider, so few samples suffice to show its
// target.
func measured() reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: 0.8}
}

// tilt returns the mixture tilted by a reward, and log Z.
func tilt(t testing.TB, mixture *gmm.Mixture, r reward.LinearGaussian) (*gmm.Mixture, float64) {
	t.Helper()
	target, logZ, err := mixture.Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		t.Fatal(err)
	}
	return target, logZ
}

// exact returns the value in closed form.
func exact(t testing.TB, mixture *gmm.Mixture, ip interpolant.Schedule, r reward.LinearGaussian) steer.Exact {
	t.Helper()
	target, logZ := tilt(t, mixture, r)
	return steer.FromTilt(mixture, target, logZ, ip)
}

func newSteerer(t testing.TB, m steer.Model, r reward.Reward, method steer.Method) *steer.Steerer {
	t.Helper()
	s, err := steer.New(backendtest.New(t), m, r, method)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Finalize)
	return s
}

func sample(t testing.TB, s *steer.Steerer, seed int64, n int) *steer.Result {
	t.Helper()
	r, err := s.Sample(t.Context(), seed, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// estimates repeats an estimate of value and gradient at time at and states x: float64 [repeats][n]
// and [repeats][n·2].
func estimates(
	t testing.TB, e steer.Estimator, m steer.Model, r reward.Reward, at float64, x [][]float64, repeats int,
) (values, gradients [][]float64) {
	t.Helper()
	exec, err := NewExec(backendtest.New(t), func(state, x *Node) []*Node {
		rng := &solver.RNG{State: state}
		times := AddScalar(MulScalar(Slice(x, AxisRange(), AxisElem(0)), 0), at)
		times = Reshape(times, -1)
		p := steer.Problem{Model: m, Reward: r, Lambda: ScalarOne(x.Graph(), x.DType())}
		got := e.Estimate(p, rng, steer.NewCounter(x.Graph()), times, x, m.Drift(times, x, nil), true)
		return []*Node{got.Value, got.Gradient, rng.State}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(7)
	if err != nil {
		t.Fatal(err)
	}
	for range repeats {
		out, err := exec.Call(state, x)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, tensors.MustCopyFlatData[float64](out[0]))
		gradients = append(gradients, tensors.MustCopyFlatData[float64](out[1]))
		state = out[2]
	}
	return values, gradients
}

// meanSE returns the mean over the repeats of element i, and its standard error.
func meanSE(runs [][]float64, i int) (mean, se float64) {
	n := float64(len(runs))
	for _, r := range runs {
		mean += r[i] / n
	}
	for _, r := range runs {
		se += (r[i] - mean) * (r[i] - mean)
	}
	return mean, math.Sqrt(se / (n * max(n-1, 1)))
}

// states returns n points I_t, with I_1 from the mixture.
func states(mixture *gmm.Mixture, ip interpolant.Schedule, at float64, n int) [][]float64 {
	rng := rand.New(rand.NewPCG(3, 4))
	alpha, beta, _, _ := ip.At(at)
	x := mixture.Sample(rng, n)
	for _, p := range x {
		for j := range p {
			p[j] = beta*p[j] + alpha*rng.NormFloat64()
		}
	}
	return x
}
