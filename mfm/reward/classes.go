package reward

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// Logits builds the logits of a classifier, [n, classes], for samples [n, ...]. Its weights, if
// any, are variables in scope, which is nil in a graph without a store.
type Logits func(scope *model.Scope, x *Node) *Node

// Tempered returns the logits of a classifier divided by a temperature τ >= 1, so that its
// probabilities are p_τ(k|x) ∝ p(k|x)^{1/τ} (Guo et al., arXiv 1706.04599). The gradient of
// log p(k|x) vanishes where the classifier is sure of k; a larger τ spreads it over more samples.
func Tempered(logits Logits, temperature float64) (Logits, error) {
	if !(temperature >= 1 && temperature <= math.MaxFloat32) {
		return nil, fmt.Errorf("temperature = %g must be a float32 of at least 1", temperature)
	}
	return func(scope *model.Scope, x *Node) *Node {
		return DivScalar(logits(scope, x), temperature)
	}, nil
}

// ofClasses is a reward that is a function of a classifier's log-probabilities, [n, classes].
type ofClasses struct {
	logits  Logits
	classes int
	build   func(logProbabilities *Node) *Node
}

// Build implements [Reward].
func (r ofClasses) Build(scope *model.Scope, x *Node, _ Condition) *Node {
	l := r.logits(scope, x)
	if n := x.Shape().Dim(0); l.Rank() != 2 || l.Shape().Dim(0) != n || l.Shape().Dim(1) != r.classes {
		Panicf("class reward: the classifier returns %s, want [%d, %d]", l.Shape(), n, r.classes)
	}
	return r.build(LogSoftmax(l, 1))
}

// ClassMixture returns r(x) = log Σ_i w_i p(i|x) for a classifier p. If classes do not overlap, the
// share of class i in the target is proportional to w_i times its share in the data. weights has
// one non-negative number per class, not all zero; they need not sum to one.
func ClassMixture(logits Logits, weights []float64) (Reward, error) {
	total := 0.0
	for i, w := range weights {
		if !(w >= 0) {
			return nil, invalid("class_mixture", "weights[%d] = %g must not be negative", i, w)
		}
		total += w
	}
	if err := holds("class_mixture", "weights", weights); err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, invalid("class_mixture", "all %d weights are zero: at least one must be positive", len(weights))
	}
	logWeights := make([]float64, len(weights))
	for i, w := range weights {
		logWeights[i] = math.Log(w)
		if w == 0 {
			logWeights[i] = noWeight // a gradient would multiply -Inf by 0, which is NaN
		}
	}
	return ofClasses{logits, len(weights), func(log *Node) *Node {
		joint := Add(log, ConstAsDType(log.Graph(), log.DType(), [][]float64{logWeights}))
		most := StopGradient(ReduceAndKeep(joint, ReduceMax, 1))
		return Add(Reshape(most, -1), Log(ReduceSum(Exp(Sub(joint, most)), 1)))
	}}, nil
}

// ClassProbability returns r(x) = Σ_i w_i p(i|x), bounded by the weights, which may have any sign.
// Times a factor ([Scaled]) it is, beside the logarithmic one, the paper's reward for images.
func ClassProbability(logits Logits, weights []float64) (Reward, error) {
	if err := holds("class_probability", "weights", weights); err != nil {
		return nil, err
	}
	return ofClasses{logits, len(weights), func(log *Node) *Node {
		return ReduceSum(Mul(Exp(log), ConstAsDType(log.Graph(), log.DType(), [][]float64{weights})), 1)
	}}, nil
}

// LogProbability returns r(x) = log p(class|x) for a classifier of the given number of classes. Its
// target is the data distribution conditioned on the class.
func LogProbability(logits Logits, class, classes int) (Reward, error) {
	if class < 0 || class >= classes {
		return nil, invalid("log_probability", "class = %d: must lie in [0, %d)", class, classes)
	}
	return ofClasses{logits, classes, func(log *Node) *Node {
		return Reshape(Slice(log, AxisRange(), AxisElem(class)), -1)
	}}, nil
}

// LogMixture returns r(x) = log density of x under a Gaussian mixture.
func LogMixture(m *gmm.Mixture) Reward {
	return Func(func(x *Node) *Node {
		x = vectors("log_mixture", x, m.Dim())
		return m.OnGraph(x.Graph(), x.DType()).LogDensity(x)
	})
}
