package mfm_test

import (
	"fmt"
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// A map with the error d = θ (1+s) (1, 2) in every row has the loss mean(w |d|²/2). Its derivative
// is mean(w |d|²)/θ, because the weight w = 1/(|d|²+c)^c counts as a constant.
func TestAdaptiveWeight(t *testing.T) {
	const rows, theta = 16, 0.7
	mixture := mfmtest.Gaussian(t)
	type testCase struct {
		loss         mfm.Loss
		power, floor float64
	}
	var cases []testCase
	for _, loss := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Semigroup} {
		for _, w := range [][2]float64{{0, 0.01}, {0.5, 0.01}, {1, 0.01}, {1, 2}, {2, 0.5}} {
			l := mfm.DefaultLoss()
			l.Consistency, l.Distillation, l.DiagonalShare = loss, mfm.Teacher, 0
			l.AdaptivePower, l.AdaptiveFloor = w[0], w[1]
			cases = append(cases, testCase{l, w[0], w[1]})
		}
	}
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(mfmtest.Interpreter(t), func(state, theta, data *Node) (out []*Node) {
		ip := interpolant.Linear{}
		for _, c := range cases {
			var s *Node
			backbone := func(scope *model.Scope, in nn.Inputs) *Node {
				exact := ZerosLike(in.Xbar) // the zero map is a semigroup
				if c.loss.Consistency == mfm.DiagonalOnly {
					drift := mfmtest.DriftOf(mixture, ip)
					exact = interpolant.ConditionalDrift(ip, drift, in.S, in.Xbar, in.T, in.X, nil)
				}
				if scope.Scope() != "/online" {
					return exact
				}
				s = in.S
				return Add(exact, Mul(Mul(theta, InsertAxes(OnePlus(s), -1)),
					Const(theta.Graph(), [][]float64{{1, 2}})))
			}
			m := &mfm.Map{Interpolant: ip, Backbone: backbone, Parametrization: mfm.Plain{}}
			store := model.NewStore()
			online, target := store.Scope("/online"), store.Scope("/target")
			teacher, rng := mfmtest.DriftOf(mixture, ip), &solver.RNG{State: state}
			terms := c.loss.Build(m, online, target, teacher, rng, mfm.Batch{Data: data})
			out = append(out, terms.Total, Gradient(terms.Total, theta)[0], Add(terms.Diagonal, terms.Consistency), s)
		}
		return out
	})
	defer exec.Finalize()
	out, err := exec.Call(state, theta, mfmtest.Points(mixture.Sample(mfmtest.NewRNG(1), rows)))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		var total, derivative, square float64
		for _, s := range tensors.MustCopyFlatData[float64](out[4*i+3]) {
			d := 5 * theta * theta * (1 + s) * (1 + s)
			w := math.Pow(d+c.floor, -c.power)
			total, derivative, square = total+w*d/2/rows, derivative+w*d/theta/rows, square+d/2/rows
		}
		var got []float64
		for _, x := range out[4*i : 4*i+3] {
			got = append(got, tensors.ToScalar[float64](x))
		}
		name := fmt.Sprintf("%s, p = %g, c = %g: total, derivative, mean square", c.loss.Consistency, c.power, c.floor)
		mfmtest.Near(t, name, got, []float64{total, derivative, square}, 1e-10)
	}
}
