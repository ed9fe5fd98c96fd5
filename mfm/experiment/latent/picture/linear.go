package picture

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"
)

// linearClassifier is a multinomial logistic regression on features x that are shifted and scaled
// to mean zero and variance one over the examples: p(c) is proportional to exp(w_c·x + b_c).
type linearClassifier struct {
	// penalty is λ in the loss, the mean cross-entropy plus λ/2 Σ_c |w_c|².
	penalty float64

	mean, std []float64
	weights   *mat.Dense // [dim + 1, classes]; the last row has the biases
}

// penalties are those that fitLinear tries, decreasing, so that each fit starts near its minimum.
func penalties() []float64 { return []float64{10, 3, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001} }

// holdOutEvery is the number of examples of which fitLinear holds out one to choose the penalty.
const holdOutEvery = 5

// fitLinear fits a classifier to features [n][dim] with labels [n] from 0 to classes - 1. Of nine
// penalties from 0.001 to 10 it takes the one with the least cross-entropy of every fifth example
// after a fit to the others, and then fits all. Equal arguments give equal classifiers.
func fitLinear(features [][]float64, labels []int32, classes int) (*linearClassifier, error) {
	if err := checkExamples(features, labels, classes); err != nil {
		return nil, fmt.Errorf("fitting a linear classifier: %w", err)
	}
	var fitted, held [][]float64
	var fittedLabels, heldLabels []int32
	for i, x := range features {
		if i%holdOutEvery == holdOutEvery-1 {
			held, heldLabels = append(held, x), append(heldLabels, labels[i])
		} else {
			fitted, fittedLabels = append(fitted, x), append(fittedLabels, labels[i])
		}
	}
	best, penalty := math.Inf(1), 0.
	c := newLinear(fitted, classes)
	for _, p := range penalties() {
		if err := c.fit(fitted, fittedLabels, p); err != nil {
			return nil, err
		}
		loss := newLinearLoss(c.standardized(held), heldLabels, classes, 0)
		if v := loss.value(c.weights.RawMatrix().Data); v < best {
			best, penalty = v, p
		}
	}
	c = newLinear(features, classes)
	return c, c.fit(features, labels, penalty)
}

// checkExamples returns an error unless there are at least holdOutEvery examples, each with a
// label.
func checkExamples(features [][]float64, labels []int32, classes int) error {
	switch {
	case len(features) != len(labels):
		return fmt.Errorf("%d examples with %d labels", len(features), len(labels))
	case len(features) < holdOutEvery:
		return fmt.Errorf("%d examples: give at least %d", len(features), holdOutEvery)
	}
	for i, label := range labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("label %d is %d of %d classes", i, label, classes)
		}
		if len(features[i]) != len(features[0]) {
			return fmt.Errorf("example %d has %d features, the first %d", i, len(features[i]), len(features[0]))
		}
		if floats.HasNaN(features[i]) || math.IsInf(floats.Sum(features[i]), 0) {
			return fmt.Errorf("example %d has features that are not finite", i)
		}
	}
	return nil
}

// newLinear returns a classifier with the moments of features, and zero weights.
func newLinear(features [][]float64, classes int) *linearClassifier {
	dim := len(features[0])
	c := &linearClassifier{
		mean: make([]float64, dim), std: make([]float64, dim), weights: mat.NewDense(dim+1, classes, nil),
	}
	column := make([]float64, len(features))
	for j := range dim {
		for i, x := range features {
			column[i] = x[j]
		}
		c.mean[j], c.std[j] = stat.PopMeanStdDev(column, nil)
		if c.std[j] == 0 {
			c.std[j] = 1 // of a constant feature
		}
	}
	return c
}

// standardized returns the rows (x - mean)/std, and 1 for the bias.
func (c *linearClassifier) standardized(features [][]float64) *mat.Dense {
	x := mat.NewDense(len(features), len(c.mean)+1, nil)
	for i, row := range features {
		to := x.RawRowView(i)
		floats.SubTo(to[:len(row)], row, c.mean)
		floats.Div(to[:len(row)], c.std)
		to[len(row)] = 1
	}
	return x
}

// The minimization ends when all derivatives are at most linearGradient, which takes some tens of
// iterations; at most linearIterations.
const (
	linearGradient   = 1e-5
	linearIterations = 10_000
)

// fit minimizes the loss from the present weights.
func (c *linearClassifier) fit(features [][]float64, labels []int32, penalty float64) error {
	_, classes := c.weights.Dims()
	loss := newLinearLoss(c.standardized(features), labels, classes, penalty)
	result, err := optimize.Minimize(
		optimize.Problem{Func: loss.value, Grad: func(g, w []float64) { copy(g, loss.gradient(w)) }},
		slices.Clone(c.weights.RawMatrix().Data),
		&optimize.Settings{GradientThreshold: linearGradient, MajorIterations: linearIterations,
			Converger: optimize.NeverTerminate{}},
		&optimize.LBFGS{})
	if err == nil && result.Status != optimize.GradientThreshold {
		err = errors.New(result.Status.String())
	}
	if err != nil {
		return fmt.Errorf("fitting a linear classifier with penalty %g: %w", penalty, err)
	}
	copy(c.weights.RawMatrix().Data, result.X)
	c.penalty = penalty
	return nil
}

// predict returns the most probable class of each row of features [n][dim]. It panics if the number
// of features is another than in the fit.
func (c *linearClassifier) predict(features [][]float64) []int32 {
	if len(features) == 0 {
		return nil
	}
	var scores mat.Dense
	scores.Mul(c.standardized(features), c.weights)
	classes := make([]int32, len(features))
	for i := range classes {
		classes[i] = int32(floats.MaxIdx(scores.RawRowView(i)))
	}
	return classes
}

// linearLoss is the loss of weights, flat. It keeps the last value and gradient, since the
// minimizer asks for both at the same weights.
type linearLoss struct {
	x       *mat.Dense
	labels  []int32
	classes int
	penalty float64

	at, gradientAt []float64
	valueAt        float64
}

func newLinearLoss(x *mat.Dense, labels []int32, classes int, penalty float64) *linearLoss {
	return &linearLoss{x: x, labels: labels, classes: classes, penalty: penalty}
}

func (l *linearLoss) value(w []float64) float64 {
	l.evaluate(w)
	return l.valueAt
}

func (l *linearLoss) gradient(w []float64) []float64 {
	l.evaluate(w)
	return l.gradientAt
}

func (l *linearLoss) evaluate(w []float64) {
	if slices.Equal(w, l.at) {
		return
	}
	n, rows := l.x.Dims()
	weights := mat.NewDense(rows, l.classes, w)
	var p mat.Dense
	p.Mul(l.x, weights)
	l.valueAt = 0
	for i, label := range l.labels {
		scores := p.RawRowView(i)
		total := floats.LogSumExp(scores)
		l.valueAt += (total - scores[label]) / float64(n)
		for j := range scores {
			scores[j] = math.Exp(scores[j]-total) / float64(n)
		}
		scores[label] -= 1 / float64(n)
	}
	gradient := mat.NewDense(rows, l.classes, nil)
	gradient.Mul(l.x.T(), &p)
	l.gradientAt = gradient.RawMatrix().Data
	penalized := w[:(rows-1)*l.classes] // all but the biases
	l.valueAt += l.penalty / 2 * floats.Dot(penalized, penalized)
	floats.AddScaled(l.gradientAt[:len(penalized)], l.penalty, penalized)
	l.at = slices.Clone(w)
}
