package mfm_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

func TestGrid(t *testing.T) {
	near(t, "uniform", mfm.Grid{Steps: 4, Power: 1}.Times(0, 1), []float64{0, 0.25, 0.5, 0.75, 1}, 1e-15)
	near(t, "square", mfm.Grid{Steps: 2, Power: 2}.Times(0.2, 1), []float64{0.2, 0.4, 1}, 1e-15)
	if times := (mfm.Grid{Steps: 7, Power: 0.3}).Times(0.01, 1); times[0] != 0.01 || times[7] != 1 {
		t.Errorf("the grid's ends are %g and %g", times[0], times[7])
	}
	for _, g := range []mfm.Grid{{Steps: 0, Power: 1}, {Steps: 1}, {Steps: 1, Power: math.NaN()}, {Steps: 1 << 30, Power: 1}} {
		if g.Validate() == nil {
			t.Errorf("grid %+v is taken", g)
		}
	}
}

// spiral is dx/ds = cos(s) x turned by a quarter every unit of time, and its solution from x at 0.
func spiral(s, x *Node) *Node {
	first, second := Slice(x, AxisRange(), AxisElem(0)), Slice(x, AxisRange(), AxisElem(1))
	turn := MulScalar(Concatenate([]*Node{Neg(second), first}, 1), math.Pi/2)
	return Add(Mul(InsertAxes(Cos(s), -1), x), turn)
}

func spiralAt(s float64, x []float64) []float64 {
	sin, cos := math.Sincos(math.Pi / 2 * s)
	r := math.Exp(math.Sin(s))
	return []float64{r * (cos*x[0] - sin*x[1]), r * (sin*x[0] + cos*x[1])}
}

// The error of a step halved falls by 2 for Euler, by 4 for Heun.
func TestIntegrateOrder(t *testing.T) {
	x := []float64{0.8, -0.3}
	want := spiralAt(1, x)
	counts := []int{8, 16, 32, 64}
	for _, power := range []float64{1, 1.7} {
		for solver, order := range map[mfm.Solver]float64{mfm.Euler: 1, mfm.Heun: 2} {
			got := evaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) (out []*Node) {
				for _, n := range counts {
					out = append(out, mfm.Integrate(nil, solver, mfm.Grid{Steps: n, Power: power}.Times(0, 1), spiral, in[0]))
				}
				return out
			}, points([][]float64{x}))
			for i := 1; i < len(counts); i++ {
				coarse := math.Hypot(got[i-1][0]-want[0], got[i-1][1]-want[1])
				fine := math.Hypot(got[i][0]-want[0], got[i][1]-want[1])
				if measured := math.Log2(coarse / fine); math.Abs(measured-order) > 0.25 {
					t.Errorf("%s, power %g, %d steps: order %.2f, want %g", solver, power, counts[i], measured, order)
				}
			}
		}
	}
}

// With one step or none there is no loop; backwards is as good as forwards; an unknown solver is refused.
func TestIntegrateShort(t *testing.T) {
	x := []float64{0.8, -0.3}
	got := evaluateOn(t, backendtest.New(t), dtypes.Float64, func(in []*Node) []*Node {
		there := mfm.Integrate(nil, mfm.Heun, mfm.Grid{Steps: 50, Power: 1}.Times(0, 1), spiral, in[0])
		return []*Node{
			mfm.Integrate(nil, mfm.Heun, []float64{0}, spiral, in[0]),
			mfm.Integrate(nil, mfm.Heun, []float64{0, 0.1}, spiral, in[0]),
			mfm.Integrate(nil, mfm.Euler, []float64{0, 0.1}, spiral, in[0]),
			mfm.Integrate(nil, mfm.Heun, mfm.Grid{Steps: 50, Power: 1}.Times(1, 0), spiral, there),
		}
	}, points([][]float64{x}))
	near(t, "no step", got[0], x, 0)
	near(t, "one step of Heun's is one of Euler's", got[1], got[2], 0)
	near(t, "one step", got[2], []float64{0.8 + 0.1*(0.8+0.3*math.Pi/2), -0.3 + 0.1*(-0.3+0.8*math.Pi/2)}, 1e-12)
	near(t, "there and back", got[3], x, 1e-3)

	exec := MustNewExec(backendtest.New(t), func(x *Node) *Node {
		return mfm.Integrate(nil, "midpoint", []float64{0, 1}, spiral, x)
	})
	if _, err := exec.Call([][]float64{x}); err == nil || !strings.Contains(err.Error(), `"midpoint"`) {
		t.Errorf("an unknown solver gives the error %v, which should name it", err)
	}
}

// A field may draw: here Brownian motion in disguise, whose variance after n steps of h is n h² · 1/h.
func TestIntegrateDraws(t *testing.T) {
	const steps, n = 16, 20000
	seed, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	exec := MustNewExec(backendtest.New(t), func(x, state *Node) []*Node {
		rng, byHand := &mfm.RNG{State: state}, &mfm.RNG{State: state}
		noise := func(_, x *Node) *Node { return MulScalar(rng.Normal(x.Shape()), math.Sqrt(steps)) }
		integrated := mfm.Integrate(rng, mfm.Euler, mfm.Grid{Steps: steps, Power: 1}.Times(0, 1), noise, x)
		for range steps {
			byHand.Normal(x.Shape())
		}
		return []*Node{integrated, rng.Normal(x.Shape()), byHand.Normal(x.Shape())}
	})
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(make([]float64, n), n, 1), seed)
	if err != nil {
		t.Fatal(err)
	}
	hasMoments(t, "draws", rowsOf(tensors.MustCopyFlatData[float64](out[0]), 1), []float64{0}, [][]float64{{1}}, 0)
	if !out[1].Equal(out[2]) {
		t.Error("the generator does not go on where the steps left it")
	}
}

// The exact posterior's flow, along the identity of GLASS and along the map's diagonal, carries a point to where the flow map says.
func TestFields(t *testing.T) {
	law := tilted(t)
	for _, ip := range append(builtIn(), late{}) {
		const n = 8
		c := situationsOf(law, ip, n)
		m := exactMap(t, law, ip)
		times := mfm.Grid{Steps: 25, Power: 1}.Times(0, 1)
		if ip == (mfm.VariancePreserving{}) {
			times = mfm.Grid{Steps: 25, Power: 0.6}.Times(0, 1) // its path ends in a square root
		}
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			at, eps, x := in[2], in[3], in[4]
			return []*Node{
				mfm.Integrate(nil, mfm.Heun, times, mfm.ConditionalField(ip, driftOf(law, ip), at, x, nil), eps),
				mfm.Integrate(nil, mfm.Heun, times, m.Field(weightless(), at, x, nil), eps),
				mfm.Integrate(nil, mfm.Heun, times, driftOf(law, ip).Field(nil), eps),
			}
		}, c.inputs()...)
		flow := func(at func(i int) float64) []float64 {
			return flatten(n, func(i int) []float64 {
				x, err := law.ConditionalFlowMap(ip, 0, 1, c.xbar[i], at(i), c.x[i])
				if err != nil {
					t.Fatal(err)
				}
				return x
			})
		}
		posterior := flow(func(i int) float64 { return c.t[i] })
		near(t, fmt.Sprintf("%v: GLASS", ip), got[0], posterior, 3e-2)
		near(t, fmt.Sprintf("%v: diagonal", ip), got[1], posterior, 3e-2)
		near(t, fmt.Sprintf("%v: unconditional", ip), got[2], flow(func(int) float64 { return 0 }), 3e-2)
	}
}

// The noise at which the drift of the SDE is 2b - (β'/β) x.
func TestHalfSquaredNoise(t *testing.T) {
	for _, at := range []float64{0.01, 0.3, 0.9} {
		for _, c := range []struct {
			ip   mfm.Interpolant
			want float64
		}{
			{mfm.Linear{}, (1 - at) / at},
			{mfm.Trigonometric{}, math.Pi / 2 / math.Tan(math.Pi/2*at)},
			{mfm.VariancePreserving{}, 1 / at},
		} {
			near(t, fmt.Sprintf("%v at %g", c.ip, at), []float64{mfm.HalfSquaredNoise(c.ip, at)}, []float64{c.want}, 1e-13)
		}
	}
}

// linearSDE is Euler and Maruyama's chain for data from N(mean, variance): it is linear, so its moments are known.
func linearSDE(ip mfm.Interpolant, times []float64, mean, variance float64) (m, v float64) {
	v = 1
	for k, t := range times[:len(times)-1] {
		h := times[k+1] - t
		alpha, beta, dAlpha, dBeta := ip.At(t)
		slope := (alpha*dAlpha + beta*dBeta*variance) / (alpha*alpha + beta*beta*variance)
		shift := mean * (dBeta - slope*beta)
		if inner := k > 0 && k < len(times)-2; inner {
			m += h * (2*(slope*m+shift) - dBeta/beta*m)
			v = v*math.Pow(1+h*(2*slope-dBeta/beta), 2) + 2*h*mfm.HalfSquaredNoise(ip, t)
		} else {
			m += h * (slope*m + shift)
			v *= math.Pow(1+h*slope, 2)
		}
	}
	return m, v
}

// The samples of five steps have the chain's moments; those of the chain with many are the data's.
func TestIntegrateSDE(t *testing.T) {
	const n, mean, variance = 20000, 0.8, 0.5
	for _, ip := range append(builtIn(), late{}) {
		grid := func(steps int) []float64 {
			return append([]float64{0}, mfm.Grid{Steps: steps, Power: 1}.Times(0.01, 1)...)
		}
		m, v := linearSDE(ip, grid(500), mean, variance)
		near(t, fmt.Sprintf("%v: limit", ip), []float64{m, v}, []float64{mean, variance}, 0.01)

		drift := func(t, x *Node) *Node { // b_t(x) = β' m + (αα' + ββ' V)(α² + β² V)⁻¹ (x - β m)
			alpha, beta, dAlpha, dBeta := ip.Graph(InsertAxes(t, -1))
			slope := Div(Add(Mul(alpha, dAlpha), MulScalar(Mul(beta, dBeta), variance)), Add(Square(alpha), MulScalar(Square(beta), variance)))
			return Add(MulScalar(dBeta, mean), Mul(slope, Sub(x, MulScalar(beta, mean))))
		}
		seed, err := RNGStateFromSeed(9)
		if err != nil {
			t.Fatal(err)
		}
		exec := MustNewExec(backendtest.New(t), func(state *Node) *Node {
			rng := &mfm.RNG{State: state}
			return mfm.IntegrateSDE(rng, ip, grid(4), drift, rng.Normal(shapes.Make(dtypes.Float64, n, 1)))
		})
		out, err := exec.Call(seed)
		if err != nil {
			t.Fatal(err)
		}
		m, v = linearSDE(ip, grid(4), mean, variance)
		hasMoments(t, fmt.Sprint(ip), rowsOf(tensors.MustCopyFlatData[float64](out[0]), 1), []float64{m}, [][]float64{{v}}, 0)
	}
}
