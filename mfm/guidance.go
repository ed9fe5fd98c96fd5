package mfm

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
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

func noClass(class *Node, classes int) *Node {
	return AddScalar(ZerosLike(class), classes)
}
