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

// Consistency names the loss that ties v_{s,u} with s < u to the diagonal v_{s,s}. The constants,
// such as [Eulerian], have the regression targets; the file consistency.go builds them.
type Consistency string

// The consistency losses. The left of the arrow is trained; the right is the regression target,
// without gradient. w is dĪ_s/ds of the data (self) or b̄_s of the teacher, b is v_{s,s} of the map
// itself (self) or b̄_s of the teacher, r is s + γ(u-s). Energy has no target: it scores samples
// X_{0,1}(ε; t, x) of one step against the data, and leaves all other s < u untrained.
const (
	DiagonalOnly Consistency = "diagonal"   // none: flow matching of every posterior
	Semigroup    Consistency = "semigroup"  // v_{s,u} <- γ v_{s,r} + (1-γ) v_{r,u}(X_{s,r})
	MeanFlow     Consistency = "meanflow"   // v_{s,u} <- w + (u-s)(∂_s v + ∇v·w)
	Eulerian     Consistency = "eulerian"   // v_{s,u} <- b + (u-s)(∂_s v + ∇v·b)
	Lagrangian   Consistency = "lagrangian" // ∂_u X_{s,u}(x̄) <- b_u(X_{s,u}(x̄))
	Energy       Consistency = "energy"     // E|X - I_1|^β - E|X - X'|^β/2 of samples X, X'
)

// Distillation is the source of the drift in a loss: the data and the map itself, or a teacher.
type Distillation string

// The two sources of drift.
const (
	Self    Distillation = "self"    // the data and the map itself
	Teacher Distillation = "teacher" // a given drift, such as a trained flow or a closed form
)

// Loss is a diagonal loss (flow matching of the posterior's drift) and a consistency loss, with all
// options of the paper. The zero value is not usable: start from [DefaultLoss] or [Recipe].
type Loss struct {
	Consistency  Consistency  `json:"consistency"`  // one of the constants, such as [MeanFlow]
	Distillation Distillation `json:"distillation"` // [Self] or [Teacher]
	// DiagonalShare is the share η of the batch in [0, 1] for the diagonal loss, or its weight if
	// Sum is set: loss = η L_diagonal + (1-η) L_consistency. With 0 only the consistency loss
	// remains. For the semigroup, and for the self-distilled Eulerian and Lagrangian losses, that
	// is zero for every flow, not only for the flow of the data.
	DiagonalShare float64 `json:"diagonal_share"`
	// Sum evaluates both losses on every row of the batch. Otherwise the rows are split between
	// them.
	Sum bool `json:"sum"`
	// Midpoint sets the intermediate time of the semigroup to the middle, γ = 1/2. Otherwise γ is
	// uniform on [0, 1).
	Midpoint bool `json:"midpoint"`
	// AdaptivePower is p in [0, 2] and AdaptiveFloor c > 0 in the weight 1/(|d|² + c)^p of a row
	// with whitened error d. The weight is not differentiated; p = 0 is plain least squares.
	AdaptivePower float64 `json:"adaptive_power"`
	AdaptiveFloor float64 `json:"adaptive_floor"`
	// DiagonalSteps is the number of initial steps in which the consistency loss has weight zero.
	// GapWarmup is the number of steps after them over which u - s grows about the middle of the
	// pair, from zero to its value under Times.
	DiagonalSteps int          `json:"diagonal_steps"`
	GapWarmup     int          `json:"gap_warmup"`
	Energy        EnergyScore  `json:"energy,omitzero"` // options of the loss [Energy]
	Times         TimeSampling `json:"laws"`
	Guidance      Guidance     `json:"guidance"` // for maps with classes only
}

// DefaultLoss returns the mean flow loss from the data alone, the best of the self-distilled losses
// on mixtures (notebook 02_gmm_posterior), with half of the batch on the diagonal and plain least
// squares.
func DefaultLoss() Loss {
	return Loss{Consistency: MeanFlow, Distillation: Self, DiagonalShare: 0.5, AdaptiveFloor: 0.01,
		Times: DefaultTimeSampling()}
}

// Recipe returns [DefaultLoss] with the best known options for a consistency loss and a
// distillation in a training of the given number of steps. They were found by hand on the paper's
// mixture; notebook 02_gmm_posterior shows their results. The self-distilled Lagrangian and
// Eulerian losses, which follow the map's own drift, use a diagonal share of 0.75. The target of
// the Eulerian one contains the product of that drift and a derivative of the map, so it also uses
// the adaptive power 0.5 and lets u - s grow over the first half of the steps.
func Recipe(c Consistency, d Distillation, steps int64) Loss {
	l := DefaultLoss()
	l.Consistency, l.Distillation = c, d
	if d == Self && (c == Lagrangian || c == Eulerian) {
		l.DiagonalShare = 0.75
	}
	if d == Self && c == Eulerian {
		l.AdaptivePower, l.GapWarmup = 0.5, int(steps/2)
	}
	return l
}

// Validate returns an error that names the first invalid option.
func (l Loss) Validate() error {
	all := []Consistency{DiagonalOnly, Semigroup, MeanFlow, Eulerian, Lagrangian, Energy}
	if !slices.Contains(all, l.Consistency) {
		return fmt.Errorf("loss %q is unknown: use diagonal, semigroup, meanflow, eulerian, lagrangian or energy",
			l.Consistency)
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
	if l.Consistency == Energy && l.Guidance.active() {
		return fmt.Errorf("loss energy: it has no target that guidance of scale %g, mix %g and scales %v could change: "+
			"use dropout alone, or another loss", l.Guidance.scale(), l.Guidance.Mix, l.Guidance.Scales)
	}
	if err := l.Energy.Validate(); err != nil {
		return err
	}
	return l.Times.Validate()
}

// Batch is the data that a loss is evaluated on.
type Batch struct {
	Data  *Node // data samples, [batch, ...]
	Class *Node // their classes, int32 [batch], or nil
	Step  *Node // training step, from 1, a scalar of Data's dtype; nil means no warm-ups
}

// Terms are the values of a loss, scalars. Total is minimized. Diagonal and Consistency are the
// unweighted mean squares of the whitened errors, or the mean energy score, or 0 for a loss that
// was not evaluated.
type Terms struct {
	Total, Diagonal, Consistency *Node
}

// Reported returns the terms for a trainer, with the metrics "diagonal" and "consistency".
func (t Terms) Reported() train.Terms {
	return train.Terms{Total: t.Total, Metrics: []train.Metric{
		{Name: "diagonal", Value: t.Diagonal}, {Name: "consistency", Value: t.Consistency},
	}}
}

// Build returns the loss of map m with the weights in scope online. Targets are computed with the
// weights in scope target: the same scope, as in the paper, or that of a moving average or frozen
// copy. No gradient passes through them. teacher is used by [Teacher] only. Build panics if
// [Loss.Validate] returns an error or a required teacher is missing.
func (l Loss) Build(
	m *Map, online, target *model.Scope, teacher interpolant.Drift, rng *solver.RNG, batch Batch,
) Terms {
	e := l.evaluation(m, online, target, teacher, rng, batch)
	switch l.Consistency {
	case DiagonalOnly:
		return e.diagonalOnly()
	case Semigroup:
		return e.semigroup()
	case MeanFlow:
		return e.meanFlow()
	case Eulerian:
		return e.eulerian()
	case Energy:
		return e.energyScore()
	default:
		return e.lagrangian()
	}
}

// lossEvaluation is one evaluation of a loss.
type lossEvaluation struct {
	Loss
	m                     *Map
	online, target        *model.Scope
	teacher               interpolant.Drift
	rng                   *solver.RNG
	diagonal, offDiagonal lossRows
	elements              float64 // of a sample
	consistencyWeight     *Node   // 0 during DiagonalSteps, then 1; nil means 1
}

// lossRows is the input of one of the two losses: contexts (t, x), times s and u, states x̄ = Ī_s,
// velocities dĪ_s/ds and data I_1.
type lossRows struct {
	nn.Inputs
	velocity, data *Node
}

func (r lossRows) empty() bool { return r.S == nil }

// evaluation splits the batch between the losses and samples their times and states.
func (l Loss) evaluation(
	m *Map, online, target *model.Scope, teacher interpolant.Drift, rng *solver.RNG, batch Batch,
) *lossEvaluation {
	if err := l.Validate(); err != nil {
		panic(err)
	}
	if l.Distillation == Teacher && teacher == nil {
		panic(fmt.Errorf("loss %s: distillation from a teacher needs its drift", l.Consistency))
	}
	e := &lossEvaluation{Loss: l, m: m, online: online, target: target, teacher: teacher, rng: rng}
	n := batch.Data.Shape().Dim(0)
	e.elements = float64(batch.Data.Shape().Size() / n)
	nd := n
	if l.Consistency != DiagonalOnly && !l.Sum {
		nd = int(float64(n)*l.DiagonalShare + 0.5)
		if l.DiagonalShare > 0 && l.DiagonalShare < 1 { // at least one row for each loss
			nd = min(max(nd, 1), n-1)
		}
	}
	times := shapes.Make(batch.Data.DType(), n)
	t := l.Times.context(rng, times)
	x := interpolant.StateAt(m.Interpolant, t, rng.Normal(batch.Data.Shape()), batch.Data)
	class := l.Guidance.dropClass(rng, batch.Class)
	scales := l.Guidance.sampleScales(rng, class, t)
	whole := lossRows{Inputs: nn.Inputs{T: t, X: x, Class: class, Guidance: scales}}
	if nd > 0 {
		e.diagonal = e.sample(whole.take(0, nd), takeRows(batch.Data, 0, nd), nil)
	}
	if l.Consistency == DiagonalOnly {
		return e
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
			started := GreaterThan(batch.Step, Scalar(t.Graph(), t.DType(), float64(l.DiagonalSteps)))
			e.consistencyWeight = ConvertDType(started, t.DType())
		}
		e.offDiagonal = e.sample(whole.take(from, n), takeRows(batch.Data, from, n), gap)
	}
	return e
}

// sample adds times and states to contexts: on the diagonal if gap is nil, otherwise a pair (s, u).
func (e *lossEvaluation) sample(r lossRows, data, gap *Node) lossRows {
	if gap == nil {
		r.S = e.Times.start(e.rng, r.T.Shape())
		r.U = r.S
	} else {
		r.S, r.U = e.Times.pair(e.rng, r.T.Shape(), gap)
	}
	noise := e.rng.Normal(data.Shape())
	// Detach s, u and x̄ from one another: forward mode varies each of them independently.
	r.Xbar = StopGradient(interpolant.StateAt(e.m.Interpolant, r.S, noise, data))
	r.velocity = interpolant.VelocityAt(e.m.Interpolant, r.S, noise, data)
	same := r.S == r.U // one node stays one, by which a parametrization knows the diagonal
	r.S, r.data = StopGradient(r.S), data
	if r.U = StopGradient(r.U); same {
		r.U = r.S
	}
	return r
}

func (r lossRows) take(from, to int) lossRows {
	r.T, r.X = takeRows(r.T, from, to), takeRows(r.X, from, to)
	if r.Class != nil {
		r.Class = takeRows(r.Class, from, to)
	}
	if r.Guidance != nil {
		r.Guidance = takeRows(r.Guidance, from, to)
	}
	return r
}

func takeRows(x *Node, from, to int) *Node {
	if from == 0 && to == x.Shape().Dim(0) {
		return x
	}
	return Slice(x, AxisRange(from, to))
}
