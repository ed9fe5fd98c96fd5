package steer_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// Posterior samples of a trained map, in one step, in several, or by the ODE of its diagonal: MFM-G's gradient is the derivative of its value with the noise held fast, both draw near the oracle's, and each evaluation counts.
func TestDrawsOfAMap(t *testing.T) {
	e, store, err := experiment.OpenGMM("../../data/weights/gmm-small")
	if err != nil {
		t.Fatal(err)
	}
	law, ip, r := e.Config.Mixture, e.Map.Interpolant, measured()
	const at, n, h = 0.5, 512, 1e-2
	x := states(law, ip, at, 6)
	want, _ := estimates(t, exact(t, law, ip, r), steer.FromMixture(law, ip), r.Reward(), at, x, 1)
	for _, draws := range []mfm.SamplerConfig{
		{Method: mfm.MapMethod, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 1, Power: 1}, Start: 0.01},
		{Method: mfm.MapMethod, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 3, Power: 1}, Start: 0.01},
		{Method: mfm.ODEMethod, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 6, Power: 1}, Start: 0.01},
	} {
		m, err := steer.FromMap(e.Map, store.Scope(train.WeightsScope), draws)
		if err != nil {
			t.Fatal(err)
		}
		exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, state, x *Node) []*Node {
			times := MulScalar(OnesLike(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1)), at)
			p := steer.Problem{Model: m, Reward: r.Reward(), Lambda: ScalarOne(x.Graph(), x.DType())}
			ledger := steer.NewLedger(x.Graph())
			got := steer.MFMG{Draws: steer.Draws{N: n}}.Estimate(p, &solver.RNG{State: state}, ledger, times, x, nil, true)
			return []*Node{got.Value, got.Gradient, ledger.Node()}
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
			return tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1]), tensors.MustCopyFlatData[int64](out[2])
		}
		values, gradients, counts := estimate(0, 0)
		for axis := range 2 {
			up, _, _ := estimate(axis, h)
			down, _, _ := estimate(axis, -h)
			for i := range x {
				got, quotient := float64(gradients[2*i+axis]), float64(up[i]-down[i])/(2*h)
				if math.Abs(got-quotient) > 0.01+0.01*math.Abs(quotient) {
					t.Errorf("%s in %d steps, state %d: gradient %g along axis %d, difference quotient %g", draws.Method, draws.Steps, i, got, axis, quotient)
				}
			}
		}
		for i, v := range values {
			if math.Abs(float64(v)-want[0][i]) > 0.15 {
				t.Errorf("%s in %d steps, state %d: value %.3f, exact %.3f", draws.Method, draws.Steps, i, v, want[0][i])
			}
		}
		if rows := int64(len(x) * n * draws.NFE()); counts[0] != rows || counts[1] != rows {
			t.Errorf("%s in %d steps: %d evaluations forward and %d backward are counted, want %d each", draws.Method, draws.Steps, counts[0], counts[1], rows)
		}
		exec.Finalize()
	}
}
