package mfm

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/nn"
)

// EnergyScore has the options of the loss [Energy], the energy score of the map's own posterior
// samples X_j = X_{0,1}(ε_j; t, x) against the data I_1 (Distributional Diffusion Models, arXiv
// 2502.02483 and 2609.37147),
//
//	L = (1/m) Σ_j |X_j - I_1|^β - 1/(2m(m-1)) Σ_{j≠k} |X_j - X_k|^β,
//
// an unbiased estimate of E|X - I_1|^β - E|X - X'|^β/2 for each context (t, x). For β in (0, 2) it
// is least if and only if X has the distribution of the posterior. It needs no teacher, no
// derivative of the map and no other weights: m evaluations with a gradient for each row.
//
// |.| is the root mean square over the elements of the whitened difference, see
// [Parametrization].Whiten at s = 0, which does not move the minimum. With [Gaussian] the loss is of
// order one except near t = 1; with [Plain] it falls with the posterior's standard deviation, and
// contexts near the data have little weight. There is no adaptive weight, and a teacher, the warm-up
// of gaps and the sampling of s and u act on a diagonal share alone. The second paper varies β and
// the weight of the second term with t, and takes |.| of each pixel; neither is done here.
//
// The score trains X_{0,1} alone. Samples in several steps of the map need another loss; the drift,
// and samples by the ODE, need a diagonal share above 0.
type EnergyScore struct {
	// Particles is m, in [2, 16]. 0 means 2.
	Particles int `json:"particles"`
	// Exponent is β, in [0.1, 1.9]. 0 means 1.
	Exponent float64 `json:"exponent"`
}

// Validate returns an error that names the first value out of range.
func (s EnergyScore) Validate() error {
	if s.Particles != 0 && (s.Particles < 2 || s.Particles > 16) {
		return fmt.Errorf("energy: particles = %d: must lie in [2, 16], or be 0 for 2", s.Particles)
	}
	if s.Exponent != 0 && !(s.Exponent >= 0.1 && s.Exponent <= 1.9) {
		return fmt.Errorf("energy: exponent = %g: must lie in [0.1, 1.9], or be 0 for 1", s.Exponent)
	}
	return nil
}

// withDefaults replaces zeros by what they mean.
func (s EnergyScore) withDefaults() EnergyScore {
	if s.Particles == 0 {
		s.Particles = 2
	}
	if s.Exponent == 0 {
		s.Exponent = 1
	}
	return s
}

// energyScore scores one-step samples of the online weights.
func (e *lossEvaluation) energyScore() Terms {
	if e.offDiagonal.empty() {
		return e.diagonalOnly()
	}
	o, r := e.Energy.withDefaults(), e.offDiagonal
	in := nn.Inputs{T: batch.Repeat(r.T, o.Particles), X: batch.Repeat(r.X, o.Particles)}
	if r.Class != nil {
		in.Class = batch.Repeat(r.Class, o.Particles)
	}
	in.S, in.U, in.Xbar = ZerosLike(in.T), OnesLike(in.T), e.rng.Normal(in.X.Shape())
	rows := r.T.Shape().Dim(0)
	grouped := append([]int{rows, o.Particles}, r.X.Shape().Dimensions[1:]...)
	samples := Reshape(e.m.Flow(e.online, in), grouped...)
	particle := func(j int) *Node { return Squeeze(Slice(samples, AxisRange(), AxisRange(j, j+1)), 1) }
	start := ZerosLike(r.T)
	distance := func(a, b *Node) *Node { // [rows]
		d := e.m.Parametrization.Whiten(e.m.Interpolant, start, r.T, Sub(a, b))
		return distancePower(ReduceMean(Square(Reshape(d, rows, -1)), 1), o.Exponent)
	}
	var near, apart *Node
	add := func(sum **Node, d *Node) {
		if *sum == nil {
			*sum = d
		} else {
			*sum = Add(*sum, d)
		}
	}
	for j := range o.Particles {
		add(&near, distance(particle(j), r.data))
		for k := range j {
			add(&apart, distance(particle(j), particle(k)))
		}
	}
	pairs := float64(o.Particles * (o.Particles - 1))
	score := ReduceAllMean(Sub(DivScalar(near, float64(o.Particles)), DivScalar(apart, pairs)))
	return e.combined(e.diagonalSquares(), MulScalar(score, 1-e.DiagonalShare), score)
}

// distancePower returns |d|^β for |d|², with the gradient 0 at 0, where that of the root is
// infinite.
func distancePower(square *Node, beta float64) *Node {
	zero := Equal(square, ZerosLike(square))
	root := PowScalar(Where(zero, OnesLike(square), square), beta/2)
	return Where(zero, ZerosLike(square), root)
}
