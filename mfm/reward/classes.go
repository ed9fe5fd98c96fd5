package reward

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// Logits builds the logits of a classifier, [n, classes], for samples [n, ...].
type Logits func(x *Node) *Node

// ClassMixture is r(x) = log Σ_i w_i p(i|x) for a classifier p: the reward at which class i of the data's law gets the share that is proportional to w_i times its own, as far as classes do
// not overlap. Weights are not negative, one for each class, and not all zero; they need not sum to one.
func ClassMixture(logits Logits, weights []float64) (Reward, error) {
	total := 0.0
	for i, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("class mixture: weight %d is %g: must be finite and not negative", i, w)
		}
		total += w
	}
	if total == 0 {
		return nil, fmt.Errorf("class mixture: the %d weights are all zero: give one of them some", len(weights))
	}
	logWeights := make([]float64, len(weights))
	for i, w := range weights {
		logWeights[i] = math.Log(w)
		if w == 0 {
			logWeights[i] = noWeight // -Inf times nothing would be NaN in a gradient
		}
	}
	return func(x *Node) *Node {
		joint := Add(logProbabilities(logits, x, len(weights)), ConstAsDType(x.Graph(), x.DType(), [][]float64{logWeights}))
		most := StopGradient(ReduceAndKeep(joint, ReduceMax, 1))
		return Add(Reshape(most, -1), Log(ReduceSum(Exp(Sub(joint, most)), 1)))
	}, nil
}

// ClassProbability is r(x) = Σ_i w_i p(i|x), bounded by the weights, which may be of any sign. With a factor ([Scaled]) it is the reward of images that the paper uses beside the one in logarithms.
func ClassProbability(logits Logits, weights []float64) (Reward, error) {
	for i, w := range weights {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("class probability: weight %d is %g: must be finite", i, w)
		}
	}
	return func(x *Node) *Node {
		p := Exp(logProbabilities(logits, x, len(weights)))
		return ReduceSum(Mul(p, ConstAsDType(x.Graph(), x.DType(), [][]float64{weights})), 1)
	}, nil
}

// LogProbability is r(x) = log p(class|x), of classes many in all. Its target is the data's law given the class.
func LogProbability(logits Logits, class, classes int) (Reward, error) {
	if class < 0 || class >= classes {
		return nil, fmt.Errorf("log-probability of class %d: must lie in [0, %d)", class, classes)
	}
	return func(x *Node) *Node {
		return Reshape(Slice(logProbabilities(logits, x, classes), AxisRange(), AxisElem(class)), -1)
	}, nil
}

func logProbabilities(logits Logits, x *Node, classes int) *Node {
	l := logits(x)
	if n := x.Shape().Dim(0); l.Rank() != 2 || l.Shape().Dim(0) != n || l.Shape().Dim(1) != classes {
		Panicf("reward of classes: the classifier returns %s, want [%d, %d]", l.Shape(), n, classes)
	}
	return LogSoftmax(l, 1)
}

// LogMixture is r(x) = log density of x under a Gaussian mixture.
func LogMixture(m *gmm.Mixture) Reward {
	return func(x *Node) *Node {
		x = vectors("log_mixture", x, m.Dim())
		return m.OnGraph(x.Graph(), x.DType()).LogDensity(x)
	}
}
