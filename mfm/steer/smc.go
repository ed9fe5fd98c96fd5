package steer

import (
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// SMC is the twisted diffusion sampler (Wu et al., arXiv 2306.17775): sequential Monte Carlo along the SDE, whose particles are steered by an estimate ψ_t = e^{V̂_t} of the value and weighted by what
// the estimate got wrong,
//
//	w_{t'} = w_t  p(x'|x) ψ_{t'}(x') / (q(x'|x) ψ_t(x)),   q = p moved by the steering,
//
// with ψ_1 = e^{λ r}. The twist is Tweedie's with [DPS], or a map's posterior samples with [MFMG] or [MFMGF]: for a random estimate the same draw stands in numerator and denominator, so the product
// telescopes: Ẑ, and Ẑ times a weighted mean of the particles, have no bias for any number of them; the weighted mean alone has one that falls as one over their number.
type SMC struct {
	Config
	Particles int // of a set; each set is a run of its own
	// Twist estimates the value; nil for none: particles are then weighted at the end alone.
	Twist      Estimator
	Resampling Resampling
	// Threshold is the share of the particles below which the effective sample size brings on a resampling: 0 never, 1 at each step.
	Threshold float64
}

// String returns "smc" with the name of the twist.
func (m SMC) String() string {
	if m.Twist == nil {
		return "smc-none"
	}
	return "smc-" + m.Twist.String()
}

// Configuration returns the configuration.
func (m SMC) Configuration() Config { return m.Config }

// Rows returns the twist's draws, at least 1.
func (m SMC) Rows() int { return Guided{Estimator: m.Twist}.Rows() }

// Together returns the number of particles of a set.
func (m SMC) Together() int { return m.Particles }

// Validate returns an error that names the first option that makes no sense.
func (m SMC) Validate() error {
	switch {
	case m.Particles < 2 || m.Particles > 1<<16:
		return fmt.Errorf("particles = %d: must lie in [2, 65536]", m.Particles)
	case !slices.Contains([]Resampling{Multinomial, Stratified, Systematic}, m.Resampling):
		return fmt.Errorf("resampling %q is unknown: use %s, %s or %s", m.Resampling, Multinomial, Stratified, Systematic)
	case !(m.Threshold >= 0 && m.Threshold <= 1):
		return fmt.Errorf("threshold = %g: a share must lie in [0, 1]", m.Threshold)
	case m.Dynamics != SDE || m.Noise == 0:
		return fmt.Errorf("dynamics %q with noise %g: particles are weighted along the SDE, use %s with noise", m.Dynamics, m.Noise, SDE)
	case m.LambdaPower != 0:
		return fmt.Errorf("lambda_power = %g: the weights aim at one reward, use 0", m.LambdaPower)
	case m.Renormalization != NoRenormalization:
		return fmt.Errorf("renormalization %q: particles are weighted for the steering as it is, use %s", m.Renormalization, NoRenormalization)
	}
	if err := (Guided{Config: m.Config, Estimator: m.Twist}).Validate(); err != nil || m.NoiseSchedule == nil {
		return err
	}
	for _, t := range m.scheduled() {
		if v := m.NoiseSchedule(t); v == 0 {
			return fmt.Errorf("noise schedule at t = %g is 0: particles are weighted by the noise that they take, use more", t)
		}
	}
	return nil
}

// smcState is what goes from step to step beside the particles: logarithms of weights w and of ψ at the particles, [n], and log Ẑ so far.
type smcState struct {
	state
	logW, logPsi, logZ *Node
}

func (s smcState) nodes() []*Node { return append(s.state.nodes(), s.logW, s.logPsi, s.logZ) }

// Build builds the run; see [Method].
func (m SMC) Build(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) Outcome {
	return m.program(p.Model.Interpolant).build(p, rng, ledger, noise)
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
		start: func(p Problem, rng *solver.RNG, ledger *Ledger, noise *Node) []*Node {
			g, dtype := noise.Graph(), noise.DType()
			zeros := Zeros(g, shapes.Make(dtype, noise.Shape().Dim(0)))
			s := smcState{
				state: state{x: noise, rng: rng, ledger: ledger, series: Zeros(g, shapes.Make(dtypes.Float32, len(steps), columns))},
				logW:  zeros, logPsi: zeros, logZ: ScalarZero(g, dtype),
			}
			// To t_0 particles follow the model's ODE: they start as samples of p_{t_0} with weight ψ.
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
			plain, r, bad := rewardsOf(p, s.ledger, s.x)
			logW := Add(s.logW, Sub(r, s.logPsi))
			s.series = lowerShare(s.series, MulScalar(effective(logW), 1/float64(m.Particles)))
			return Outcome{X: s.x, Rewards: plain, LogWeights: logW, LogZ: Add(s.logZ, Reshape(batch.LogMeanExp(InsertAxes(logW, 0)))), Series: addBad(s.series, bad), Rng: s.rng, Ledger: s.ledger}
		},
	}
}

// leastTwist bounds the logarithm of a twist, which may be any positive number: where all draws of a particle are without weight, the estimate's own would be a number beside which float32 keeps no other.
const leastTwist = -1e4

// effective returns the effective sample size (Σ w)²/Σ w², a scalar.
func effective(logW *Node) *Node {
	return Inverse(ReduceAllSum(Square(Softmax(InsertAxes(logW, 0), 1))))
}

// lowerShare puts the share of a set's particles that count at the end into the last row of its series, where it is the smaller one.
func lowerShare(series, share *Node) *Node {
	last := Const(series.Graph(), int32(series.Shape().Dim(0)-1))
	row := batch.Row(series, last)
	here := make([]bool, columns)
	here[particlesColumn] = true
	lower := Min(row, BroadcastToShape(ConvertDType(share, row.DType()), row.Shape()))
	return batch.SetRow(series, last, Where(Const(series.Graph(), here), lower, row))
}

// step weighs the particles by the twist, resamples where few count, and moves them.
func (m SMC) step(p Problem, s smcState, i *Node, r []*Node) smcState {
	n := s.x.Shape().Dim(0)
	t, at := batch.Every(r[0], s.x), batch.Every(r[1], s.x)
	b := p.Model.Drift(t, s.x, nil)
	s.ledger.Network(n, 0)
	gradient, figures := ZerosLike(s.x), Zeros(s.x.Graph(), shapes.Make(dtypes.Float32, columns))
	if m.Twist != nil {
		e := m.Twist.Estimate(p, s.rng, s.ledger, at, s.x, b, true)
		gradient = e.Gradient
		figures = e.row(Add(Mul(r[2], b), Mul(r[3], s.x)), Mul(r[4], gradient))
		value := MaxScalar(e.Value, leastTwist)
		s.logW, s.logPsi = Add(s.logW, Sub(value, s.logPsi)), value
	}
	size := effective(s.logW)
	few := LessThan(size, Scalar(size.Graph(), size.DType(), m.Threshold*float64(n)))
	ancestors := Where(few, m.Resampling.ancestors(s.rng, InsertAxes(s.logW, 0), n), Iota(s.x.Graph(), shapes.Make(dtypes.Int32, 1, n), 1))
	s.logZ = Add(s.logZ, Where(few, Reshape(batch.LogMeanExp(InsertAxes(s.logW, 0))), ScalarZero(size.Graph(), size.DType())))
	s.logW = Where(few, ZerosLike(s.logW), s.logW)
	s.x, b, gradient, s.logPsi = pick(s.x, ancestors, n), pick(b, ancestors, n), pick(gradient, ancestors, n), pick(s.logPsi, ancestors, n)

	// x' = μ + δ + σ ξ; log p - log q = -(|δ|² + 2 σ δ·ξ)/(2 σ²). The last step has no noise and is not steered.
	noisy := GreaterThan(r[5], ScalarZero(size.Graph(), size.DType()))
	sigma := Where(noisy, r[5], OnesLike(r[5]))
	delta := Mul(Where(noisy, r[4], ZerosLike(r[4])), gradient)
	xi := s.rng.Normal(s.x.Shape())
	dot := func(a, b *Node) *Node { return ReduceSum(Reshape(Mul(a, b), n, -1), 1) }
	s.logW = Sub(s.logW, Div(Add(MulScalar(dot(delta, delta), 0.5), Mul(sigma, dot(delta, xi))), Square(sigma)))
	s.x = Add(Add(s.x, Add(Mul(r[2], b), Mul(r[3], s.x))), Add(delta, Mul(r[5], xi)))
	share := make([]float64, columns)
	share[particlesColumn] = 1 / float64(n)
	figures = Add(figures, Mul(ConstAsDType(figures.Graph(), figures.DType(), share), ConvertDType(size, figures.DType())))
	s.series = batch.SetRow(s.series, OnePlus(i), figures)
	return s
}
