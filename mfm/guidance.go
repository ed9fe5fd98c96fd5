package mfm

import (
	"fmt"
	"math"

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
// 2502.12154).
type Guidance struct {
	// Classes is the number of classes, and the label of "no class".
	Classes int `json:"classes"`
	// Dropout is the share of rows, in [0, 1], whose class is dropped.
	Dropout float64 `json:"dropout"`
	// Scale is ω. 0 means 1, no guidance.
	Scale float64 `json:"scale"`
	// Mix is κ, in [0, 1).
	Mix float64 `json:"mix"`
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
		return fmt.Errorf("guidance of scale %g and mix %g needs a dropout above 0 to train the drift without class",
			g.scale(), g.Mix)
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

func (g Guidance) active() bool { return g.Mix > 0 || g.scale() != 1 }

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

// guide returns the guided drift for rows with a class, and w for the others.
func (e *lossEvaluation) guide(r lossRows, w *Node) *Node {
	g := e.Guidance
	if !g.active() {
		return w
	}
	in := r.Inputs
	in.U = in.S
	without := in
	without.Class = noClass(r.Class, g.Classes)
	guided := Add(MulScalar(w, g.scale()), MulScalar(e.m.Velocity(e.target, without), 1-g.scale()-g.Mix))
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

// Guided returns the model with classifier-free guidance of all its velocities, at twice the
// evaluations:
//
//	v_{s,u} = v_∅ + scale (v_c - v_∅),
//
// where c is the class of a row and ∅ is no class. Rows without a class are not guided, and a scale
// of 1 returns the model itself. A map that was trained with guidance is guided once more. A map
// that was trained without dropout of its classes has no v_∅ to guide from.
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
func (m Model) Guided(scale float64) (Model, error) {
	switch {
	case !(scale >= 0 && scale <= math.MaxFloat64):
		return m, fmt.Errorf("guidance of scale %g: must not be negative, and be finite", scale)
	case scale == 1:
		return m, nil
	case m.Classes == 0:
		return m, fmt.Errorf("guidance of scale %g: the model has no classes, use 1", scale)
	}
	of := *m.Map
	of.Parametrization = guided{of.Parametrization, scale, m.Classes}
	m.Map = &of
	return m, nil
}

// guided is a parametrization with guidance; see [Model.Guided].
type guided struct {
	Parametrization
	scale   float64
	classes int
}

// Velocity returns the guided velocity. It calls f twice, and panics without labels.
func (g guided) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if in.Class == nil {
		Panicf("guidance of scale %g: the rows have no labels; %d is that of no class", g.scale, g.classes)
	}
	velocity := func(_, _, class *Node) *Node {
		in.Class = class
		return g.Parametrization.Velocity(ip, f, in)
	}
	return ClassifierFree(velocity, g.scale, g.classes)(nil, nil, in.Class)
}

func noClass(class *Node, classes int) *Node {
	return AddScalar(ZerosLike(class), classes)
}
