package train

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Algorithm is the name of an optimization algorithm.
type Algorithm string

// The algorithms.
const (
	RAdam Algorithm = "radam" // Liu et al., arXiv 1908.03265
	Adam  Algorithm = "adam"  // Kingma and Ba, arXiv 1412.6980
	AdamW Algorithm = "adamw" // Loshchilov and Hutter, arXiv 1711.05101
	// Muon is orthogonalized momentum for matrices and kernels and Adam for the rest (Jordan et
	// al., kellerjordan.github.io/posts/muon, 2024), scaled as in arXiv 2502.16982, so that its
	// steps have the size of Adam's.
	Muon Algorithm = "muon"
)

// Optimizer configures an optimizer: a method of the Adam family or Muon, a learning-rate schedule,
// and gradient clipping.
type Optimizer struct {
	Method Algorithm `json:"method"`
	// Rate is the learning rate after warm-up, at most 10.
	Rate float64 `json:"rate"`
	// Warmup is the number of steps over which the rate grows linearly from zero.
	Warmup int `json:"warmup"`
	// Cosine decreases the rate from Rate to FinalShare times Rate along half a cosine that ends
	// with the last step.
	Cosine     bool    `json:"cosine"`
	FinalShare float64 `json:"final_share"`
	// Beta1, Beta2 and Epsilon are Adam's parameters.
	Beta1   float64 `json:"beta1"`
	Beta2   float64 `json:"beta2"`
	Epsilon float64 `json:"epsilon"`
	// WeightDecay is the decoupled decay per step of AdamW and Muon, relative to the rate.
	WeightDecay float64 `json:"weight_decay"`
	// Clip is the largest global norm of a gradient; larger gradients are scaled down to it. Zero
	// means no clipping.
	Clip float64 `json:"clip"`
}

// DefaultOptimizer returns RAdam with rate 1e-3, a warm-up of 100 steps, a cosine to zero and
// clipping at norm 1.
func DefaultOptimizer() Optimizer {
	return Optimizer{Method: RAdam, Rate: 1e-3, Warmup: 100, Cosine: true,
		Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Clip: 1}
}

// Validate returns an error that names the first value out of range.
func (o Optimizer) Validate() error {
	if !slices.Contains([]Algorithm{RAdam, Adam, AdamW, Muon}, o.Method) {
		return fmt.Errorf("optimizer %q is unknown: use %s, %s, %s or %s", o.Method, RAdam, Adam, AdamW, Muon)
	}
	for _, v := range []struct {
		name            string
		value, from, to float64
	}{
		{"rate", o.Rate, math.SmallestNonzeroFloat64, 10}, {"warmup", float64(o.Warmup), 0, math.MaxInt32},
		{"final_share", o.FinalShare, 0, 1}, {"beta1", o.Beta1, 0, 1 - 1e-9}, {"beta2", o.Beta2, 0, 1 - 1e-9},
		{"epsilon", o.Epsilon, 1e-30, 1}, {"weight_decay", o.WeightDecay, 0, 10}, {"clip", o.Clip, 0, math.MaxFloat32},
	} {
		if !(v.value >= v.from && v.value <= v.to) {
			return fmt.Errorf("optimizer: %s = %g: must lie in [%g, %g]", v.name, v.value, v.from, v.to)
		}
	}
	return nil
}

// rate returns the learning rate at step, a scalar that counts from 1, of total steps.
func (o Optimizer) rate(step *Node, total int64) *Node {
	rate := MulScalar(OnesLike(step), o.Rate)
	if o.Cosine {
		done := MinScalar(DivScalar(MinusOne(step), float64(max(total, 1))), 1)
		fall := MulScalar(OnePlus(Cos(MulScalar(done, math.Pi))), 0.5)
		rate = Mul(rate, AddScalar(MulScalar(fall, 1-o.FinalShare), o.FinalShare))
	}
	if o.Warmup > 0 {
		rate = Mul(rate, MinScalar(DivScalar(step, float64(o.Warmup)), 1))
	}
	return rate
}

// clip returns the factor by which a gradient of the given global norm is scaled.
func (o Optimizer) clip(norm *Node) *Node {
	if o.Clip == 0 {
		return OnesLike(norm)
	}
	return MinScalar(Div(Scalar(norm.Graph(), norm.DType(), o.Clip), AddScalar(norm, 1e-12)), 1)
}

// update returns the next parameter and moments.
func (o Optimizer) update(bias biasCorrection, rate, param, grad, m, v *Node) (nextParam, nextM, nextV *Node) {
	if o.Method == Muon && param.Rank() > 1 {
		return o.muon(rate, param, grad, m), Add(MulScalar(m, muonMomentum), grad), v
	}
	nextM = Add(MulScalar(m, o.Beta1), MulScalar(grad, 1-o.Beta1))
	nextV = Add(MulScalar(v, o.Beta2), MulScalar(Square(grad), 1-o.Beta2))
	adaptive := Div(Mul(nextM, bias.first), AddScalar(Sqrt(Mul(nextV, bias.second)), o.Epsilon))
	step := adaptive
	if o.Method == RAdam {
		step = Where(bias.rectified, Mul(adaptive, bias.rectification), Mul(nextM, bias.first))
	}
	if o.Method == AdamW {
		step = Add(step, MulScalar(param, o.WeightDecay))
	}
	return Sub(param, Mul(rate, step)), nextM, nextV
}

// biasCorrection holds the factors 1/(1-β^n) of Adam and the rectification of RAdam at step n,
// scalars.
type biasCorrection struct {
	first, second            *Node
	rectified, rectification *Node
}

func (o Optimizer) biasCorrection(step *Node) biasCorrection {
	g, dtype := step.Graph(), step.DType()
	// Compute β^n by its logarithm, and 1 - β^n by expm1, which is exact for β^n near one.
	logBeta := func(beta float64) *Node { return MulScalar(step, math.Log(beta)) }
	correction := func(beta float64) *Node {
		if beta == 0 {
			return OnesLike(step)
		}
		return Reciprocal(Neg(Expm1(logBeta(beta))))
	}
	b := biasCorrection{first: correction(o.Beta1), second: correction(o.Beta2)}
	rhoInf := 2/(1-o.Beta2) - 1
	power := ZerosLike(step)
	if o.Beta2 > 0 {
		power = Exp(logBeta(o.Beta2))
	}
	rho := Sub(Scalar(g, dtype, rhoInf), MulScalar(Mul(Mul(step, power), b.second), 2))
	b.rectified = GreaterThan(rho, Scalar(g, dtype, 5))
	safe := MaxScalar(rho, 5)
	ratio := Div(Mul(SubScalar(safe, 4), SubScalar(safe, 2)), safe)
	b.rectification = Sqrt(MulScalar(ratio, rhoInf/((rhoInf-4)*(rhoInf-2))))
	return b
}
