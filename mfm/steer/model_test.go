package steer_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// With posterior samples of a trained map, in one step, in several, or by the ODE of its diagonal,
// the gradient of MFM-G is the derivative of its value for fixed noise, the value is near the exact
// one, and each evaluation is counted.
func TestPosteriorSamplesOfAMap(t *testing.T) {
	e, store, err := mixture.Open("../../data/weights/gmm-small")
	if err != nil {
		t.Fatal(err)
	}
	mixture, ip, r := e.Config.Mixture, e.Map.Interpolant, measured()
	const at, n, h = 0.5, 512, 1e-2
	x := states(mixture, ip, at, 6)
	want, _ := estimates(t, exact(t, mixture, ip, r), steer.FromMixture(mixture, ip), r.Reward(), at, x, 1)
	for _, sampler := range []mfm.SamplerConfig{
		{Method: mfm.MapSampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 1, Power: 1}, Start: 0.01},
		{Method: mfm.MapSampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 3, Power: 1}, Start: 0.01},
		{Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 6, Power: 1}, Start: 0.01},
	} {
		m, err := steer.FromMap(e.Model(store), sampler)
		if err != nil {
			t.Fatal(err)
		}
		exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, state, x *Node) []*Node {
			times := MulScalar(OnesLike(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1)), at)
			p := steer.Problem{Model: m, Reward: r.Reward(), Lambda: ScalarOne(x.Graph(), x.DType())}
			counter := steer.NewCounter(x.Graph())
			rng := &solver.RNG{State: state}
			g := steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n}}
			got := g.Estimate(p, rng, counter, times, x, nil, true)
			return []*Node{got.Value, got.Gradient, counter.Node()}
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := RNGStateFromSeed(3)
		if err != nil {
			t.Fatal(err)
		}
		estimate := func(axis int, by float32) (value, gradient []float32, counts []int64) {
			moved := make([][]float32, len(x))
			for i, p := range x {
				moved[i] = []float32{float32(p[0]), float32(p[1])}
				moved[i][axis] += by
			}
			out, err := exec.Call(state, moved)
			if err != nil {
				t.Fatal(err)
			}
			value, gradient = tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
			return value, gradient, tensors.MustCopyFlatData[int64](out[2])
		}
		values, gradients, counts := estimate(0, 0)
		for axis := range 2 {
			up, _, _ := estimate(axis, h)
			down, _, _ := estimate(axis, -h)
			for i := range x {
				got, quotient := float64(gradients[2*i+axis]), float64(up[i]-down[i])/(2*h)
				if math.Abs(got-quotient) > 0.01+0.01*math.Abs(quotient) {
					t.Errorf("%s in %d steps, state %d: gradient %g along axis %d, difference quotient %g",
						sampler.Method, sampler.Steps, i, got, axis, quotient)
				}
			}
		}
		for i, v := range values {
			if math.Abs(float64(v)-want[0][i]) > 0.15 {
				t.Errorf("%s in %d steps, state %d: value %.3f, exact %.3f",
					sampler.Method, sampler.Steps, i, v, want[0][i])
			}
		}
		if rows := int64(len(x) * n * sampler.NFE()); counts[0] != rows || counts[1] != rows {
			t.Errorf("%s in %d steps: %d forward and %d backward evaluations are counted, want %d each",
				sampler.Method, sampler.Steps, counts[0], counts[1], rows)
		}
		exec.Finalize()
	}
}
