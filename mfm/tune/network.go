package tune

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Network builds the tuned drift.
type Network interface {
	// Drift returns b̂_t(x), of x's shape, with the weights in scope; base builds b_t(x), for those that add to it. t is [n], x [n, ...].
	Drift(weights *model.Scope, t, x *Node, base interpolant.Drift) *Node
	// Initial returns the weights to begin with, by their path below the scope; nil for random ones. Fixed returns those that stay as they are, by their path below [train.DataScope].
	Initial() map[string]*tensors.Tensor
	Fixed() map[string]*tensors.Tensor
}

// TunedDrift returns b̂ as a drift, for [mfm.NewTeacherSampler] or as the teacher of a map.
func TunedDrift(n Network, weights *model.Scope, base interpolant.Drift) interpolant.Drift {
	return func(t, x, _ *Node) *Node { return n.Drift(weights, t, x, base) }
}

// Adapter is a network of its own on top of the frozen base,
//
//	b̂ = b + min(σ_t²/2, 1) F(t, x/√(α_t² + β_t² V)),
//
// so that toward t = 1, where the optimal correction vanishes as σ_t²/2 does, F is a gradient of the value and an error in it counts as little as it should. A backbone that starts at zero, as [nn.MLP] with its default gain does, starts at the base. A step of a sampler costs both.
type Adapter struct {
	Interpolant interpolant.Schedule
	Backbone    nn.Backbone
	Variance    float64 // V of the data, a mean over the elements
	Noise       Noise   // of σ_t
}

// Drift builds the tuned drift; see [Network].
func (a Adapter) Drift(weights *model.Scope, t, x *Node, base interpolant.Drift) *Node {
	alpha, beta, _, _ := a.Interpolant.Graph(batch.Like(t, x))
	scaled := Div(x, Sqrt(Add(Square(alpha), MulScalar(Square(beta), a.Variance))))
	in := nn.Inputs{S: t, U: t, T: ZerosLike(t), Xbar: scaled, X: ZerosLike(x)}
	scale := MinScalar(a.Noise.Half(a.Interpolant, t), 1)
	return Add(base(t, x, nil), Mul(batch.Like(scale, x), a.Backbone(weights.ResetVisited(), in)))
}

// Initial returns nil.
func (Adapter) Initial() map[string]*tensors.Tensor { return nil }

// Fixed returns nil.
func (Adapter) Fixed() map[string]*tensors.Tensor { return nil }

// Copy is a copy of the base map's network, all of whose weights are tuned: b̂_t(x) = v_{t,t}(x; 0, .) of the copy. A step costs what the base's does.
type Copy struct {
	Map     *mfm.Map
	Weights map[string]*tensors.Tensor // of the base, by their path below the scope of its weights
}

// Drift builds the tuned drift; see [Network].
func (c Copy) Drift(weights *model.Scope, t, x *Node, _ interpolant.Drift) *Node {
	return c.Map.Drift(weights, t, x, nil)
}

// Initial returns the base's weights.
func (c Copy) Initial() map[string]*tensors.Tensor { return c.Weights }

// Fixed returns nil.
func (Copy) Fixed() map[string]*tensors.Tensor { return nil }

// LowRank is the base map's network with W + A B in the place of each matrix or kernel W, [..., out], of its weights: A [inputs, rank] starts normal, B [rank, out] at zero (Hu et al., arXiv 2106.09685). Biases stay.
type LowRank struct {
	Map     *mfm.Map
	Weights map[string]*tensors.Tensor
	Rank    int
	Seed    int64 // of A
}

// lowRankScope is where the frozen weights lie, below the scope of data.
const lowRankScope = "low_rank"

// Drift builds the tuned drift; see [Network]. It panics where the store lacks the frozen weights.
func (l LowRank) Drift(weights *model.Scope, t, x *Node, _ interpolant.Drift) *Node {
	g, store := x.Graph(), weights.Store()
	scope := store.Scope(path.Join(train.DataScope, lowRankScope))
	var restore []func()
	for _, name := range slices.Sorted(maps.Keys(l.Weights)) {
		shape := l.Weights[name].Shape()
		if shape.Rank() < 2 {
			continue
		}
		v := store.GetVariable(path.Join(train.DataScope, lowRankScope, name))
		if v == nil {
			Panicf("low rank: the store lacks the frozen weights %s: put Fixed into it", name)
		}
		a, b := weights.GetVariable(deltaName(name)+"_a"), weights.GetVariable(deltaName(name)+"_b")
		if a == nil || b == nil {
			Panicf("low rank: the weights lack the update of %s: put Initial into them", name)
		}
		frozen := v.NodeValue(g)
		v.SetNodeValue(Add(frozen, Reshape(Dot(a.NodeValue(g), b.NodeValue(g)).Product(), shape.Dimensions...)))
		restore = append(restore, func() { v.SetNodeValue(frozen) })
	}
	drift := l.Map.Drift(scope, t, x, nil)
	for _, f := range restore {
		f()
	}
	return drift
}

// Initial returns A and B of each matrix.
func (l LowRank) Initial() map[string]*tensors.Tensor {
	out := make(map[string]*tensors.Tensor)
	rng := rand.New(rand.NewPCG(uint64(l.Seed), 11))
	for _, name := range slices.Sorted(maps.Keys(l.Weights)) {
		shape := l.Weights[name].Shape()
		if shape.Rank() < 2 {
			continue
		}
		units := shape.Dim(-1)
		inputs := shape.Size() / units
		rank := min(l.Rank, inputs, units)
		a := make([]float32, inputs*rank)
		for i := range a {
			a[i] = float32(rng.NormFloat64() / math.Sqrt(float64(inputs)))
		}
		out["/"+deltaName(name)+"_a"] = tensors.FromFlatDataAndDimensions(a, inputs, rank)
		out["/"+deltaName(name)+"_b"] = tensors.FromShape(shapes.Make(shape.DType, rank, units))
	}
	return out
}

// deltaName returns the name of the update of a weight, without slashes.
func deltaName(weight string) string {
	return strings.ReplaceAll(strings.Trim(weight, "/"), "/", ".")
}

// Fixed returns the base's weights.
func (l LowRank) Fixed() map[string]*tensors.Tensor {
	out := make(map[string]*tensors.Tensor)
	for name, w := range l.Weights {
		out[path.Join("/", lowRankScope, name)] = w
	}
	return out
}

// Restore puts the tuned weights of a network, by their path below scope, and its fixed ones into a store, and returns the tuned drift of them. base is the base's drift with its weights in that store. scope is [train.WeightsScope], or
// for a store that trains something else one below [train.DataScope], where they are not trained.
func Restore(store *model.Store, scope string, n Network, weights map[string]*tensors.Tensor, base interpolant.Drift) (interpolant.Drift, error) {
	if err := put(store, scope, weights, scope == train.WeightsScope); err != nil {
		return nil, fmt.Errorf("tuned weights: %w", err)
	}
	if err := put(store, train.DataScope, n.Fixed(), false); err != nil {
		return nil, fmt.Errorf("fixed weights: %w", err)
	}
	return TunedDrift(n, store.Scope(scope), base), nil
}

// put makes variables of a store below scope, with copies of the values, since a trainer donates its own to its steps.
func put(store *model.Store, scope string, values map[string]*tensors.Tensor, trainable bool) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value, err := values[name].LocalClone()
		if err != nil {
			return fmt.Errorf("copying %s: %w", name, err)
		}
		v, err := store.CreateVariable(path.Join(scope, name), value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.SetTrainable(trainable)
	}
	return nil
}
