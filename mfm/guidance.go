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

// Guidance trains a map with classes: dropping them teaches the unconditional map beside the conditional ones, which
// classifier-free guidance needs when sampling (see [ClassifierFree]); a scale above one or a mix above zero instead trains
// the guided map itself, so that sampling costs one evaluation.
//
// With v_c and v_∅ the frozen map's drift with and without the class, the drift w that a loss regresses on becomes
//
//	ω w + κ v_c + (1-ω-κ) v_∅,
//
// whose fixed point is guidance of scale ω/(1-κ) (Geng et al., arXiv 2505.13447, appendix B). κ = 0 is plain guidance in the
// target, ω = 1 with κ > 0 model guidance (Tang et al., arXiv 2502.12154).
type Guidance struct {
	// Classes is the number of classes, and the label that stands for none of them.
	Classes int `json:"classes"`
	// Dropout is the share of rows whose class is dropped.
	Dropout float64 `json:"dropout"`
	// Scale is ω; 0 counts as 1, no guidance.
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
		return fmt.Errorf("guidance needs classes: none are configured")
	case g.active() && g.Dropout == 0:
		return fmt.Errorf("guidance of scale %g and mix %g needs a dropout above 0: without it the drift of no class is never trained", g.scale(), g.Mix)
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

// dropClass replaces a share of the labels by "none". It panics where there should be labels and are none.
func (g Guidance) dropClass(rng *solver.RNG, class *Node) *Node {
	if g.Classes > 0 && class == nil {
		panic(fmt.Errorf("guidance with %d classes: the data have no labels", g.Classes))
	}
	if g.Dropout == 0 {
		return class
	}
	shape := class.Shape().Clone()
	shape.DType = dtypes.Float32
	drop := LessThan(rng.Uniform(shape), Scalar(class.Graph(), dtypes.Float32, g.Dropout))
	return Where(drop, noClass(class, g.Classes), class)
}

// guide returns the guided drift for the rows that have a class, w for the others.
func (p *problem) guide(r rows, w *Node) *Node {
	g := p.Guidance
	if !g.active() {
		return w
	}
	in := r.Inputs
	in.U = in.S
	without := in
	without.Class = noClass(r.Class, g.Classes)
	guided := Add(MulScalar(w, g.scale()), MulScalar(p.m.Velocity(p.target, without), 1-g.scale()-g.Mix))
	if g.Mix > 0 {
		guided = Add(guided, MulScalar(p.m.Velocity(p.target, in), g.Mix))
	}
	dropped := batch.Like(Equal(r.Class, without.Class), w)
	return Where(BroadcastToShape(dropped, shapes.Make(dtypes.Bool, w.Shape().Dimensions...)), w, guided)
}

// ClassifierFree returns the guided drift b_∅ + scale (b_c - b_∅) of Ho and Salimans (arXiv 2207.12598), where label classes stands
// for no class. It evaluates b twice.
func ClassifierFree(b interpolant.Drift, scale float64, classes int) interpolant.Drift {
	return func(t, x, class *Node) *Node {
		without := b(t, x, noClass(class, classes))
		return Add(without, MulScalar(Sub(b(t, x, class), without), scale))
	}
}

func noClass(class *Node, classes int) *Node {
	return AddScalar(ZerosLike(class), classes)
}
