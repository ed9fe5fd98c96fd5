package steer

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// SMC is the twisted diffusion sampler (Wu et al., arXiv 2306.17775), a particle filter along the
// SDE: an estimate ψ_t = e^{V̂_t} of the value steers the particles, and weights correct for its
// error,
//
//	w_{t'} = w_t  p(x'|x) ψ_{t'}(x') / (q(x'|x) ψ_t(x)),   q = p moved by the steering,
//
// with ψ_1 = e^{λ r}. The twist is Tweedie's with [DPS], or uses posterior samples of a map with
// [MFMG] or [MFMGF]. A random estimate occurs in numerator and denominator with the same value, so
// the product telescopes: Ẑ, and Ẑ times a weighted mean of the particles, are unbiased for any
// number of particles. The weighted mean alone has a bias that falls as 1/Particles.
type SMC struct {
	Config
	Particles int // of a filter; each filter is a run of its own
	// Twist estimates the value. With nil particles are not steered, and weighted only at the end.
	Twist      Estimator
	Resampling Resampling
	// Threshold is a share of Particles: particles are resampled if the effective sample size is
	// below it. 0 means never, 1 at each step.
	Threshold float64
}

// String returns "smc-" with the name of the twist, or "smc-none".
func (m SMC) String() string {
	if m.Twist == nil {
		return "smc-none"
	}
	return "smc-" + m.Twist.String()
}

// Configuration returns the configuration.
func (m SMC) Configuration() Config { return m.Config }

// Rows returns the number of the twist's posterior samples, at least 1.
func (m SMC) Rows() int { return Guided{Estimator: m.Twist}.Rows() }

// Group returns Particles.
func (m SMC) Group() int { return m.Particles }

// Validate returns an error that names the first option that is out of range.
func (m SMC) Validate() error {
	switch {
	case m.Particles < 2 || m.Particles > 1<<16:
		return fmt.Errorf("particles = %d: must lie in [2, 65536]", m.Particles)
	case !slices.Contains([]Resampling{Multinomial, Stratified, Systematic}, m.Resampling):
		return fmt.Errorf("resampling %q is unknown: use %s, %s or %s",
			m.Resampling, Multinomial, Stratified, Systematic)
	case !(m.Threshold >= 0 && m.Threshold <= 1):
		return fmt.Errorf("threshold = %g: must lie in [0, 1]", m.Threshold)
	case m.Dynamics != SDE || m.Noise == 0:
		return fmt.Errorf("dynamics %q with noise %g: weights need noise, use %s with noise > 0",
			m.Dynamics, m.Noise, SDE)
	case m.LambdaPower != 0:
		return fmt.Errorf("lambda_power = %g: weights hold for a constant λ, use 0", m.LambdaPower)
	case m.Renormalization != NoRenormalization:
		return fmt.Errorf("renormalization %q: weights hold for the steering as it is, use %s",
			m.Renormalization, NoRenormalization)
	}
	if err := (Guided{Config: m.Config, Estimator: m.Twist}).Validate(); err != nil || m.NoiseSchedule == nil {
		return err
	}
	for _, t := range m.noisyTimes() {
		if v := m.NoiseSchedule(t); v == 0 {
			return fmt.Errorf("noise schedule at t = %g is 0: weights need noise, use positive values", t)
		}
	}
	return nil
}

// smcState adds to the state the logarithms of the weights w and of ψ at the particles, [n], and
// log Ẑ.
type smcState struct {
	state
	logW, logPsi, logZ *Node
}

func (s smcState) nodes() []*Node { return append(s.state.nodes(), s.logW, s.logPsi, s.logZ) }

// Build builds the run; see [Method].
func (m SMC) Build(p Problem, rng *solver.RNG, counter *Counter, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, counter, noise)
}

func (m SMC) program(ip interpolant.Schedule) program {
	steps := m.steps(ip)
	table := make([][]float64, len(steps)-1)
	for k, step := range steps[1:] {
		table[k] = step.row()
	}
	lambda := func(x *Node) *Node { return Scalar(x.Graph(), x.DType(), m.Lambda) }
	unpack := func(nodes []*Node) smcState {
		return smcState{state: stateOf(nodes), logW: nodes[4], logPsi: nodes[5], logZ: nodes[6]}
	}
	return program{
		steps: len(table),
		start: func(p Problem, rng *solver.RNG, counter *Counter, noise *Node) []*Node {
			g, dtype := noise.Graph(), noise.DType()
			zeros := Zeros(g, shapes.Make(dtype, noise.Shape().Dim(0)))
			series := Zeros(g, shapes.Make(dtypes.Float32, len(steps), columns))
			s := smcState{
				state: state{x: noise, rng: rng, counter: counter, series: series},
				logW:  zeros, logPsi: zeros, logZ: ScalarZero(g, dtype),
			}
			// Up to t_0 particles follow the model's ODE: they start as samples of p_{t_0} with
			// weight ψ.
			first, _ := m.move(p, nil, s.state, scalarsOf(g, dtype, steps[0]))
			s.x = Add(s.x, first)
			return s.nodes()
		},
		step: func(p Problem, i *Node, nodes []*Node) []*Node {
			s := unpack(nodes)
			p.Lambda = lambda(s.x)
			return m.step(p, s, i, batch.Of(ConstAsDType(s.x.Graph(), s.x.DType(), table), i)).nodes()
		},
		end: func(p Problem, nodes []*Node) Outcome {
			s := unpack(nodes)
			p.Lambda = lambda(s.x)
			plain, r, bad := rewardsOf(p, s.counter, s.x)
			logW := Add(s.logW, Sub(r, s.logPsi))
			s.series = lowerShare(s.series, MulScalar(effective(logW), 1/float64(m.Particles)))
			return Outcome{
				X: s.x, Rewards: plain, LogWeights: logW,
				LogZ:   Add(s.logZ, Reshape(batch.LogMeanExp(InsertAxes(logW, 0)))),
				Series: addBad(s.series, bad), Rng: s.rng, Counter: s.counter,
			}
		},
	}
}

// leastTwist bounds log ψ from below, which is exact, since any positive ψ is a twist. If no
// posterior sample of a particle has a weight, the unbounded estimate is so large that float32
// would lose what is added to it.
const leastTwist = -1e4

// effective returns the effective sample size (Σ w)²/Σ w², a scalar.
func effective(logW *Node) *Node {
	return Inverse(ReduceAllSum(Square(Softmax(InsertAxes(logW, 0), 1))))
}

// lowerShare lowers the particles column in the last row of a series to share, if share is smaller.
func lowerShare(series, share *Node) *Node {
	last := Const(series.Graph(), int32(series.Shape().Dim(0)-1))
	row := batch.Row(series, last)
	here := make([]bool, columns)
	here[particlesColumn] = true
	lower := Min(row, BroadcastToShape(ConvertDType(share, row.DType()), row.Shape()))
	return batch.SetRow(series, last, Where(Const(series.Graph(), here), lower, row))
}

// step weights the particles by the twist, resamples them if the effective sample size is small,
// and moves them.
func (m SMC) step(p Problem, s smcState, i *Node, r []*Node) smcState {
	n := s.x.Shape().Dim(0)
	t, at := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
	b := p.Model.Drift(t, s.x, nil)
	p.DriftInX = true // t is at least t_0, and so equals at
	s.counter.Network(n*p.Model.driftNFE(), 0)
	gradient, means := ZerosLike(s.x), Zeros(s.x.Graph(), shapes.Make(dtypes.Float32, columns))
	if m.Twist != nil {
		e := m.Twist.Estimate(p, s.rng, s.counter, at, s.x, b, true)
		gradient = e.Gradient
		means = e.means(Add(Mul(r[2], b), Mul(r[3], s.x)), Mul(r[4], gradient))
		value := MaxScalar(e.Value, leastTwist)
		s.logW, s.logPsi = Add(s.logW, Sub(value, s.logPsi)), value
	}
	size := effective(s.logW)
	few := LessThan(size, Scalar(size.Graph(), size.DType(), m.Threshold*float64(n)))
	resampled := m.Resampling.ancestors(s.rng, InsertAxes(s.logW, 0), n)
	ancestors := Where(few, resampled, Iota(s.x.Graph(), shapes.Make(dtypes.Int32, 1, n), 1))
	mean := Reshape(batch.LogMeanExp(InsertAxes(s.logW, 0)))
	s.logZ = Add(s.logZ, Where(few, mean, ScalarZero(size.Graph(), size.DType())))
	s.logW = Where(few, ZerosLike(s.logW), s.logW)
	s.x, b = pick(s.x, ancestors, n), pick(b, ancestors, n)
	gradient, s.logPsi = pick(gradient, ancestors, n), pick(s.logPsi, ancestors, n)

	// x' = μ + δ + σ ξ; log p - log q = -(|δ|² + 2 σ δ·ξ)/(2 σ²). The last step has no noise and no
	// steering.
	noisy := GreaterThan(r[5], ScalarZero(size.Graph(), size.DType()))
	sigma := Where(noisy, r[5], OnesLike(r[5]))
	delta := Mul(Where(noisy, r[4], ZerosLike(r[4])), gradient)
	xi := s.rng.Normal(s.x.Shape())
	dot := func(a, b *Node) *Node { return ReduceSum(Reshape(Mul(a, b), n, -1), 1) }
	s.logW = Sub(s.logW, Div(Add(MulScalar(dot(delta, delta), 0.5), Mul(sigma, dot(delta, xi))), Square(sigma)))
	s.x = Add(Add(s.x, Add(Mul(r[2], b), Mul(r[3], s.x))), Add(delta, Mul(r[5], xi)))
	share := make([]float64, columns)
	share[particlesColumn] = 1 / float64(n)
	column := ConstAsDType(means.Graph(), means.DType(), share)
	means = Add(means, Mul(column, ConvertDType(size, means.DType())))
	s.series = batch.SetRow(s.series, OnePlus(i), means)
	return s
}

// Resampling names how the ancestors of N particles are drawn with probabilities w. All kinds are
// unbiased: particle i has N w_i offspring in expectation.
type Resampling string

// The kinds of resampling, by decreasing variance of the number of offspring (Douc, Cappé and
// Moulines, arXiv cs/0507025).
const (
	Multinomial Resampling = "multinomial" // independent ancestors
	Stratified  Resampling = "stratified"  // one uniform number in each of N equal parts of [0, 1)
	Systematic  Resampling = "systematic"  // the same uniform number in each part
)

// ancestors draws indices, int32 [groups, to], from each group of log-weights, [groups, from].
func (r Resampling) ancestors(rng *solver.RNG, logWeights *Node, to int) *Node {
	groups, from := logWeights.Shape().Dim(0), logWeights.Shape().Dim(1)
	g, dtype := logWeights.Graph(), logWeights.DType()
	cumulative := cumulative(Softmax(logWeights, 1))
	var at *Node
	strata := Iota(g, shapes.Make(dtype, groups, to), 1)
	switch r {
	case Multinomial:
		at = rng.Uniform(shapes.Make(dtype, groups, to))
	case Stratified:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, groups, to))), float64(to))
	default:
		at = DivScalar(Add(strata, rng.Uniform(shapes.Make(dtype, groups, 1))), float64(to))
	}
	return MinScalar(countBelow(cumulative, at), float64(from-1))
}

// countBelow returns how many of the increasing numbers, [groups, from], are at most each of at,
// [groups, to]. It bisects, since [groups, to, from] comparisons would need too much memory.
func countBelow(increasing, at *Node) *Node {
	groups, from := increasing.Shape().Dim(0), increasing.Shape().Dim(1)
	g := increasing.Graph()
	count := Zeros(g, shapes.Make(dtypes.Int32, at.Shape().Dimensions...))
	group := MulScalar(Iota(g, count.Shape(), 0), float64(from))
	flat := Reshape(increasing, groups*from)
	step := 1
	for 2*step <= from {
		step *= 2
	}
	for ; step > 0; step /= 2 { // sets the bits of the count, highest first
		next := AddScalar(count, float64(step))
		last := Add(group, MinScalar(AddScalar(next, -1), float64(from-1)))
		below := LessOrEqual(Gather(flat, InsertAxes(last, -1)), at)
		fits := LessOrEqual(next, Scalar(g, dtypes.Int32, from))
		count = Where(LogicalAnd(below, fits), next, count)
	}
	return count
}

// cumulative returns the running sums over the last axis of w, [groups, n], each row scaled to end
// at 1 up to rounding.
func cumulative(w *Node) *Node {
	sum := CumSum(w, 1)
	n := w.Shape().Dim(1)
	return Div(sum, Slice(sum, AxisRange(), AxisRange(n-1, n)))
}

// pick returns the rows of x, [groups·from, ...], with the given indices in each group, [groups,
// to]: [groups·to, ...].
func pick(x, indices *Node, from int) *Node {
	groups := Iota(x.Graph(), indices.Shape(), 0)
	rows := Add(MulScalar(groups, float64(from)), indices)
	return Gather(x, InsertAxes(Reshape(rows, -1), -1))
}
