package mfm

import (
	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Network is a backbone with bound weights: it maps its inputs to a node of x̄'s shape.
type Network func(in nn.Inputs) *Node

// Parametrization defines the average velocity v_{s,u}(x̄; t, x) by the raw output F of a network,
// and the size of the part that F has to learn.
type Parametrization interface {
	// Velocity returns v_{s,u}(x̄; t, x), with x̄'s shape. It calls f once.
	Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node
	// Whiten divides an error in the velocity, at inner time s for a context at time t, by the size
	// of F's contribution there, so that losses are of order one at all times. s and t are [batch],
	// err [batch, ...].
	Whiten(ip interpolant.Schedule, s, t, err *Node) *Node
}

// ParametrizationName is the name of a parametrization in configurations. Those of mixtures and of
// images each take some of the names.
type ParametrizationName string

// The names.
const (
	PlainName    ParametrizationName = "plain"    // [Plain]
	AnchoredName ParametrizationName = "anchored" // [Anchored]
	// GaussianName is a [Gaussian] with the moments of the data.
	GaussianName ParametrizationName = "gaussian"
	UnfusedName  ParametrizationName = "unfused"  // the same with [Gaussian].NoFusion
	DiagonalName ParametrizationName = "diagonal" // a [Gaussian] with the variances of the data alone
	MixtureName  ParametrizationName = "mixture"  // a [MixturePrior] fitted to the data
)

// Plain is the parametrization v_{s,u} = F, so X_{s,u}(x̄) = x̄ + (u-s) F.
type Plain struct{}

// Velocity returns the network's output.
func (Plain) Velocity(_ interpolant.Schedule, f Network, in nn.Inputs) *Node { return f(in) }

// Whiten returns err.
func (Plain) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// String returns "plain".
func (Plain) String() string { return string(PlainName) }

// Anchored is the optional parametrization of the paper's code, for the linear schedule:
//
//	v_{s,u} = (1-t) F + t (x - x̄)/(1-s).
//
// Without a network it is exact at t = 1; at t = 0 it is [Plain]. Since it does not depend on u, F
// diverges like 1/(1-s). 1-s is at least 1e-3 here.
type Anchored struct{}

// Velocity returns the average velocity, see [Anchored]. It panics for schedules other than
// [interpolant.Linear].
func (Anchored) Velocity(ip interpolant.Schedule, f Network, in nn.Inputs) *Node {
	if _, linear := ip.(interpolant.Linear); !linear {
		Panicf("the anchored parametrization needs the linear schedule, not %v", ip)
	}
	s, t := batch.Like(in.S, in.Xbar), batch.Like(in.T, in.Xbar)
	anchor := Div(Sub(in.X, in.Xbar), MaxScalar(OneMinus(s), 1e-3))
	return Add(Mul(OneMinus(t), f(in)), Mul(t, anchor))
}

// Whiten returns err.
func (Anchored) Whiten(_ interpolant.Schedule, _, _, err *Node) *Node { return err }

// String returns "anchored".
func (Anchored) String() string { return string(AnchoredName) }
