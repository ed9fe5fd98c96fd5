package mfm

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// Consistency names the loss that ties the map's long steps to its diagonal.
type Consistency string

// The consistency losses. Right of the arrow stands the regression target, behind a stop-gradient; w is dĪ_s/ds from the data
// (self) or b̄_s from the teacher, b is v_{s,s} of the map itself (self) or b̄_s from the teacher.
const (
	DiagonalOnly Consistency = "diagonal"   // no consistency loss: flow matching of every posterior
	Semigroup    Consistency = "semigroup"  // v_{s,u} <- γ v_{s,r} + (1-γ) v_{r,u}(X_{s,r}), r = s + γ(u-s)
	MeanFlow     Consistency = "meanflow"   // v_{s,u} <- w + (u-s)(∂_s v + ∇v·w)
	Eulerian     Consistency = "eulerian"   // v_{s,u} <- b + (u-s)(∂_s v + ∇v·b)
	Lagrangian   Consistency = "lagrangian" // ∂_u X_{s,u}(x̄) <- b_u(X_{s,u}(x̄)); b_u frozen, the derivative trained
)

// Distillation says where the drift of a loss comes from: from the data and the map itself, or from a teacher.
type Distillation string

// The two sources of drift.
const (
	Self    Distillation = "self"
	Teacher Distillation = "teacher"
)

// Loss is a diagonal loss (flow matching of the posterior's drift) and a consistency loss, with every option of the paper.
// The zero value is not usable: start from [DefaultLoss].
type Loss struct {
	Consistency  Consistency  `json:"consistency"`
	Distillation Distillation `json:"distillation"`
	// DiagonalShare is the diagonal's share η of the batch, or its weight where the two are summed: loss = η L_diagonal + (1-η) L_consistency. Zero leaves the
	// consistency loss alone, which for the semigroup, and for the self-distilled Eulerian and Lagrangian losses, is zero for every flow, the data's or not.
	DiagonalShare float64 `json:"diagonal_share"`
	// Sum evaluates both losses on every row of the batch; otherwise the rows are split between them.
	Sum bool `json:"sum"`
	// Midpoint puts the semigroup's intermediate time in the middle, γ = 1/2; otherwise γ is uniform on [0, 1).
	Midpoint bool `json:"midpoint"`
	// AdaptivePower is p and AdaptiveFloor c in the weight 1/(|d|² + c)^p, not differentiated, of a row with whitened error d; p = 0 is plain
	// least squares.
	AdaptivePower float64 `json:"adaptive_power"`
	AdaptiveFloor float64 `json:"adaptive_floor"`
	// DiagonalSteps is the number of steps at the start during which the consistency loss has no weight, GapWarmup that of the
	// steps after them over which u - s grows, about the middle of the pair, from nothing to what Laws draws.
	DiagonalSteps int `json:"diagonal_steps"`
	GapWarmup     int `json:"gap_warmup"`
	// Laws of the times.
	Times TimeSampling `json:"laws"`
	// Guidance trains the guided drift; only for maps with classes.
	Guidance Guidance `json:"guidance"`
}

// DefaultLoss is the semigroup loss from data alone on half the batch, with plain least squares.
func DefaultLoss() Loss {
	return Loss{Consistency: Semigroup, Distillation: Self, DiagonalShare: 0.5, AdaptiveFloor: 0.01, Times: DefaultTimeSampling()}
}

// Validate returns an error that names the first option that makes no sense.
func (l Loss) Validate() error {
	if !slices.Contains([]Consistency{DiagonalOnly, Semigroup, MeanFlow, Eulerian, Lagrangian}, l.Consistency) {
		return fmt.Errorf("loss %q is unknown: use diagonal, semigroup, meanflow, eulerian or lagrangian", l.Consistency)
	}
	if l.Distillation != Self && l.Distillation != Teacher {
		return fmt.Errorf("distillation %q is unknown: use self or teacher", l.Distillation)
	}
	if !(l.DiagonalShare >= 0 && l.DiagonalShare <= 1) {
		return fmt.Errorf("diagonal_share = %g: a share must lie in [0, 1]", l.DiagonalShare)
	}
	if !(l.AdaptivePower >= 0 && l.AdaptivePower <= 2) {
		return fmt.Errorf("adaptive_power = %g: must lie in [0, 2]", l.AdaptivePower)
	}
	if !(l.AdaptiveFloor > 0) && l.AdaptivePower > 0 {
		return fmt.Errorf("adaptive_floor = %g: must be positive", l.AdaptiveFloor)
	}
	if l.DiagonalSteps < 0 || l.GapWarmup < 0 {
		return fmt.Errorf("diagonal_steps = %d, gap_warmup = %d: must not be negative", l.DiagonalSteps, l.GapWarmup)
	}
	if err := l.Guidance.Validate(); err != nil {
		return err
	}
	return l.Times.Validate()
}

// Batch is what a loss is evaluated on.
type Batch struct {
	Data  *Node // samples of the data, [batch, ...]
	Class *Node // their classes, int32 [batch], or nil
	Step  *Node // training step, from 1, for warm-ups: a scalar of Data's dtype, or nil for none
}

// Build returns the loss of map m with weights in scope online. Targets are computed with the weights in scope target: the
// same scope, as in the paper, or that of a moving average or frozen copy; no gradient passes through them. teacher is used by
// [Teacher] only. It panics on options that [Loss.Validate] refuses and on a missing teacher.
func (l Loss) Build(m *Map, online, target *model.Scope, teacher interpolant.Drift, rng *solver.RNG, batch Batch) train.Terms {
	p := l.newProblem(m, online, target, teacher, rng, batch)
	switch l.Consistency {
	case DiagonalOnly:
		return p.diagonalOnly()
	case Semigroup:
		return p.semigroup()
	case MeanFlow:
		return p.meanFlow()
	case Eulerian:
		return p.eulerian()
	default:
		return p.lagrangian()
	}
}

// problem is one evaluation of a loss.
type problem struct {
	Loss
	m              *Map
	online, target *model.Scope
	teacher        interpolant.Drift
	rng            *solver.RNG
	diagonal, off  rows
	elements       float64 // of a sample
	share          *Node   // 0 while the consistency loss waits, 1 after, nil for 1
}

// rows are the draws that one of the two losses sees: contexts (t, x), times s and u, states x̄ = Ī_s and velocities dĪ_s/ds.
type rows struct {
	nn.Inputs
	velocity *Node
}

func (r rows) empty() bool { return r.S == nil }

func (l Loss) newProblem(m *Map, online, target *model.Scope, teacher interpolant.Drift, rng *solver.RNG, batch Batch) *problem {
	if err := l.Validate(); err != nil {
		panic(err)
	}
	if l.Distillation == Teacher && teacher == nil {
		panic(fmt.Errorf("loss %s: distillation from a teacher needs one, none was given", l.Consistency))
	}
	p := &problem{Loss: l, m: m, online: online, target: target, teacher: teacher, rng: rng}
	n := batch.Data.Shape().Dim(0)
	p.elements = float64(batch.Data.Shape().Size() / n)
	nd := n
	if l.Consistency != DiagonalOnly && !l.Sum {
		nd = int(float64(n)*l.DiagonalShare + 0.5)
		if l.DiagonalShare > 0 && l.DiagonalShare < 1 { // however small the batch, neither loss goes without a row
			nd = min(max(nd, 1), n-1)
		}
	}
	times := shapes.Make(batch.Data.DType(), n)
	t := l.Times.context(rng, times)
	x := interpolant.StateAt(m.Interpolant, t, rng.Normal(batch.Data.Shape()), batch.Data)
	class := l.Guidance.dropClass(rng, batch.Class)
	whole := rows{Inputs: nn.Inputs{T: t, X: x, Class: class}}
	if nd > 0 {
		p.diagonal = p.draw(whole.take(0, nd), takeRows(batch.Data, 0, nd), nil)
	}
	if l.Consistency == DiagonalOnly {
		return p
	}
	from := nd
	if l.Sum {
		from = 0
	}
	if from < n {
		gap := ScalarOne(t.Graph(), t.DType())
		if batch.Step != nil && l.GapWarmup > 0 {
			gap = ClipScalar(DivScalar(SubScalar(batch.Step, float64(l.DiagonalSteps)), float64(l.GapWarmup)), 0, 1)
		}
		if batch.Step != nil && l.DiagonalSteps > 0 {
			p.share = ConvertDType(GreaterThan(batch.Step, Scalar(t.Graph(), t.DType(), float64(l.DiagonalSteps))), t.DType())
		}
		p.off = p.draw(whole.take(from, n), takeRows(batch.Data, from, n), gap)
	}
	return p
}

// draw adds times and states to contexts: on the diagonal where gap is nil, a pair (s, u) otherwise.
func (p *problem) draw(r rows, data, gap *Node) rows {
	if gap == nil {
		r.S = p.Times.start(p.rng, r.T.Shape())
		r.U = r.S
	} else {
		r.S, r.U = p.Times.pair(p.rng, r.T.Shape(), gap)
	}
	noise := p.rng.Normal(data.Shape())
	// Cut s, u and x̄ loose from one another: forward mode moves each on its own.
	r.Xbar = StopGradient(interpolant.StateAt(p.m.Interpolant, r.S, noise, data))
	r.velocity = interpolant.VelocityAt(p.m.Interpolant, r.S, noise, data)
	r.S, r.U = StopGradient(r.S), StopGradient(r.U)
	return r
}

func (r rows) take(from, to int) rows {
	r.T, r.X = takeRows(r.T, from, to), takeRows(r.X, from, to)
	if r.Class != nil {
		r.Class = takeRows(r.Class, from, to)
	}
	return r
}

func takeRows(x *Node, from, to int) *Node {
	if from == 0 && to == x.Shape().Dim(0) {
		return x
	}
	return Slice(x, AxisRange(from, to))
}
