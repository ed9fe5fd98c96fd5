package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// drift returns the regression target of the diagonal at r: dĪ_s/ds, or the teacher's b̄_s(x̄; t, x).
func (p *problem) drift(r rows) *Node {
	w := r.velocity
	if p.Distillation == Teacher {
		w = interpolant.ConditionalDrift(p.m.Interpolant, p.teacher, r.S, r.Xbar, r.T, r.X, r.Class)
	}
	return StopGradient(p.guide(r, w))
}

// ownDrift returns the drift b_s(x̄; t, x) that Eulerian and Lagrangian losses follow: the frozen map's diagonal, which the diagonal loss has guided already, or
// the teacher's.
func (p *problem) ownDrift(in nn.Inputs) *Node {
	if p.Distillation == Teacher {
		return p.drift(rows{Inputs: in})
	}
	in.U = in.S
	return StopGradient(p.m.Velocity(p.target, in))
}

func (p *problem) diagonalOnly() train.Terms {
	return p.terms(p.squares(p.m.Velocity(p.online, p.diagonal.Inputs), p.drift(p.diagonal), p.diagonal.S, p.diagonal.T), nil)
}

// semigroup regresses v_{s,u} on the frozen map's two shorter steps. The rows of both losses share the one pass that carries a gradient.
func (p *problem) semigroup() train.Terms {
	if p.off.empty() {
		return p.diagonalOnly()
	}
	in := p.off.Inputs
	gamma := MulScalar(OnesLike(in.S), 0.5)
	if !p.Midpoint {
		gamma = p.rng.Uniform(in.S.Shape())
	}
	between := Add(in.S, Mul(gamma, Sub(in.U, in.S)))
	first, second := in, in
	first.U, second.S = between, between
	v1 := p.m.Velocity(p.target, first)
	second.Xbar = Add(in.Xbar, Mul(batch.Like(Sub(between, in.S), v1), v1))
	v2 := p.m.Velocity(p.target, second)
	g := batch.Like(gamma, v1)
	target := StopGradient(Add(Mul(g, v1), Mul(OneMinus(g), v2)))
	if p.diagonal.empty() {
		return p.terms(nil, p.squares(p.m.Velocity(p.online, in), target, in.S, in.T))
	}
	joint := concatenate(p.diagonal.Inputs, in)
	target = Concatenate([]*Node{p.drift(p.diagonal), target}, 0)
	squares := p.squares(p.m.Velocity(p.online, joint), target, joint.S, joint.T)
	nd := p.diagonal.S.Shape().Dim(0)
	return p.terms(takeRows(squares, 0, nd), takeRows(squares, nd, squares.Shape().Dim(0)))
}

func (p *problem) meanFlow() train.Terms {
	if p.off.empty() {
		return p.diagonalOnly()
	}
	return p.transport(p.drift(p.off))
}

func (p *problem) eulerian() train.Terms {
	if p.off.empty() {
		return p.diagonalOnly()
	}
	return p.transport(p.ownDrift(p.off.Inputs))
}

// transport regresses v_{s,u} on b + (u-s) dv_{s,u}/ds along the drift b. X_{s,u} does not change along its own flow, and
// this is that identity solved for v.
func (p *problem) transport(b *Node) train.Terms {
	in := p.off.Inputs
	v := p.m.Velocity(p.online, in)
	frozen := v
	if p.target != p.online {
		frozen = p.m.Velocity(p.target, in)
	}
	dv := ad.JVP([]*Node{frozen}, []*Node{in.S, in.Xbar}, []*Node{OnesLike(in.S), b})[0]
	target := StopGradient(Add(b, Mul(batch.Like(Sub(in.U, in.S), v), dv)))
	return p.terms(p.diagonalSquares(), p.squares(v, target, in.S, in.T))
}

// lagrangian regresses ∂_u X_{s,u} on the frozen drift at the point that the frozen map reaches.
func (p *problem) lagrangian() train.Terms {
	if p.off.empty() {
		return p.diagonalOnly()
	}
	in := p.off.Inputs
	end := p.m.Flow(p.online, in)
	dEnd := ad.JVP([]*Node{end}, []*Node{in.U}, []*Node{OnesLike(in.U)})[0]
	reached := end
	if p.target != p.online {
		reached = p.m.Flow(p.target, in)
	}
	there := in
	there.S, there.Xbar = in.U, StopGradient(reached)
	return p.terms(p.diagonalSquares(), p.squares(dEnd, p.ownDrift(there), in.U, in.T))
}

func (p *problem) diagonalSquares() *Node {
	if p.diagonal.empty() {
		return nil
	}
	return p.squares(p.m.Velocity(p.online, p.diagonal.Inputs), p.drift(p.diagonal), p.diagonal.S, p.diagonal.T)
}

// squares returns the mean square of the whitened error of each row, [batch]. s is the inner time that the target belongs to.
func (p *problem) squares(v, target, s, t *Node) *Node {
	err := p.m.Parametrization.Whiten(p.m.Interpolant, s, t, Sub(v, target))
	axes := make([]int, err.Rank()-1)
	for i := range axes {
		axes[i] = i + 1
	}
	return ReduceMean(Square(err), axes...)
}

// terms weighs the rows' squares, [batch] each or nil, and combines the two losses by their shares.
func (p *problem) terms(diagonal, off *Node) train.Terms {
	weighted := func(squares *Node) *Node {
		if p.AdaptivePower == 0 {
			return ReduceAllMean(squares)
		}
		weight := PowScalar(AddScalar(MulScalar(StopGradient(squares), p.elements), p.AdaptiveFloor), -p.AdaptivePower)
		return ReduceAllMean(Mul(weight, squares))
	}
	if off == nil {
		return train.Terms{Total: weighted(diagonal), Diagonal: ReduceAllMean(diagonal), Consistency: ScalarZero(diagonal.Graph(), diagonal.DType())}
	}
	t := train.Terms{Total: MulScalar(weighted(off), 1-p.DiagonalShare), Consistency: ReduceAllMean(off), Diagonal: ScalarZero(off.Graph(), off.DType())}
	if p.share != nil {
		t.Total = Mul(t.Total, p.share)
	}
	if diagonal != nil {
		t.Total = Add(t.Total, MulScalar(weighted(diagonal), p.DiagonalShare))
		t.Diagonal = ReduceAllMean(diagonal)
	}
	return t
}

// concatenate joins two sets of inputs along the batch.
func concatenate(a, b nn.Inputs) nn.Inputs {
	join := func(x, y *Node) *Node { return Concatenate([]*Node{x, y}, 0) }
	c := nn.Inputs{S: join(a.S, b.S), U: join(a.U, b.U), T: join(a.T, b.T), Xbar: join(a.Xbar, b.Xbar), X: join(a.X, b.X)}
	if a.Class != nil {
		c.Class = join(a.Class, b.Class)
	}
	return c
}
