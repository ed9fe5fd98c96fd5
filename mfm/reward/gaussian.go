package reward

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// LinearGaussian is the log-likelihood of measurements y = A x + σ noise, without its constant:
//
//	r(x) = -|y - A x|²/(2 σ²).
//
// For data from a Gaussian mixture, value, steered drift and target then have closed forms. A is
// [m][dim], y is [m], and σ > 0.
type LinearGaussian struct {
	A     [][]float64 `json:"a"`
	Y     []float64   `json:"y"`
	Sigma float64     `json:"sigma"`
}

// Validate returns an error that names the first invalid value.
func (l LinearGaussian) Validate() error {
	if len(l.A) == 0 || len(l.A[0]) == 0 || len(l.A) != len(l.Y) {
		return invalid("linear_gaussian", "%d rows of a, %d measurements y: want equal numbers, no empty row",
			len(l.A), len(l.Y))
	}
	for i, row := range l.A {
		if len(row) != len(l.A[0]) {
			return invalid("linear_gaussian", "row %d of a has %d entries, row 0 %d", i, len(row), len(l.A[0]))
		}
		if err := holds("linear_gaussian", fmt.Sprintf("a[%d]", i), row); err != nil {
			return err
		}
	}
	if err := holds("linear_gaussian", "y", l.Y); err != nil {
		return err
	}
	return positive("linear_gaussian", "sigma", l.Sigma)
}

// Reward returns r as a graph function. It panics with Validate's error.
func (l LinearGaussian) Reward() Reward {
	if err := l.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		x = vectors("linear_gaussian", x, len(l.A[0]))
		g, dtype := x.Graph(), x.DType()
		residual := Sub(Einsum("bi,mi->bm", x, ConstAsDType(g, dtype, l.A)), ConstAsDType(g, dtype, [][]float64{l.Y}))
		return MulScalar(ReduceSum(Square(residual), 1), -0.5/(l.Sigma*l.Sigma))
	})
}

// At returns r at one point x, [dim].
func (l LinearGaussian) At(x []float64) float64 {
	sum := 0.0
	for i, row := range l.A {
		residual := -l.Y[i]
		for j, a := range row {
			residual += a * x[j]
		}
		sum += residual * residual
	}
	return -sum / (2 * l.Sigma * l.Sigma)
}

// Quadratic is r(x) = -½ Σ_j w_j (x_j - c_j)². Positive weights prefer points near c, negative ones
// points far from it; the target then exists only if the data distribution decays faster. Weight
// and Center have one number per element, or one for all.
type Quadratic struct {
	Center []float64 `json:"center"`
	Weight []float64 `json:"weight"`
}

// Validate returns an error that names the first invalid value.
func (q Quadratic) Validate() error {
	for _, v := range []struct {
		name   string
		values []float64
	}{{"center", q.Center}, {"weight", q.Weight}} {
		if len(v.values) == 0 {
			return invalid("quadratic", "no %s: give one number, or one per element", v.name)
		}
		if err := holds("quadratic", v.name, v.values); err != nil {
			return err
		}
	}
	return nil
}

// Reward returns r as a graph function. It panics with Validate's error.
func (q Quadratic) Reward() Reward {
	if err := q.Validate(); err != nil {
		panic(err)
	}
	return Func(func(x *Node) *Node {
		x = flat(x)
		square := Square(Sub(x, elements("quadratic: center", x, q.Center)))
		return MulScalar(ReduceSum(Mul(square, elements("quadratic: weight", x, q.Weight)), 1), -0.5)
	})
}

// elements returns values as [1, dim], or [1, 1] if there is one for all elements. It panics if
// there are neither one nor dim values.
func elements(name string, x *Node, values []float64) *Node {
	if len(values) != 1 {
		vectors(name, x, len(values))
	}
	return ConstAsDType(x.Graph(), x.DType(), [][]float64{values})
}
