package train

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// The orthogonalized matrix has the singular vectors of its argument and singular values near one,
// for any shape and scale.
func TestOrthogonalized(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, shape := range [][2]int{{5, 5}, {12, 4}, {4, 12}, {30, 20}} {
		rows, columns := shape[0], shape[1]
		values := make([]float64, rows*columns)
		for i := range values {
			values[i] = 1e-3 * rng.NormFloat64()
		}
		matrix := tensors.FromFlatDataAndDimensions(values, rows, columns)
		out, err := CallOnce(backendtest.New(t), orthogonalized, matrix)
		if err != nil {
			t.Fatal(err)
		}
		flat, err := tensors.CopyFlatData[float64](out)
		if err != nil {
			t.Fatal(err)
		}
		u, v := singularVectors(t, values, rows, columns)
		var left, core mat.Dense
		left.Mul(u.T(), mat.NewDense(rows, columns, flat))
		core.Mul(&left, v) // diagonal if the singular vectors are the same
		n := min(rows, columns)
		for i := range n {
			for j := range n {
				x := core.At(i, j)
				if i != j && (x < -1e-6 || x > 1e-6) {
					t.Fatalf("%v: entry (%d, %d) in the singular vectors is %g, not zero", shape, i, j, x)
				}
				if i == j && !(x > 0.3 && x < 1.3) {
					t.Errorf("%v: singular value %d became %g, want it near one", shape, i, x)
				}
			}
		}
	}
}

// A step for the loss tr(Gᵀ W) follows -U Vᵀ of G, with the root mean square of Adam's steps, 0.2
// of the rate.
func TestMuonStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const rows, columns, rate = 24, 8, 0.01
	gradient := make([]float64, rows*columns)
	for i := range gradient {
		gradient[i] = 50 * rng.NormFloat64()
	}
	o := DefaultOptimizer()
	o.Method = "muon"
	out, err := CallOnce(backendtest.New(t), func(grad *Node) *Node {
		zero, rate := ZerosLike(grad), Scalar(grad.Graph(), grad.DType(), rate)
		next, _, _ := o.update(biasCorrection{}, rate, zero, grad, zero, zero)
		return next
	}, tensors.FromFlatDataAndDimensions(gradient, rows, columns))
	if err != nil {
		t.Fatal(err)
	}
	step, err := tensors.CopyFlatData[float64](out)
	if err != nil {
		t.Fatal(err)
	}
	u, v := singularVectors(t, gradient, rows, columns)
	var direction mat.Dense
	direction.Mul(u, v.T())
	var along, square float64
	for i, x := range step {
		along -= x * direction.At(i/columns, i%columns)
		square += x * x
	}
	if cosine := along / math.Sqrt(square*columns); cosine < 0.97 {
		t.Errorf("the step's cosine with -U Vᵀ is %g, want near one", cosine)
	}
	if rms := math.Sqrt(square / (rows * columns)); rms < 0.7*0.2*rate || rms > 1.3*0.2*rate {
		t.Errorf("the step's root mean square is %g, want about %g", rms, 0.2*rate)
	}
}

// singularVectors returns U and V of the matrix U S Vᵀ with the given entries.
func singularVectors(t *testing.T, entries []float64, rows, columns int) (u, v *mat.Dense) {
	t.Helper()
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(rows, columns, entries), mat.SVDThin) {
		t.Fatal("no singular values")
	}
	u, v = new(mat.Dense), new(mat.Dense)
	svd.UTo(u)
	svd.VTo(v)
	return u, v
}
