package ad_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// function is a function to differentiate, with float64 inputs and outputs.
type function struct {
	name   string
	inputs []in
	f      func(x []*Node) []*Node

	goCrashes      string // why the pure-Go backend crashes on it
	noReverseOnGo  string // why reverse mode fails on the pure-Go backend
	noReverse      bool   // GoMLX cannot differentiate it in reverse mode
	noReverseInJVP bool   // GoMLX cannot differentiate the ops of its tangent either
}

func pureGo(t *testing.T) bool { return backendtest.New(t).Name() == "Go Backend" }

func (f function) hasReverse(t *testing.T) bool { return f.hasReverseInJVP(t) && !f.noReverse }

func (f function) hasReverseInJVP(t *testing.T) bool {
	return !f.noReverseInJVP && !(f.noReverseOnGo != "" && pureGo(t))
}

// in is an input with the given dimensions, uniform in [low, high].
type in struct {
	low, high float64
	dims      []int
}

func uniform(low, high float64, dims ...int) in { return in{low, high, dims} }

func symmetric(dims ...int) in { return in{-1.5, 1.5, dims} }

func (x in) size() int {
	n := 1
	for _, d := range x.dims {
		n *= d
	}
	return n
}

// directions returns inputs with the shapes of the given ones and entries in [-1, 1].
func directions(inputs []in) []in {
	ds := make([]in, len(inputs))
	for i, x := range inputs {
		ds[i] = uniform(-1, 1, x.dims...)
	}
	return ds
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(20260131, 14430)) }

// point holds the values of each input.
type point [][]float64

func draw(inputs []in, rng *rand.Rand) point {
	p := make(point, len(inputs))
	for i, x := range inputs {
		p[i] = make([]float64, x.size())
		for j := range p[i] {
			p[i][j] = x.low + (x.high-x.low)*rng.Float64()
		}
	}
	return p
}

// plus returns p + h q.
func (p point) plus(h float64, q point) point {
	sum := make(point, len(p))
	for i := range p {
		sum[i] = slices.Clone(p[i])
		for j := range p[i] {
			sum[i][j] += h * q[i][j]
		}
	}
	return sum
}

func (p point) tensors(inputs []in) []any {
	args := make([]any, len(p))
	for i := range p {
		args[i] = tensors.FromFlatDataAndDimensions(p[i], inputs[i].dims...)
	}
	return args
}

// step is the step of the fourth-order central differences. For functions of unit scale their error
// is about 1e-10, from the rounding of the values.
const step = 1e-5

// line holds the outputs of a graph at four points of a line through x.
type line [4][][]float64

func (l line) slope(f func(at [][]float64) float64) float64 {
	return (f(l[0]) - 8*f(l[1]) + 8*f(l[2]) - f(l[3])) / (12 * step)
}

// check tests the derivatives of each function, in a subtest of its name, at a random point along a
// random direction. All functions share one graph, which compiles far faster than many graphs. For
// y = f(x) with tangent ẏ = J ẋ and fixed weights w, it compares
//
//   - ẏ with central differences of f and, for two or three inputs, with the sum of the tangents
//     of single inputs, where the other tangents are nil;
//   - <w, ẏ> with <Jᵀw, ẋ>, where graph.Gradient computes Jᵀw;
//   - the gradient of the loss <w, ẏ> + |ẏ|²/2 in x and in ẋ with central differences of the loss.
func check(t *testing.T, functions []function) {
	t.Helper()
	var checks []*checked
	var all []in
	for _, f := range functions {
		if err := f.buildable(t); err != nil {
			t.Run(f.name, func(t *testing.T) { t.Skipf("not on this backend: %v", err) })
			continue
		}
		checks = append(checks, &checked{function: f, first: len(all)})
		all = append(all, f.inputs...)
	}
	k := len(all)
	graph := func(_ *model.Scope, x []*Node) (outputs []*Node) {
		for _, c := range checks {
			outputs = c.build(t, x[:k], x[k:], outputs)
		}
		return outputs
	}
	exec := model.MustNewExec(backendtest.New(t), model.NewStore(), graph)
	defer exec.Finalize()

	rng := newRand()
	variables := append(slices.Clone(all), directions(all)...)
	x, u := draw(variables, rng), draw(directions(variables), rng)
	along := make(point, len(x)) // the direction ẋ in x, zero in ẋ
	for i := range x {
		along[i] = make([]float64, len(x[i]))
		if i < k {
			along[i] = x[k+i]
		}
	}
	at := func(p point) [][]float64 {
		outputs, err := exec.Call(p.tensors(variables)...)
		if err != nil {
			t.Fatal(err)
		}
		values := make([][]float64, len(outputs))
		for i, y := range outputs {
			values[i] = tensors.MustCopyFlatData[float64](y)
		}
		return values
	}
	here := at(x)
	through := func(direction point) (l line) {
		for i, h := range []float64{-2, -1, 1, 2} {
			l[i] = at(x.plus(h*step, direction))
		}
		return l
	}
	alongX, alongAll := through(along), through(u)
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			c.checkTangents(t, here, alongX)
			c.checkDuality(t, here)
			c.checkGradient(t, here, alongAll, u, k)
		})
	}
}

// checked is a function and the indices of its results among the outputs of the graph.
type checked struct {
	function
	first                   int // index of its first input
	values, tangents, alone []int
	dual, slopes            int
}

// buildable returns an error if the backend lacks an op of f itself.
func (f function) buildable(t *testing.T) error {
	if f.goCrashes != "" && pureGo(t) {
		return errors.New(f.goCrashes)
	}
	g := NewGraph(backendtest.New(t), f.name)
	defer g.Finalize()
	model.SetStore(g, model.NewStore())
	x := make([]*Node, len(f.inputs))
	for i := range x {
		x[i] = Parameter(g, "", shapes.Make(dtypes.Float64, f.inputs[i].dims...))
	}
	err := exceptions.TryCatch[error](func() { f.f(x) })
	if err != nil && !errors.Is(err, compute.ErrNotImplemented) {
		t.Fatalf("%s: %v", f.name, err)
	}
	return err
}

func (c *checked) build(t *testing.T, allX, allV, outputs []*Node) []*Node {
	emit := func(n *Node) int {
		outputs = append(outputs, n)
		return len(outputs) - 1
	}
	k := len(c.inputs)
	x, v := allX[c.first:c.first+k], allV[c.first:c.first+k]
	err := exceptions.TryCatch[error](func() {
		ys := c.f(x)
		tangents := ad.JVP(ys, x, v)
		w := weights(ys)
		for i, y := range ys {
			c.values = append(c.values, emit(y))
			c.tangents = append(c.tangents, emit(tangents[i]))
			if k == 2 || k == 3 {
				c.alone = append(c.alone, emit(sumOfSingle(y, x, v)))
			}
		}
		if c.hasReverse(t) {
			c.dual = emit(inner(Gradient(inner(w, ys), x...), v))
		}
		if c.hasReverseInJVP(t) {
			loss := Add(inner(w, tangents), MulScalar(inner(tangents, tangents), 0.5))
			c.slopes = len(outputs)
			for _, slope := range Gradient(loss, slices.Concat(x, v)...) {
				emit(slope)
			}
		}
	})
	if err != nil {
		t.Fatalf("%s: %+v", c.name, err)
	}
	return outputs
}

// sumOfSingle returns the sum of y's tangents along single inputs, the other tangents being nil.
func sumOfSingle(y *Node, x, v []*Node) *Node {
	sum := ZerosLike(y)
	for i := range x {
		tangents := make([]*Node, len(x))
		tangents[i] = v[i]
		tangent := ad.JVP([]*Node{y}, x, tangents)[0]
		if !tangent.Shape().Equal(y.Shape()) {
			exceptions.Panicf("tangent is %s, output %s", tangent.Shape(), y.Shape())
		}
		sum = Add(sum, tangent)
	}
	return sum
}

func (c *checked) checkTangents(t *testing.T, here [][]float64, along line) {
	for i, y := range c.values {
		for j := range here[y] {
			got := here[c.tangents[i]][j]
			if want := along.slope(func(at [][]float64) float64 { return at[y][j] }); !near(got, want, 1e-7) {
				t.Errorf("tangent of output %d, element %d: %.10g, central difference %.10g", i, j, got, want)
			}
			if len(c.alone) > 0 && !near(got, here[c.alone[i]][j], 1e-12) {
				t.Errorf("tangent of output %d, element %d: %.10g, sum over single inputs %.10g",
					i, j, got, here[c.alone[i]][j])
			}
		}
	}
}

func (c *checked) checkDuality(t *testing.T, here [][]float64) {
	if !c.hasReverse(t) {
		return
	}
	var forward float64
	for i, y := range c.tangents {
		forward += dot(here[y], hostWeights(i, len(here[y])))
	}
	if reverse := here[c.dual][0]; !near(forward, reverse, 1e-10) {
		t.Errorf("<w, Jv> = %.12g, <Jᵀw, v> = %.12g", forward, reverse)
	}
}

func (c *checked) checkGradient(t *testing.T, here [][]float64, along line, u point, k int) {
	if !c.hasReverseInJVP(t) {
		return
	}
	var got float64
	for i := range c.inputs {
		got += dot(here[c.slopes+i], u[c.first+i]) + dot(here[c.slopes+len(c.inputs)+i], u[k+c.first+i])
	}
	if want := along.slope(c.loss); !near(got, want, 1e-6) {
		t.Errorf("slope of a loss of tangents: gradient %.10g, central difference %.10g", got, want)
	}
}

func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*(1+math.Abs(a)+math.Abs(b))
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func (c *checked) loss(at [][]float64) (sum float64) {
	for i, y := range c.tangents {
		sum += dot(at[y], hostWeights(i, len(at[y]))) + dot(at[y], at[y])/2
	}
	return sum
}

// weights returns fixed weights for the outputs, all different.
func weights(ys []*Node) []*Node {
	ws := make([]*Node, len(ys))
	for i, y := range ys {
		w := tensors.FromFlatDataAndDimensions(hostWeights(i, y.Shape().Size()), y.Shape().Dimensions...)
		ws[i] = ConstTensor(y.Graph(), w)
	}
	return ws
}

func hostWeights(output, size int) []float64 {
	w := make([]float64, size)
	for j := range w {
		w[j] = math.Sin(float64(1 + output + j))
	}
	return w
}

func inner(a, b []*Node) *Node {
	var sum *Node
	for i := range a {
		if term := ReduceAllSum(Mul(a[i], b[i])); sum == nil {
			sum = term
		} else {
			sum = Add(sum, term)
		}
	}
	return sum
}
