// Package navigation is a task in the plane whose optimal drift is known: steering from noise to a
// goal among obstacles, on Gaussian data whose flow map is exact. It measures bias and variance of
// fine-tuning objectives at their optimum.
//
// Start with [Default]. [Task.Model] and [Task.Reward] define the task, [Task.Value] is its value
// by quadrature, [Task.Sample] samples the tilted distribution, and [Task.Variance] evaluates an
// objective.
package navigation

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Obstacle is a bump of low reward.
type Obstacle struct {
	Center []float64 `json:"center"`
	Width  float64   `json:"width"`  // standard deviation of the bump
	Height float64   `json:"height"` // at the center, positive
}

// Task is the task of reaching a goal among obstacles. Its reward is
//
//	r(x) = -|x - goal|²/(2 w²) - Σ_k h_k e^{-|x - o_k|²/(2 w_k²)}
//
// on data from N(0, StdDev² I), whose flow map is exact. The value is the integral over a Gaussian
// of a smooth factor between 0 and 1.
type Task struct {
	// StdDev is the standard deviation of the data, per element.
	StdDev    float64    `json:"std"`
	Goal      []float64  `json:"goal"`
	GoalWidth float64    `json:"goal_width"`
	Obstacles []Obstacle `json:"obstacles"`
}

// Default returns a task with the goal at (2, 2) and three obstacles, one on the goal and two in
// front of it.
func Default() Task {
	return Task{StdDev: 2, Goal: []float64{2, 2}, GoalWidth: 1, Obstacles: []Obstacle{
		{Center: []float64{2, 2}, Width: 0.35, Height: 4},
		{Center: []float64{1, 2.2}, Width: 0.3, Height: 3},
		{Center: []float64{2.2, 1}, Width: 0.3, Height: 3},
	}}
}

// Validate returns an error for points that are not in the plane, and for widths, heights and a
// standard deviation that are not positive.
func (n Task) Validate() error {
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	if len(n.Goal) != 2 || !positive(n.GoalWidth) || !positive(n.StdDev) {
		return fmt.Errorf(
			"standard deviation %g, goal %v, goal width %g: the goal must have two coordinates, the others must "+
				"be positive",
			n.StdDev, n.Goal, n.GoalWidth)
	}
	for i, o := range n.Obstacles {
		if len(o.Center) != 2 || !positive(o.Width) || !positive(o.Height) {
			return fmt.Errorf(
				"obstacle %d at %v, width %g, height %g: it must have two coordinates, the others must be positive",
				i+1, o.Center, o.Width, o.Height)
		}
	}
	return nil
}

// Mixture returns the distribution of the data as a mixture of one component, or the error of
// Validate.
func (n Task) Mixture() (*gmm.Mixture, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	v := n.StdDev * n.StdDev
	return gmm.New([]float64{1}, [][]float64{{0, 0}}, [][][]float64{{{v, 0}, {0, v}}})
}

// Model returns the model of the data. Its posterior samples are those of the exact flow map, and
// have gradients.
func (n Task) Model() (steer.Model, error) {
	data, err := n.Mixture()
	if err != nil {
		return steer.Model{}, err
	}
	return steer.FromGaussian(data, interpolant.Linear{}), nil
}

// Reward returns r as a graph function.
func (n Task) Reward() reward.Reward {
	bump := func(x *Node, center []float64, width float64) *Node {
		d := Sub(x, InsertAxes(ConstAsDType(x.Graph(), x.DType(), center), 0))
		return MulScalar(ReduceSum(Square(d), 1), -0.5/(width*width))
	}
	return reward.Func(func(x *Node) *Node {
		r := bump(x, n.Goal, n.GoalWidth)
		for _, o := range n.Obstacles {
			r = Sub(r, MulScalar(Exp(bump(x, o.Center, o.Width)), o.Height))
		}
		return r
	})
}

// obstacles returns the sum of the bumps at (x, y).
func (n Task) obstacles(x, y float64) float64 {
	sum := 0.0
	for _, o := range n.Obstacles {
		dx, dy := x-o.Center[0], y-o.Center[1]
		sum += o.Height * math.Exp(-(dx*dx+dy*dy)/(2*o.Width*o.Width))
	}
	return sum
}

// tilted returns the posterior at (t, x) times the goal's factor e^{-λ |x - goal|²/(2 w²)}, without
// the obstacles: mean and variance per element of the normalized Gaussian and the logarithm of the
// integral. It also returns the posterior's mean.
func (n Task) tilted(
	t float64, x []float64, lambda float64,
) (mean []float64, variance, log float64, posterior []float64) {
	alpha, beta, _, _ := interpolant.Linear{}.At(t)
	v := n.StdDev * n.StdDev
	d := alpha*alpha + beta*beta*v
	c, goal := alpha*alpha*v/d, n.GoalWidth*n.GoalWidth/lambda
	variance = c * goal / (c + goal)
	for i, g := range n.Goal {
		mu := beta * v / d * x[i]
		posterior = append(posterior, mu)
		mean = append(mean, (mu*goal+g*c)/(c+goal))
		log += 0.5*math.Log(goal/(c+goal)) - (mu-g)*(mu-g)/(2*(c+goal))
	}
	return mean, variance, log, posterior
}

// quadratureNodes is the number of nodes along each axis of the box outside which the integrand is
// below e^-40 of its maximum. There the error of the trapezoidal rule falls faster than any power
// of the step.
const quadratureNodes = 201

// Value returns V_t(x) = log E[e^{λ r(I_1)} | I_t = x] and its gradient, with errors below 1e-6; t
// must lie in [0, 1).
func (n Task) Value(t float64, x []float64, lambda float64) (value float64, gradient []float64) {
	return n.value(t, x, lambda, quadratureNodes)
}

func (n Task) value(t float64, x []float64, lambda float64, nodes int) (value float64, gradient []float64) {
	_, variance, log, posterior := n.tilted(t, x, lambda)
	q := n.quadrature(t, x, lambda, nodes)
	var sum, sx, sy float64
	for k, w := range q.weights {
		px, py := q.at(k)
		sum, sx, sy = sum+w, sx+w*px, sy+w*py
	}
	alpha, beta, _, _ := interpolant.Linear{}.At(t)
	k := beta / (alpha * alpha)
	value = log + q.log + math.Log(sum*q.width*q.height/(2*math.Pi*variance))
	return value, []float64{k * (sx/sum - posterior[0]), k * (sy/sum - posterior[1])}
}

// quadrature is e^{λ r} times the posterior, up to a constant factor, at the nodes of a box outside
// which it is below e^-40 of its maximum. The weights are relative to the maximum e^log.
type quadrature struct {
	box           [4]float64
	nodes         int
	weights       []float64
	log           float64
	width, height float64 // distances between nodes
}

// quadrature returns the quadrature at (t, x), with the given number of nodes along each axis.
func (n Task) quadrature(t float64, x []float64, lambda float64, nodes int) quadrature {
	mean, variance, _, _ := n.tilted(t, x, lambda)
	integrand := func(px, py float64) float64 {
		dx, dy := px-mean[0], py-mean[1]
		return -(dx*dx+dy*dy)/(2*variance) - lambda*n.obstacles(px, py)
	}
	reach := 10*math.Sqrt(variance) + 2
	q := quadrature{
		box:   [4]float64{mean[0] - reach, mean[0] + reach, mean[1] - reach, mean[1] + reach},
		nodes: nodes, log: math.Inf(-1), weights: make([]float64, nodes*nodes),
	}
	for range 3 {
		q.box = essential(integrand, q.box, nodes)
	}
	for k := range q.weights {
		q.weights[k] = integrand(q.at(k))
		q.log = math.Max(q.log, q.weights[k])
	}
	for k, l := range q.weights {
		q.weights[k] = math.Exp(l - q.log)
	}
	q.width, q.height = (q.box[1]-q.box[0])/float64(nodes-1), (q.box[3]-q.box[2])/float64(nodes-1)
	return q
}

// at returns the coordinates of node k.
func (q quadrature) at(k int) (x, y float64) {
	return node(q.box[0], q.box[1], k%q.nodes, q.nodes), node(q.box[2], q.box[3], k/q.nodes, q.nodes)
}

// node returns the i-th of n equidistant nodes from one end to the other.
func node(from, to float64, i, n int) float64 { return from + (to-from)*float64(i)/float64(n-1) }

// essential returns the smallest box of nodes in which the logarithm of an integrand is within 40
// of its maximum, with two more nodes on each side.
func essential(integrand func(x, y float64) float64, box [4]float64, nodes int) [4]float64 {
	logs := make([]float64, nodes*nodes)
	top := math.Inf(-1)
	for k := range logs {
		logs[k] = integrand(node(box[0], box[1], k%nodes, nodes), node(box[2], box[3], k/nodes, nodes))
		top = math.Max(top, logs[k])
	}
	x0, x1, y0, y1 := nodes, 0, nodes, 0
	for k, l := range logs {
		if l > top-40 {
			x0, x1, y0, y1 = min(x0, k%nodes), max(x1, k%nodes), min(y0, k/nodes), max(y1, k/nodes)
		}
	}
	return [4]float64{
		node(box[0], box[1], x0-2, nodes), node(box[0], box[1], x1+2, nodes),
		node(box[2], box[3], y0-2, nodes), node(box[2], box[3], y1+2, nodes),
	}
}

// Sample returns samples of the distribution tilted by λ r, [count][2]: nodes of the quadrature
// sampled by their weights, plus uniform noise over the node's square, whose side is about a
// hundredth of the distribution's width.
func (n Task) Sample(rng *rand.Rand, lambda float64, count int) [][]float64 {
	q := n.quadrature(0, []float64{0, 0}, lambda, quadratureNodes)
	cumulated := make([]float64, len(q.weights))
	floats.CumSum(cumulated, q.weights)
	out := make([][]float64, count)
	for i := range out {
		k := sort.SearchFloat64s(cumulated, rng.Float64()*cumulated[len(cumulated)-1])
		x, y := q.at(min(k, len(cumulated)-1))
		out[i] = []float64{x + (rng.Float64()-0.5)*q.width, y + (rng.Float64()-0.5)*q.height}
	}
	return out
}

// Points returns states of the tilted distribution at time t, with the optimal correction (σ²/2) ∇V
// and the value V at each.
func (n Task) Points(rng *rand.Rand, t, lambda float64, count int) []tune.Point {
	alpha, beta, _, _ := interpolant.Linear{}.At(t)
	half := interpolant.HalfSquaredNoise(interpolant.Linear{}, t)
	var out []tune.Point
	for _, z := range n.Sample(rng, lambda, count) {
		p := tune.Point{T: t}
		for _, v := range z {
			p.X = append(p.X, float64(float32(alpha*rng.NormFloat64()+beta*v)))
		}
		value, gradient := n.Value(t, p.X, lambda)
		p.Value = value
		for _, g := range gradient {
			p.Correction = append(p.Correction, half*g)
		}
		out = append(out, p)
	}
	return out
}

// VarianceResult is the bias and variance of an objective's residual at the optimum, over states
// that the tilted distribution visits. An unbiased residual has mean zero there.
type VarianceResult struct {
	// Method is the name of an objective in [tune.Objectives], or that of one's own.
	Method  string  `json:"method"`
	N       int     `json:"n"`
	T       float64 `json:"t"`
	Lambda  float64 `json:"lambda"`
	States  int     `json:"states"`
	Samples int     `json:"samples"` // residuals at each state
	// Bias is the root mean square over the states of the length of the mean residual, in units of
	// the optimal correction's length, less in quadrature the part that standard errors explain.
	// BiasSE is that part.
	Bias   float64 `json:"bias"`
	BiasSE float64 `json:"bias_se"`
	// Z is the largest |mean| in standard errors over states and elements.
	Z float64 `json:"z"`
	// StdDev is the standard deviation of a single residual, in the same units.
	StdDev float64 `json:"std"`
}

// Variance evaluates the residuals of an objective at the optimum, see [tune.Residuals]: rows
// residuals at each of the given number of states. samples is the objective's N. It returns an
// error unless t lies in (0, 1) and lambda is positive.
func (n Task) Variance(
	ctx context.Context, b compute.Backend, objective tune.Objective, samples int, t, lambda float64, states, rows int,
	seed int64,
) (VarianceResult, error) {
	result := VarianceResult{Method: objective.String(), N: samples, T: t, Lambda: lambda, States: states}
	m, err := n.Model()
	if err != nil {
		return result, err
	}
	if !(t > 0 && t < 1) || !(lambda > 0) {
		return result, fmt.Errorf("t = %g, lambda = %g: t must lie in (0, 1) and lambda be positive", t, lambda)
	}
	points := n.Points(rand.New(rand.NewPCG(uint64(seed), 19)), float64(float32(t)), lambda, states)
	got, err := tune.Residuals(ctx, b, model.NewStore(), tune.ResidualTask{
		Model: m, Reward: n.Reward(), Lambda: lambda, Noise: tune.Noise{Start: 1e-3},
		Objective: objective, Points: points, Samples: rows, Seed: seed,
	})
	if err != nil {
		return result, err
	}
	result.Samples = got[0].Samples
	var mean, error2, variance, size float64
	for i, r := range got {
		for j := range r.Mean {
			mean += r.Mean[j] * r.Mean[j]
			error2 += r.SE[j] * r.SE[j]
			size += points[i].Correction[j] * points[i].Correction[j]
		}
		_, z := r.Bias()
		result.Z = max(result.Z, z)
		variance += r.Variance
	}
	result.Bias = math.Sqrt(math.Max(mean-error2, 0) / size)
	result.BiasSE = math.Sqrt(error2 / size)
	result.StdDev = math.Sqrt(variance / size)
	return result, nil
}
