package mfm

import (
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
// consistencyWeight the one evaluation that has a gradient.
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
