package experiment

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

// Obstacle is a bump in a reward that samples shall not lie on.
type Obstacle struct {
	Center []float64 `json:"center"`
	Width  float64   `json:"width"`  // deviation of the bump
	Height float64   `json:"height"` // at its centre, positive
}

// Navigation is a task in the plane whose optimal drift is known: from noise to a goal among obstacles,
//
//	r(x) = -|x - goal|²/(2 w²) - Σ_k h_k e^{-|x - o_k|²/(2 w_k²)},
//
// on a Gaussian law, of which the flow map is exact. The value is an integral over a Gaussian, of a smooth factor between 0 and 1.
type Navigation struct {
	Spread    float64    `json:"spread"` // deviation of the law, per element
	Goal      []float64  `json:"goal"`
	GoalWidth float64    `json:"goal_width"`
	Obstacles []Obstacle `json:"obstacles"`
}

// DefaultNavigation has a goal to the upper right with three obstacles before and on it.
func DefaultNavigation() Navigation {
	return Navigation{Spread: 2, Goal: []float64{2, 2}, GoalWidth: 1, Obstacles: []Obstacle{
		{Center: []float64{2, 2}, Width: 0.35, Height: 4}, {Center: []float64{1, 2.2}, Width: 0.3, Height: 3}, {Center: []float64{2.2, 1}, Width: 0.3, Height: 3},
	}}
}

// Validate returns an error for places that are not in the plane, and for widths and heights that are not positive.
func (n Navigation) Validate() error {
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	if len(n.Goal) != 2 || !positive(n.GoalWidth) || !positive(n.Spread) {
		return fmt.Errorf("navigation from a law of spread %g to a goal at %v of width %g: the goal must have two coordinates, the others be positive", n.Spread, n.Goal, n.GoalWidth)
	}
	for i, o := range n.Obstacles {
		if len(o.Center) != 2 || !positive(o.Width) || !positive(o.Height) {
			return fmt.Errorf("navigation: obstacle %d at %v of width %g and height %g: it must have two coordinates, the others be positive", i+1, o.Center, o.Width, o.Height)
		}
	}
	return nil
}

// Law returns the law without the reward.
func (n Navigation) Law() (*gmm.Mixture, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	v := n.Spread * n.Spread
	return gmm.New([]float64{1}, [][]float64{{0, 0}}, [][][]float64{{{v, 0}, {0, v}}})
}

// Model returns the law as a model whose posterior samples are those of the exact flow map, and have gradients.
func (n Navigation) Model() (steer.Model, error) {
	law, err := n.Law()
	if err != nil {
		return steer.Model{}, err
	}
	return steer.FromGaussian(law, interpolant.Linear{}), nil
}

// Reward returns r as a graph function.
func (n Navigation) Reward() reward.Reward {
	bump := func(x *Node, center []float64, width float64) *Node {
		d := Sub(x, InsertAxes(ConstAsDType(x.Graph(), x.DType(), center), 0))
		return MulScalar(ReduceSum(Square(d), 1), -0.5/(width*width))
	}
	return func(x *Node) *Node {
		r := bump(x, n.Goal, n.GoalWidth)
		for _, o := range n.Obstacles {
			r = Sub(r, MulScalar(Exp(bump(x, o.Center, o.Width)), o.Height))
		}
		return r
	}
}

// obstacles returns the sum of the bumps at (x, y).
func (n Navigation) obstacles(x, y float64) float64 {
	sum := 0.0
	for _, o := range n.Obstacles {
		dx, dy := x-o.Center[0], y-o.Center[1]
		sum += o.Height * math.Exp(-(dx*dx+dy*dy)/(2*o.Width*o.Width))
	}
	return sum
}

// tilted returns the Gaussian that the posterior and the goal make together, without the obstacles: means, variance per element, and the logarithm of the integral of e^{λ r}.
func (n Navigation) tilted(t float64, x []float64, lambda float64) (mean []float64, variance, log float64, posterior []float64) {
	alpha, beta, _, _ := interpolant.Linear{}.At(t)
	v := n.Spread * n.Spread
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

// quadratureNodes is the number of nodes along each axis of the box that holds all but e^-40 of the largest integrand: there the trapezoidal rule's error falls faster than any power of it.
const quadratureNodes = 201

// Value returns V_t(x) = log E[e^{λ r(I_1)} | I_t = x] and its gradient, to 1e-6; t lies in [0, 1).
func (n Navigation) Value(t float64, x []float64, lambda float64) (value float64, gradient []float64) {
	return n.value(t, x, lambda, quadratureNodes)
}

func (n Navigation) value(t float64, x []float64, lambda float64, nodes int) (value float64, gradient []float64) {
	_, variance, log, posterior := n.tilted(t, x, lambda)
	q := n.quadrature(t, x, lambda, nodes)
	var sum, sx, sy float64
	for k, w := range q.weights {
		px, py := q.at(k)
		sum, sx, sy = sum+w, sx+w*px, sy+w*py
	}
	alpha, beta, _, _ := interpolant.Linear{}.At(t)
	k := beta / (alpha * alpha)
	return log + q.log + math.Log(sum*q.width*q.height/(2*math.Pi*variance)), []float64{k * (sx/sum - posterior[0]), k * (sy/sum - posterior[1])}
}

// quadrature is e^{λ r} times the posterior at nodes of the box that holds all of it but e^-40: weights, of which the largest is 1 and e^log in truth, up to a factor.
type quadrature struct {
	box           [4]float64
	nodes         int
	weights       []float64
	log           float64
	width, height float64 // of a cell
}

func (n Navigation) quadrature(t float64, x []float64, lambda float64, nodes int) quadrature {
	mean, variance, _, _ := n.tilted(t, x, lambda)
	integrand := func(px, py float64) float64 {
		dx, dy := px-mean[0], py-mean[1]
		return -(dx*dx+dy*dy)/(2*variance) - lambda*n.obstacles(px, py)
	}
	reach := 10*math.Sqrt(variance) + 2
	q := quadrature{box: [4]float64{mean[0] - reach, mean[0] + reach, mean[1] - reach, mean[1] + reach}, nodes: nodes, log: math.Inf(-1), weights: make([]float64, nodes*nodes)}
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

// at returns node k.
func (q quadrature) at(k int) (x, y float64) {
	return node(q.box[0], q.box[1], k%q.nodes, q.nodes), node(q.box[2], q.box[3], k/q.nodes, q.nodes)
}

// node returns the i-th of n nodes from one end to the other.
func node(from, to float64, i, n int) float64 { return from + (to-from)*float64(i)/float64(n-1) }

// essential returns the smallest box of nodes in which the logarithm of an integrand is within 40 of its largest, and two nodes more on each side.
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

// Sample returns samples of the law tilted by λ r, [count][2]: nodes of the quadrature drawn by their weights, moved within their cells, which are some hundredth of the law's width.
func (n Navigation) Sample(rng *rand.Rand, lambda float64, count int) [][]float64 {
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

// Points returns states of the tilted law at time t with the optimal correction and the value there.
func (n Navigation) Points(rng *rand.Rand, t, lambda float64, count int) []tune.Point {
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

// VarianceRow is how far a method's condition is from the truth at the optimum, over states that the tilted law visits.
type VarianceRow struct {
	Method string  `json:"method"`
	N      int     `json:"n"`
	T      float64 `json:"t"`
	Lambda float64 `json:"lambda"`
	States int     `json:"states"`
	Draws  int     `json:"draws"` // rows at each state
	// Bias is the root mean square over the states of the residual's mean length, in units of the optimal correction's, less in quadrature what its standard errors explain; BiasSE is these.
	Bias   float64 `json:"bias"`
	BiasSE float64 `json:"bias_se"`
	// Z is the largest over states and elements of |mean| in standard errors.
	Z float64 `json:"z"`
	// Spread is the root mean square scatter of one row's residual in the same units.
	Spread float64 `json:"spread"`
}

// Variance looks at the residuals of a method at the optimum, see [tune.Residuals].
func (n Navigation) Variance(ctx context.Context, b compute.Backend, method tune.Method, draws int, t, lambda float64, states, rows int, seed int64) (VarianceRow, error) {
	row := VarianceRow{Method: method.String(), N: draws, T: t, Lambda: lambda, States: states}
	m, err := n.Model()
	if err != nil {
		return row, err
	}
	if !(t > 0 && t < 1) || !(lambda > 0) {
		return row, fmt.Errorf("t = %g, lambda = %g: t must lie in (0, 1) and lambda be positive", t, lambda)
	}
	points := n.Points(rand.New(rand.NewPCG(uint64(seed), 19)), float64(float32(t)), lambda, states)
	got, err := tune.Residuals(ctx, b, model.NewStore(), m, n.Reward(), lambda, tune.Noise{Start: 1e-3}, method, points, rows, seed)
	if err != nil {
		return row, err
	}
	row.Draws = got[0].Draws
	var mean, error2, scatter, size float64
	for i, r := range got {
		for j := range r.Mean {
			mean += r.Mean[j] * r.Mean[j]
			error2 += r.SE[j] * r.SE[j]
			size += points[i].Correction[j] * points[i].Correction[j]
			if r.SE[j] > 0 {
				row.Z = math.Max(row.Z, math.Abs(r.Mean[j])/r.SE[j])
			}
		}
		scatter += r.Variance
	}
	row.Bias = math.Sqrt(math.Max(mean-error2, 0) / size)
	row.BiasSE = math.Sqrt(error2 / size)
	row.Spread = math.Sqrt(scatter / size)
	return row, nil
}
