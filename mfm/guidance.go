package mfm

import (
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
)

// Guidance configures the training of a map with classes. Dropout alone trains the unconditional
// map besides the conditional ones, as classifier-free guidance of samples needs (see
// [ClassifierFree]). A scale other than one or a mix above zero trains the guided map itself, so
// that sampling needs one evaluation.
//
// With v_c and v_∅ the drift of the target weights with and without the class, the regression
// target w of a loss becomes
//
//	ω w + κ v_c + (1-ω-κ) v_∅,
//
// whose fixed point is guidance of scale ω/(1-κ) (Geng et al., arXiv 2505.13447, appendix B). κ = 0
// is plain guidance in the target, ω = 1 with κ > 0 is model guidance (Tang et al., arXiv
// 2502.12154). With Scales, ω and v_c are those of the row's scale; v_∅ is always that of scale 1.
type Guidance struct {
	// Classes is the number of classes, and the label of "no class".
	Classes int `json:"classes"`
	// Dropout is the share of rows, in [0, 1], whose class is dropped.
	Dropout float64 `json:"dropout"`
	// Scale is ω. 0 means 1, no guidance.
	Scale float64 `json:"scale"`
	// Mix is κ, in [0, 1).
	Mix float64 `json:"mix"`
	// Scales are the scales of guidance other than 1 that one network is trained for. Each row with
	// a class has one of 1 and Scales as its ω/(1-κ), all with the same probability, and the
	// network receives it as [nn.Inputs].Guidance. Rows without a class have scale 1. Scale must be
	// 0 or 1.
	Scales []float64 `json:"scales,omitempty"`
}

// Validate returns an error that names the first value out of range.
func (g Guidance) Validate() error {
	switch {
	case g.Classes < 0:
		return fmt.Errorf("guidance: classes = %d: must not be negative", g.Classes)
	case !(g.Dropout >= 0 && g.Dropout <= 1):
		return fmt.Errorf("guidance: dropout = %g: a share must lie in [0, 1]", g.Dropout)
	case !(g.Scale >= 0):
		return fmt.Errorf("guidance: scale = %g: must not be negative", g.Scale)
	case !(g.Mix >= 0 && g.Mix < 1):
		return fmt.Errorf("guidance: mix = %g: must lie in [0, 1)", g.Mix)
	case g.Classes == 0 && (g.Dropout > 0 || g.active()):
		return fmt.Errorf("guidance needs classes: set classes to their number")
	case g.active() && g.Dropout == 0:
		return fmt.Errorf("guidance of scale %g, mix %g and scales %v needs a dropout above 0 to train the drift "+
			"without class", g.scale(), g.Mix, g.Scales)
	case len(g.Scales) > 0 && g.scale() != 1:
		return fmt.Errorf("guidance: scale = %g and scales = %v: give one of them", g.Scale, g.Scales)
	}
	for i, w := range g.Scales {
		if !(w >= 0 && w <= math.MaxFloat64) || w == 1 || slices.Contains(g.Scales[:i], w) {
			return fmt.Errorf("guidance: scales = %v: must be finite, distinct, not negative, and not 1, which is "+
				"always one of them", g.Scales)
		}
	}
	return nil
}

// scale returns ω.
func (g Guidance) scale() float64 {
	if g.Scale == 0 {
		return 1
	}
	return g.Scale
}

func (g Guidance) active() bool { return g.Mix > 0 || g.scale() != 1 || len(g.Scales) > 0 }

// dropClass replaces a share of the labels by "no class". It panics if labels are required and
// missing.
func (g Guidance) dropClass(rng *solver.RNG, class *Node) *Node {
	if g.Classes > 0 && class == nil {
		panic(fmt.Errorf("guidance with %d classes: the data has no labels", g.Classes))
	}
	if g.Dropout == 0 {
		return class
	}
	shape := class.Shape().Clone()
	shape.DType = dtypes.Float32
	drop := LessThan(rng.Uniform(shape), Scalar(class.Graph(), dtypes.Float32, g.Dropout))
	return Where(drop, noClass(class, g.Classes), class)
}

// sampleScales returns a scale for each row, [batch] in the type of the times, or nil without
// Scales.
func (g Guidance) sampleScales(rng *solver.RNG, class, times *Node) *Node {
	if len(g.Scales) == 0 {
		return nil
	}
	scales := append([]float64{1}, g.Scales...)
	index := rng.Below(len(scales), class.Shape().Dim(0))
	sampled := Gather(ConstAsDType(times.Graph(), times.DType(), scales), InsertAxes(index, -1))
	return Where(Equal(class, noClass(class, g.Classes)), OnesLike(sampled), sampled)
}

// guide returns the guided drift for rows with a class, and w for the others.
func (e *lossEvaluation) guide(r lossRows, w *Node) *Node {
	g := e.Guidance
	if !g.active() {
		return w
	}
	in := r.Inputs
	in.U = in.S
	without := in
	without.Class, without.Guidance = noClass(r.Class, g.Classes), nil
	var guided *Node
	if r.Guidance == nil {
		guided = Add(MulScalar(w, g.scale()), MulScalar(e.m.Velocity(e.target, without), 1-g.scale()-g.Mix))
	} else {
		omega := MulScalar(batch.Like(r.Guidance, w), 1-g.Mix)
		guided = Add(Mul(omega, w), Mul(AddScalar(Neg(omega), 1-g.Mix), e.m.Velocity(e.target, without)))
	}
	if g.Mix > 0 {
		guided = Add(guided, MulScalar(e.m.Velocity(e.target, in), g.Mix))
	}
	dropped := batch.Like(Equal(r.Class, without.Class), w)
	return Where(BroadcastToShape(dropped, shapes.Make(dtypes.Bool, w.Shape().Dimensions...)), w, guided)
}

// ClassifierFree returns the guided drift b_∅ + scale (b_c - b_∅) of Ho and Salimans (arXiv
// 2207.12598). The label classes means no class. It evaluates b twice.
func ClassifierFree(b interpolant.Drift, scale float64, classes int) interpolant.Drift {
	return func(t, x, class *Node) *Node {
		without := b(t, x, noClass(class, classes))
		return Add(without, MulScalar(Sub(b(t, x, class), without), scale))
	}
}

// Guided returns the model with classifier-free guidance of all its velocities:
//
//	v_{s,u} = v_∅ + scale (v_c - v_∅),
//
// where c is the class of a row and ∅ is no class. Rows without a class are not guided, and a scale
// of 1 returns the model itself. A network that was trained with the scale (m.Scales) receives it
// as its input, in one evaluation; otherwise guidance takes two. A map that was trained with
// another guidance is guided once more. A map that was trained without dropout of its classes has
// no v_∅ to guide from.
//
// The drift is that of [ClassifierFree]. The posterior's drift is an affine function of the drift
// whose coefficients do not depend on the class (see [interpolant.ConditionalDrift]), so the
// diagonal v_{s,s} is the conditional drift of the guided drift. A step of the map from s to u > s
// combines two flow maps, which agrees with the ODE of the diagonal to first order in u-s: more
// steps approach that ODE.
//
// If p_c and p_∅ are Gaussians with means m_c and m_∅ and equal covariances, samples and posteriors
// are, for any number of steps, those of the Gaussian with mean m_∅ + scale (m_c - m_∅). Otherwise
// guidance is a heuristic: the samples have neither the density p_∅^{1-scale} p_c^scale nor the
// guided posteriors.
//
// It returns an error for a model without classes, and for a negative or non-finite scale.
func (m Model) Guided(scale float64) (Model, error) { return m.GuidedWithin(scale, 0, 1) }

// GuidedWithin is [Model.Guided] with guidance within an interval of times alone (Kynkäänniemi et
// al., arXiv 2404.07724): v_{s,u} is guided if from <= s < to, or from <= s for to = 1, and is v_c
// otherwise. For the drift b_t, s is its time t. So a step of the map is guided as a whole or not
// at all, by where it starts: one step from 0 to 1 is guided if from is 0. The number of
// evaluations is that of Guided, also outside the interval. An empty interval, from = to, returns
// the model itself.
//
// With an interval and a context at t > 0 the diagonal is no longer the conditional drift of the
// guided drift: the interval is one of the time s of the flow to the posterior. For Gaussians with
// equal covariances, as for Guided, with means μ_c and μ_g of the posterior and the guided
// posterior, and variance c of both along an axis, guidance moves samples along it by
//
//	√c (μ_g - μ_c) (β_to/√ν_to - β_from/√ν_from),   ν_s = α_s² + c β_s²,
//
// if from and to are among the times of the steps.
//
// It returns an error as Guided does, and unless 0 <= from <= to <= 1. A model with ClassScale has
// its guidance already: GuidedWithin returns the model itself for that scale at all times, and an
// error for others.
func (m Model) GuidedWithin(scale, from, to float64) (Model, error) {
	switch {
	case !(scale >= 0 && scale <= math.MaxFloat64):
		return m, fmt.Errorf("guidance of scale %g: must not be negative, and be finite", scale)
	case !(from >= 0 && from <= to && to <= 1):
		return m, fmt.Errorf("guidance from time %g to %g: the times must not decrease, and lie in [0, 1]", from, to)
	case m.ClassScale != 0 && (scale != m.ClassScale || from != 0 || to != 1):
		return m, fmt.Errorf("guidance of scale %g from time %g to %g: the network was trained on classes with "+
			"guidance of scale %g alone: use that scale, at all times", scale, from, to, m.ClassScale)
	case m.ClassScale != 0 || scale == 1 || from == to:
		return m, nil
	case m.Classes == 0:
		return m, fmt.Errorf("guidance of scale %g: the model has no classes, use 1", scale)
	}
	of := *m.Map
	of.Parametrization = guided{of.Parametrization, scale, from, to, m.Classes, slices.Contains(m.Scales, scale), false}
	m.Map, m.Scales = &of, nil
	return m, nil
}

// GuidedOnly returns the model of a network all of whose training rows with a class had the given
// scale of guidance as an input, one of m.Scales: a class at scale 1 is an input that it has never
// seen. The velocities of the result are those of that scale for rows with a class, in one
// evaluation, and without guidance for the others, also for rows without labels. It takes no other
// guidance ([Model].ClassScale).
//
// It returns an error for a model without classes, and for a scale that is not one of m.Scales.
func (m Model) GuidedOnly(scale float64) (Model, error) {
	if !slices.Contains(m.Scales, scale) {
		return m, fmt.Errorf("guidance of scale %g alone: the network was trained with the scales %v: use one of them",
			scale, m.Scales)
	}
	if m.Classes == 0 {
		return m, fmt.Errorf("guidance of scale %g alone: the model has no classes", scale)
	}
	of := *m.Map
	of.Parametrization = guided{of.Parametrization, scale, 0, 1, m.Classes, true, true}
	m.Map, m.Scales, m.ClassScale = &of, []float64{scale}, scale
	return m, nil
}

// guided is a parametrization with guidance; see [Model.GuidedWithin].
type guided struct {
	Parametrization
	scale, from, to float64
	classes         int
	trained         bool // whether the network was trained with the scale
	only            bool // whether with no other, see [Model.GuidedOnly]
}

// Velocity returns the guided velocity. It calls f once if the network was trained with the scale,
// otherwise twice. Without labels it is unguided if the network was trained with no other scale,
// and panics otherwise.
func (g guided) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if in.Class == nil && g.only { // no class, which has no guidance
		return g.Parametrization.Velocity(ip, f, in)
	}
	if in.Class == nil {
		Panicf("guidance of scale %g: the rows have no labels; %d is that of no class", g.scale, g.classes)
	}
	without := in
	without.Class = noClass(in.Class, g.classes)
	inside := g.inside(in.S)
	if g.trained {
		one := OnesLike(BroadcastToDims(in.S, in.Class.Shape().Dim(0)))
		in.Guidance = MulScalar(one, g.scale)
		if inside != nil {
			in.Guidance = Where(BroadcastToDims(inside, one.Shape().Dim(0)), in.Guidance, one)
		}
		in.Guidance = Where(Equal(in.Class, without.Class), one, in.Guidance)
		return g.Parametrization.Velocity(ip, f, in)
	}
	none := g.Parametrization.Velocity(ip, f, without)
	conditional := g.Parametrization.Velocity(ip, f, in)
	v := Add(none, MulScalar(Sub(conditional, none), g.scale))
	if inside == nil {
		return v
	}
	inside = batch.Like(inside, v)
	return Where(BroadcastToShape(inside, shapes.Make(dtypes.Bool, v.Shape().Dimensions...)), v, conditional)
}

// inside returns whether times s lie in the interval, of s's shape, or nil if all do.
func (g guided) inside(s *Node) *Node {
	if g.from == 0 && g.to == 1 {
		return nil
	}
	s = StopGradient(s)
	inside := GreaterOrEqual(s, Scalar(s.Graph(), s.DType(), g.from))
	if g.to < 1 {
		inside = LogicalAnd(inside, LessThan(s, Scalar(s.Graph(), s.DType(), g.to)))
	}
	return inside
}

func noClass(class *Node, classes int) *Node {
	return AddScalar(ZerosLike(class), classes)
}
