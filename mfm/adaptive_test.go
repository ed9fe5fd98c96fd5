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

// A map whose error is d = θ (1+s) (1, 2) in every row has the loss mean(w |d|²/2) and, the weight w = 1/(|d|²+c)^p being a constant, the derivative
// mean(w |d|²)/θ.
func TestAdaptiveWeight(t *testing.T) {
	const rows, theta = 16, 0.7
	law := mfmtest.Tilted(t)
	type problem struct {
		loss         mfm.Loss
		power, floor float64
	}
	var problems []problem
	for _, c := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Semigroup} {
		for _, w := range [][2]float64{{0, 0.01}, {0.5, 0.01}, {1, 0.01}, {1, 2}, {2, 0.5}} {
			l := mfm.DefaultLoss()
			l.Consistency, l.Distillation, l.DiagonalShare = c, mfm.Teacher, 0
			l.AdaptivePower, l.AdaptiveFloor = w[0], w[1]
			problems = append(problems, problem{l, w[0], w[1]})
		}
	}
	state, err := RNGStateFromSeed(1)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(mfmtest.Interpreter(t), func(state, theta, data *Node) (out []*Node) {
		ip := interpolant.Linear{}
		for _, p := range problems {
			var s *Node
			backbone := func(scope *model.Scope, in nn.Inputs) *Node {
				exact := ZerosLike(in.Xbar) // the zero map is a semigroup
				if p.loss.Consistency == mfm.DiagonalOnly {
					exact = interpolant.ConditionalDrift(ip, mfmtest.DriftOf(law, ip), in.S, in.Xbar, in.T, in.X, nil)
				}
				if scope.Scope() != "/online" {
					return exact
				}
				s = in.S
				return Add(exact, Mul(Mul(theta, InsertAxes(OnePlus(s), -1)), Const(theta.Graph(), [][]float64{{1, 2}})))
			}
			m := &mfm.Map{Interpolant: ip, Backbone: backbone, Parametrization: mfm.Plain{}}
			store := model.NewStore()
			terms := p.loss.Build(m, store.Scope("/online"), store.Scope("/target"), mfmtest.DriftOf(law, ip), &solver.RNG{State: state}, mfm.Batch{Data: data})
			out = append(out, terms.Total, Gradient(terms.Total, theta)[0], Add(terms.Diagonal, terms.Consistency), s)
		}
		return out
	})
	defer exec.Finalize()
	out, err := exec.Call(state, theta, mfmtest.Points(law.Sample(mfmtest.NewRNG(1), rows)))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range problems {
		var total, derivative, square float64
		for _, s := range tensors.MustCopyFlatData[float64](out[4*i+3]) {
			d := 5 * theta * theta * (1 + s) * (1 + s)
			w := math.Pow(d+p.floor, -p.power)
			total, derivative, square = total+w*d/2/rows, derivative+w*d/theta/rows, square+d/2/rows
		}
		got := []float64{tensors.ToScalar[float64](out[4*i]), tensors.ToScalar[float64](out[4*i+1]), tensors.ToScalar[float64](out[4*i+2])}
		mfmtest.Near(t, fmt.Sprintf("%s, p = %g, c = %g: total, derivative, mean square", p.loss.Consistency, p.power, p.floor), got, []float64{total, derivative, square}, 1e-10)
	}
}
