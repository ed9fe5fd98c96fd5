package solver_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// spiral is dx/ds = cos(s) x plus a rotation by a quarter turn per unit of time.
func spiral(s, x *Node) *Node {
	first, second := Slice(x, AxisRange(), AxisElem(0)), Slice(x, AxisRange(), AxisElem(1))
	turn := MulScalar(Concatenate([]*Node{Neg(second), first}, 1), math.Pi/2)
	return Add(Mul(InsertAxes(Cos(s), -1), x), turn)
}

// spiralAt is the solution of spiral from x at s = 0.
func spiralAt(s float64, x []float64) []float64 {
	sin, cos := math.Sincos(math.Pi / 2 * s)
	r := math.Exp(math.Sin(s))
	return []float64{r * (cos*x[0] - sin*x[1]), r * (sin*x[0] + cos*x[1])}
}

// With half the step the error decreases by 2 for Euler and by 4 for Heun.
func TestIntegrateOrder(t *testing.T) {
	x := []float64{0.8, -0.3}
	want := spiralAt(1, x)
	counts := []int{8, 16, 32, 64}
	for _, power := range []float64{1, 1.7} {
		for method, order := range map[solver.Scheme]float64{solver.Euler: 1, solver.Heun: 2} {
			got := mfmtest.EvaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) (out []*Node) {
				for _, n := range counts {
					times := interpolant.Grid{Steps: n, Power: power}.Times(0, 1)
					out = append(out, solver.Integrate(nil, method, times, spiral, in[0]))
				}
				return out
			}, mfmtest.Points([][]float64{x}))
			for i := 1; i < len(counts); i++ {
				coarse := math.Hypot(got[i-1][0]-want[0], got[i-1][1]-want[1])
				fine := math.Hypot(got[i][0]-want[0], got[i][1]-want[1])
				if measured := math.Log2(coarse / fine); math.Abs(measured-order) > 0.25 {
					t.Errorf("%s, power %g, %d steps: order %.2f, want %g", method, power, counts[i], measured, order)
				}
			}
		}
	}
}

// One step or none needs no loop, backward integration inverts forward, and an unknown solver is an
// error.
func TestIntegrateShort(t *testing.T) {
	x := []float64{0.8, -0.3}
	got := mfmtest.EvaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) []*Node {
		there := solver.Integrate(nil, solver.Heun, interpolant.Grid{Steps: 50, Power: 1}.Times(0, 1), spiral, in[0])
		return []*Node{
			solver.Integrate(nil, solver.Heun, []float64{0}, spiral, in[0]),
			solver.Integrate(nil, solver.Heun, []float64{0, 0.1}, spiral, in[0]),
			solver.Integrate(nil, solver.Euler, []float64{0, 0.1}, spiral, in[0]),
			solver.Integrate(nil, solver.Heun, interpolant.Grid{Steps: 50, Power: 1}.Times(1, 0), spiral, there),
		}
	}, mfmtest.Points([][]float64{x}))
	mfmtest.Near(t, "no step", got[0], x, 0)
	mfmtest.Near(t, "one step of Heun is one of Euler", got[1], got[2], 0)
	want := []float64{0.8 + 0.1*(0.8+0.3*math.Pi/2), -0.3 + 0.1*(-0.3+0.8*math.Pi/2)}
	mfmtest.Near(t, "one step", got[2], want, 1e-12)
	mfmtest.Near(t, "forward and back", got[3], x, 1e-3)

	exec := MustNewExec(backendtest.New(t), func(x *Node) *Node {
		return solver.Integrate(nil, "midpoint", []float64{0, 1}, spiral, x)
	})
	if _, err := exec.Call([][]float64{x}); err == nil || !strings.Contains(err.Error(), `"midpoint"`) {
		t.Errorf("error %v for an unknown solver, want one that names it", err)
	}
}

// A field may draw random numbers. Here the sum of n steps h of noise with variance 1/h has
// variance n h² · 1/h = 1.
func TestIntegrateRandomField(t *testing.T) {
	const steps, n = 16, 20000
	seed, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(backendtest.New(t), func(x, state *Node) []*Node {
		rng, byHand := &solver.RNG{State: state}, &solver.RNG{State: state}
		noise := func(_, x *Node) *Node { return MulScalar(rng.Normal(x.Shape()), math.Sqrt(steps)) }
		times := interpolant.Grid{Steps: steps, Power: 1}.Times(0, 1)
		integrated := solver.Integrate(rng, solver.Euler, times, noise, x)
		for range steps {
			byHand.Normal(x.Shape())
		}
		return []*Node{integrated, rng.Normal(x.Shape()), byHand.Normal(x.Shape())}
	})
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(make([]float64, n), n, 1), seed)
	if err != nil {
		t.Fatal(err)
	}
	samples := mfmtest.RowsOf(tensors.MustCopyFlatData[float64](out[0]), 1)
	mfmtest.HasMoments(t, "samples", samples, []float64{0}, [][]float64{{1}}, 0)
	if !out[1].Equal(out[2]) {
		t.Error("the generator does not continue from the state after the steps")
	}
}

// linearSDE returns the moments of the Euler-Maruyama chain for data from N(mean, variance), which
// is linear.
func linearSDE(ip interpolant.Schedule, times []float64, mean, variance float64) (m, v float64) {
	v = 1
	for k, t := range times[:len(times)-1] {
		h := times[k+1] - t
		alpha, beta, dAlpha, dBeta := ip.At(t)
		slope := (alpha*dAlpha + beta*dBeta*variance) / (alpha*alpha + beta*beta*variance)
		shift := mean * (dBeta - slope*beta)
		if inner := k > 0 && k < len(times)-2; inner {
			m += h * (2*(slope*m+shift) - dBeta/beta*m)
			v = v*math.Pow(1+h*(2*slope-dBeta/beta), 2) + 2*h*interpolant.HalfSquaredNoise(ip, t)
		} else {
			m += h * (slope*m + shift)
			v *= math.Pow(1+h*slope, 2)
		}
	}
	return m, v
}

// The samples of five steps have the moments of the chain; those of a long chain are the moments of
// the data.
func TestIntegrateSDE(t *testing.T) {
	const n, mean, variance = 20000, 0.8, 0.5
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		grid := func(steps int) []float64 {
			return append([]float64{0}, interpolant.Grid{Steps: steps, Power: 1}.Times(0.01, 1)...)
		}
		m, v := linearSDE(ip, grid(500), mean, variance)
		mfmtest.Near(t, fmt.Sprintf("%v: limit", ip), []float64{m, v}, []float64{mean, variance}, 0.01)

		drift := func(t, x *Node) *Node { // b_t(x) = β' m + (αα' + ββ' V)(α² + β² V)⁻¹ (x - β m)
			alpha, beta, dAlpha, dBeta := ip.Graph(InsertAxes(t, -1))
			marginal := Add(Square(alpha), MulScalar(Square(beta), variance))
			slope := Div(Add(Mul(alpha, dAlpha), MulScalar(Mul(beta, dBeta), variance)), marginal)
			return Add(MulScalar(dBeta, mean), Mul(slope, Sub(x, MulScalar(beta, mean))))
		}
		seed, err := RNGStateFromSeed(9)
		if err != nil {
			t.Fatal(err)
		}
		exec := MustNewExec(backendtest.New(t), func(state *Node) *Node {
			rng := &solver.RNG{State: state}
			return solver.IntegrateSDE(rng, ip, grid(4), drift, rng.Normal(shapes.Make(dtypes.Float64, n, 1)))
		})
		out, err := exec.Call(seed)
		if err != nil {
			t.Fatal(err)
		}
		m, v = linearSDE(ip, grid(4), mean, variance)
		samples := mfmtest.RowsOf(tensors.MustCopyFlatData[float64](out[0]), 1)
		mfmtest.HasMoments(t, fmt.Sprint(ip), samples, []float64{m}, [][]float64{{v}}, 0)
	}
}
