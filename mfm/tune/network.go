package tune

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
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

// Network parametrizes the tuned drift.
type Network interface {
	// Drift builds b̂_t(x), of x's shape, with the given weights. t is [n], x [n, ...], class int32
	// [n] or nil. base builds b_t(x), for a network that adds to it.
	Drift(weights *model.Scope, t, x, class *Node, base interpolant.Drift) *Node
	// Initial returns the initial weights by their paths below the scope; nil means random weights.
	Initial() map[string]*tensors.Tensor
	// Fixed returns the weights that are not trained, by their paths below [train.DataScope].
	Fixed() map[string]*tensors.Tensor
}

// TunedDrift returns the tuned drift b̂, for [mfm.NewTeacherSampler] or as the teacher of a map.
func TunedDrift(n Network, weights *model.Scope, base interpolant.Drift) interpolant.Drift {
	return func(t, x, class *Node) *Node { return n.Drift(weights, t, x, class, base) }
}

// Adapter adds a network to the frozen base,
//
//	b̂ = b + min(σ_t²/2, 1) F(t, x/√(α_t² + β_t² V)),
//
// where F is the backbone. The optimal correction vanishes as σ_t²/2 toward t = 1: there F is a
// gradient of the value, and its errors have little effect. With a backbone that is zero at first,
// as [nn.MLP] with its default gain, tuning starts at the base. A step of a sampler evaluates both
// networks.
type Adapter struct {
	Interpolant interpolant.Schedule
	Backbone    nn.Backbone
	Variance    float64 // V of the data, a mean over the elements
	Noise       Noise   // of σ_t
	Classes     int     // that the backbone is conditioned on, 0 for none
}

// Drift builds the tuned drift; see [Network].
func (a Adapter) Drift(weights *model.Scope, t, x, class *Node, base interpolant.Drift) *Node {
	alpha, beta, _, _ := a.Interpolant.Graph(batch.Like(t, x))
	scaled := Div(x, Sqrt(Add(Square(alpha), MulScalar(Square(beta), a.Variance))))
	in := nn.Inputs{S: t, U: t, T: ZerosLike(t), Xbar: scaled, X: ZerosLike(x)}
	if a.Classes > 0 {
		in.Class = class
	}
	scale := MinScalar(a.Noise.Half(a.Interpolant, t), 1)
	return Add(base(t, x, class), Mul(batch.Like(scale, x), a.Backbone(weights.ResetVisited(), in)))
}

// Initial returns nil.
func (Adapter) Initial() map[string]*tensors.Tensor { return nil }

// Fixed returns nil.
func (Adapter) Fixed() map[string]*tensors.Tensor { return nil }

// Copy is a copy of the base map's network with all weights trained: b̂_t(x) = v_{t,t}(x; 0, .) of
// the copy. A step of a sampler costs as much as with the base.
type Copy struct {
	Map     *mfm.Map
	Weights map[string]*tensors.Tensor // of the base, by their paths below the scope of its weights
}

// Drift builds the tuned drift; see [Network].
func (c Copy) Drift(weights *model.Scope, t, x, class *Node, _ interpolant.Drift) *Node {
	return c.Map.Drift(weights, t, x, class)
}

// Initial returns the base's weights.
func (c Copy) Initial() map[string]*tensors.Tensor { return c.Weights }

// Fixed returns nil.
func (Copy) Fixed() map[string]*tensors.Tensor { return nil }

// LowRank is the base map's network in which W + A B replaces each matrix or kernel W, [..., out].
// A, [inputs, rank], is normal at first, and B, [rank, out], zero (Hu et al., arXiv 2106.09685).
// Biases are not trained.
type LowRank struct {
	Map     *mfm.Map
	Weights map[string]*tensors.Tensor // of the base, as in [Copy]
	Rank    int                        // at most the smaller dimension of each W
	Seed    int64                      // of A
}

// lowRankScope is the scope of the frozen weights, below [train.DataScope].
const lowRankScope = "low_rank"

// Drift builds the tuned drift; see [Network]. It panics if the store lacks the weights of Fixed or
// Initial.
func (l LowRank) Drift(weights *model.Scope, t, x, class *Node, _ interpolant.Drift) *Node {
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
			Panicf("low rank: the store lacks the frozen weights %s: add those of Fixed", name)
		}
		a, b := weights.GetVariable(deltaName(name)+"_a"), weights.GetVariable(deltaName(name)+"_b")
		if a == nil || b == nil {
			Panicf("low rank: the weights lack the update of %s: add those of Initial", name)
		}
		frozen := v.NodeValue(g)
		update := Dot(a.NodeValue(g), b.NodeValue(g)).Product()
		v.SetNodeValue(Add(frozen, Reshape(update, shape.Dimensions...)))
		restore = append(restore, func() { v.SetNodeValue(frozen) })
	}
	drift := l.Map.Drift(scope, t, x, class)
	for _, f := range restore {
		f()
	}
	return drift
}

// Initial returns A and B of each matrix or kernel.
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

// deltaName returns the name of a weight's update, without slashes.
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

// Restore adds the tuned weights of a network, by their paths below scope, and its fixed weights to
// a store and returns the tuned drift. base is the base's drift with its weights in that store.
// scope is [train.WeightsScope], or a scope below [train.DataScope] if the store trains something
// else. It returns an error if the store has one of the weights already.
func Restore(
	store *model.Store, scope string, n Network, weights map[string]*tensors.Tensor, base interpolant.Drift,
) (interpolant.Drift, error) {
	if err := put(store, scope, weights, scope == train.WeightsScope); err != nil {
		return nil, fmt.Errorf("tuned weights: %w", err)
	}
	if err := put(store, train.DataScope, n.Fixed(), false); err != nil {
		return nil, fmt.Errorf("fixed weights: %w", err)
	}
	return TunedDrift(n, store.Scope(scope), base), nil
}

// Shapes returns the shapes of a network's weights by their paths; see [train.Shapes].
func Shapes(base Base, n Network) (map[string]shapes.Shape, error) {
	return train.Shapes(func(weights *model.Scope, g *Graph) {
		store := weights.Store()
		m, err := base.In(store)
		if err != nil {
			panic(err)
		}
		drift, err := Restore(store, weights.Scope(), n, n.Initial(), m.Drift)
		if err != nil {
			panic(err)
		}
		t := Zeros(g, shapes.Make(float32Type, 1))
		x := Zeros(g, shapes.Make(float32Type, append([]int{1}, m.Shape...)...))
		var class *Node
		if m.Classes > 0 {
			class = Zeros(g, shapes.Make(dtypes.Int32, 1))
		}
		drift(t, x, class)
	})
}

// put adds variables to a store below scope. It copies the values, since a trainer donates the
// buffers of its variables.
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
