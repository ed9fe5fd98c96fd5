package reward

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// Scaled returns factor · r.
func Scaled(r Reward, factor float64) Reward { return scaled{r, factor} }

type scaled struct {
	of     Reward
	factor float64
}

// Build implements [Reward].
func (s scaled) Build(scope *model.Scope, x *Node, c Condition) *Node {
	return MulScalar(s.of.Build(scope, x, c), s.factor)
}

// Sum returns r₁ + r₂ + ..., which tilts by all of them. The sum of no rewards is 0.
func Sum(rewards ...Reward) Reward { return sum(rewards) }

type sum []Reward

// Build implements [Reward].
func (s sum) Build(scope *model.Scope, x *Node, c Condition) *Node {
	total := MulScalar(ReduceSum(flat(x), 1), 0)
	for i, r := range s {
		total = Add(total, r.Build(in(scope, fmt.Sprintf("term_%d", i)), x, c))
	}
	return total
}

// Transform builds what a reward sees of samples x, [n, ...], such as the images that a decoder
// makes of latent codes, [n, ...]. Its weights, if any, are variables in scope.
type Transform func(scope *model.Scope, x *Node) *Node

// Transformed returns r(f(x)). The weights of f are in the scope "transform" below the reward's,
// those of r in "reward".
func Transformed(r Reward, f Transform) Reward { return transformed{r, f} }

type transformed struct {
	of Reward
	f  Transform
}

// Build implements [Reward].
func (t transformed) Build(scope *model.Scope, x *Node, c Condition) *Node {
	return t.of.Build(in(scope, "reward"), t.f(in(scope, "transform"), x), c)
}

// in returns the scope below a scope, which may be nil.
func in(scope *model.Scope, name string) *model.Scope {
	if scope == nil {
		return nil
	}
	return scope.In("%s", name)
}
