package mfm

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// dataDrift returns the regression target of the diagonal, detached: dĪ_s/ds of the data, or
// b̄_s(x̄; t, x) of the teacher, guided.
func (e *lossEvaluation) dataDrift(r lossRows) *Node {
	w := r.velocity
	if e.Distillation == Teacher {
		w = interpolant.ConditionalDrift(e.m.Interpolant, e.teacher, r.S, r.Xbar, r.T, r.X, r.Class)
	}
	return StopGradient(e.guide(r, w))
}

// flowDrift returns the drift b_s(x̄; t, x) that Eulerian and Lagrangian losses follow, detached:
// the diagonal of the target weights, which the diagonal loss has already guided, or the drift of
// the teacher, guided.
func (e *lossEvaluation) flowDrift(in nn.Inputs) *Node {
	if e.Distillation == Teacher {
		return e.dataDrift(lossRows{Inputs: in})
	}
	in.U = in.S
	return StopGradient(e.m.Velocity(e.target, in))
}

func (e *lossEvaluation) diagonalOnly() Terms {
	return e.terms(e.diagonalSquares(), nil)
}

// semigroup regresses v_{s,u} on two shorter steps of the target weights. The rows of both losses
// share the one evaluation that has a gradient.
func (e *lossEvaluation) semigroup() Terms {
	if e.offDiagonal.empty() {
		return e.diagonalOnly()
	}
	in := e.offDiagonal.Inputs
	gamma := MulScalar(OnesLike(in.S), 0.5)
	if !e.Midpoint {
		gamma = e.rng.Uniform(in.S.Shape())
	}
	between := Add(in.S, Mul(gamma, Sub(in.U, in.S)))
	first, second := in, in
	first.U, second.S = between, between
	v1 := e.m.Velocity(e.target, first)
	second.Xbar = Add(in.Xbar, Mul(batch.Like(Sub(between, in.S), v1), v1))
	v2 := e.m.Velocity(e.target, second)
	g := batch.Like(gamma, v1)
	target := StopGradient(Add(Mul(g, v1), Mul(OneMinus(g), v2)))
	if e.diagonal.empty() {
		return e.terms(nil, e.squares(e.m.Velocity(e.online, in), target, in.S, in.T))
	}
	joint := concatenate(e.diagonal.Inputs, in)
	target = Concatenate([]*Node{e.dataDrift(e.diagonal), target}, 0)
	squares := e.squares(e.m.Velocity(e.online, joint), target, joint.S, joint.T)
	nd := e.diagonal.S.Shape().Dim(0)
	return e.terms(takeRows(squares, 0, nd), takeRows(squares, nd, squares.Shape().Dim(0)))
}

func (e *lossEvaluation) meanFlow() Terms {
	if e.offDiagonal.empty() {
		return e.diagonalOnly()
	}
	return e.transport(e.dataDrift(e.offDiagonal))
}

func (e *lossEvaluation) eulerian() Terms {
	if e.offDiagonal.empty() {
		return e.diagonalOnly()
	}
	return e.transport(e.flowDrift(e.offDiagonal.Inputs))
}

// transport regresses v_{s,u} on b + (u-s) dv_{s,u}/ds along the drift b. This is the identity that
// X_{s,u} is constant along its own flow, solved for v.
func (e *lossEvaluation) transport(b *Node) Terms {
	in := e.offDiagonal.Inputs
	v := e.m.Velocity(e.online, in)
	frozen := v
	if e.target != e.online {
		frozen = e.m.Velocity(e.target, in)
	}
	dv := ad.JVP([]*Node{frozen}, []*Node{in.S, in.Xbar}, []*Node{OnesLike(in.S), b})[0]
	target := StopGradient(Add(b, Mul(batch.Like(Sub(in.U, in.S), v), dv)))
	return e.terms(e.diagonalSquares(), e.squares(v, target, in.S, in.T))
}

// lagrangian regresses ∂_u X_{s,u} on the detached drift at the point X_{s,u} of the target
// weights.
func (e *lossEvaluation) lagrangian() Terms {
	if e.offDiagonal.empty() {
		return e.diagonalOnly()
	}
	in := e.offDiagonal.Inputs
	end := e.m.Flow(e.online, in)
	dEnd := ad.JVP([]*Node{end}, []*Node{in.U}, []*Node{OnesLike(in.U)})[0]
	reached := end
	if e.target != e.online {
		reached = e.m.Flow(e.target, in)
	}
	there := in
	there.S, there.Xbar = in.U, StopGradient(reached)
	return e.terms(e.diagonalSquares(), e.squares(dEnd, e.flowDrift(there), in.U, in.T))
}

func (e *lossEvaluation) diagonalSquares() *Node {
	if e.diagonal.empty() {
		return nil
	}
	v := e.m.Velocity(e.online, e.diagonal.Inputs)
	return e.squares(v, e.dataDrift(e.diagonal), e.diagonal.S, e.diagonal.T)
}

// squares returns the mean square of the whitened error per row, [batch]. s is the inner time of
// the target.
func (e *lossEvaluation) squares(v, target, s, t *Node) *Node {
	err := e.m.Parametrization.Whiten(e.m.Interpolant, s, t, Sub(v, target))
	axes := make([]int, err.Rank()-1)
	for i := range axes {
		axes[i] = i + 1
	}
	return ReduceMean(Square(err), axes...)
}

// terms applies the adaptive weights to the mean squares, [batch] each or nil, and combines the two
// losses by their shares.
func (e *lossEvaluation) terms(diagonal, offDiagonal *Node) Terms {
	if offDiagonal == nil {
		zero := ScalarZero(diagonal.Graph(), diagonal.DType())
		return Terms{Total: e.weighted(diagonal), Diagonal: ReduceAllMean(diagonal), Consistency: zero}
	}
	total := MulScalar(e.weighted(offDiagonal), 1-e.DiagonalShare)
	return e.combined(diagonal, total, ReduceAllMean(offDiagonal))
}

// weighted returns the mean of squares, [batch], with the adaptive weights.
func (e *lossEvaluation) weighted(squares *Node) *Node {
	if e.AdaptivePower == 0 {
		return ReduceAllMean(squares)
	}
	weight := PowScalar(AddScalar(MulScalar(StopGradient(squares), e.elements), e.AdaptiveFloor), -e.AdaptivePower)
	return ReduceAllMean(Mul(weight, squares))
}

// combined adds the squares of the diagonal, [batch] or nil, with their share to total, the
// consistency loss times its share, of which consistency is reported.
func (e *lossEvaluation) combined(diagonal, total, consistency *Node) Terms {
	t := Terms{Total: total, Consistency: consistency,
		Diagonal: ScalarZero(consistency.Graph(), consistency.DType())}
	if e.consistencyWeight != nil {
		t.Total = Mul(t.Total, e.consistencyWeight)
	}
	if diagonal != nil {
		t.Total = Add(t.Total, MulScalar(e.weighted(diagonal), e.DiagonalShare))
		t.Diagonal = ReduceAllMean(diagonal)
	}
	return t
}

// concatenate joins two batches.
func concatenate(a, b nn.Inputs) nn.Inputs {
	join := func(x, y *Node) *Node { return Concatenate([]*Node{x, y}, 0) }
	c := nn.Inputs{
		S: join(a.S, b.S), U: join(a.U, b.U), T: join(a.T, b.T), Xbar: join(a.Xbar, b.Xbar), X: join(a.X, b.X),
	}
	if a.Class != nil {
		c.Class = join(a.Class, b.Class)
	}
	if a.Guidance != nil {
		c.Guidance = join(a.Guidance, b.Guidance)
	}
	return c
}

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
// [Parametrization].Whiten at s = 0, which does not move the minimum. With [Gaussian] the loss is
// of order one except near t = 1; with [Plain] it falls with the posterior's standard deviation,
// and contexts near the data have little weight. There is no adaptive weight, and a teacher, the
// warm-up of gaps and the sampling of s and u act on a diagonal share alone. The second paper
// varies β and the weight of the second term with t, and takes |.| of each pixel; neither is done
// here.
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
