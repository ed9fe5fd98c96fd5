package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// ValueRow is the quality of estimates of the value V_t from N posterior samples, over states that the tilted law visits at t, as a steered run does.
type ValueRow struct {
	T         float64 `json:"t"`
	N         int     `json:"n"`
	States    int     `json:"states"`
	Estimates int     `json:"estimates"` // for each state
	Bias      float64 `json:"bias"`      // mean over states and estimates of the estimate less V_t
	BiasSE    float64 `json:"bias_se"`   // its standard error
	Spread    float64 `json:"spread"`    // root mean square deviation of a state's estimates
	Value     float64 `json:"value"`     // mean of V_t over the states
	// StateError is the root mean square over states of the bias at each, without what its standard error adds.
	StateError float64 `json:"state_error"`
}

// ValueConfig says at how many states a value is estimated, and how often.
type ValueConfig struct {
	States int
	// Draws of each state: N of them are an estimate, so there are Draws/N estimates.
	Draws       int
	Seed        uint64
	LeaveOneOut bool
}

// Values compares estimates of V_t with the exact value, at a time t for each number of draws. The reward must be linear-Gaussian, λ is 1.
func (s *Steering) Values(b compute.Backend, t float64, ns []int, c ValueConfig) ([]ValueRow, error) {
	if s.linear == nil {
		return nil, fmt.Errorf("the value of this reward is no closed form to compare with")
	}
	if !(t >= 0 && t < 1) || c.States < 2 {
		return nil, fmt.Errorf("values at t = %g of %d states: t must lie in [0, 1), and there must be at least 2 states", t, c.States)
	}
	target, _, err := s.closedForm(1)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(c.Seed, 9))
	alpha, beta, _, _ := s.Model.Interpolant.At(t)
	states := target.Sample(rng, c.States)
	for _, x := range states {
		for j := range x {
			x[j] = alpha*rng.NormFloat64() + beta*x[j]
		}
	}
	exact, err := s.exactValues(t, states)
	if err != nil {
		return nil, err
	}
	var rows []ValueRow
	for _, n := range ns {
		if n < 1 || c.Draws < 2*n {
			return nil, fmt.Errorf("values from n = %d of %d draws: want at least two estimates", n, c.Draws)
		}
		estimates, err := s.estimates(b, t, states, n, c)
		if err != nil {
			return nil, err
		}
		row := ValueRow{T: t, N: n, States: c.States, Estimates: len(estimates[0]), Value: stat.Mean(exact, nil)}
		var variance, varianceOfBias, square float64
		for i, v := range exact {
			mean, sd := stat.MeanStdDev(estimates[i], nil)
			row.Bias += (mean - v) / float64(c.States)
			variance += sd * sd / float64(c.States)
			square += ((mean-v)*(mean-v) - sd*sd/float64(len(estimates[i]))) / float64(c.States)
			varianceOfBias += sd * sd / float64(len(estimates[i])) / float64(c.States*c.States)
		}
		row.Spread, row.BiasSE, row.StateError = math.Sqrt(variance), math.Sqrt(varianceOfBias), math.Sqrt(max(square, 0))
		rows = append(rows, row)
	}
	return rows, nil
}

// exactValues returns V_t of states, [n][dim], at time t.
func (s *Steering) exactValues(t float64, states [][]float64) ([]float64, error) {
	target, logZ, err := s.closedForm(1)
	if err != nil {
		return nil, err
	}
	exact := make([]float64, len(states))
	for i, x := range states {
		exact[i] = logZ + target.LogMarginal(s.Model.Interpolant, t, x) - s.Law.LogMarginal(s.Model.Interpolant, t, x)
	}
	return exact, nil
}

// ValueAt compares estimates of V_t from n draws each with the exact value at given states, [any][dim], at a time t in [0, 1): the exact value of each, the mean of its c.Draws/n estimates less that, and their standard deviation, in
// nats. The reward must be linear-Gaussian, λ is 1; c.States is not read.
func (s *Steering) ValueAt(b compute.Backend, t float64, states [][]float64, n int, c ValueConfig) (exact, bias, spread []float64, err error) {
	switch c.States = len(states); {
	case s.linear == nil:
		return nil, nil, nil, fmt.Errorf("the value of this reward is no closed form to compare with")
	case !(t >= 0 && t < 1) || len(states) == 0:
		return nil, nil, nil, fmt.Errorf("values at t = %g of %d states: t must lie in [0, 1), and there must be a state", t, len(states))
	case n < 1 || c.Draws < 2*n:
		return nil, nil, nil, fmt.Errorf("values from n = %d of %d draws: want at least two estimates", n, c.Draws)
	}
	for _, x := range states {
		if len(x) != s.Law.Dim() {
			return nil, nil, nil, fmt.Errorf("values at a state of %d elements: the mixture has %d", len(x), s.Law.Dim())
		}
	}
	if exact, err = s.exactValues(t, states); err != nil {
		return nil, nil, nil, err
	}
	estimates, err := s.estimates(b, t, states, n, c)
	if err != nil {
		return nil, nil, nil, err
	}
	bias, spread = make([]float64, len(states)), make([]float64, len(states))
	for i, v := range exact {
		bias[i], spread[i] = stat.MeanStdDev(estimates[i], nil)
		bias[i] -= v
	}
	return exact, bias, spread, nil
}

// estimates returns those of each state, [states][estimates].
func (s *Steering) estimates(b compute.Backend, t float64, points [][]float64, n int, c ValueConfig) ([][]float64, error) {
	var coordinates []float32
	for _, x := range points {
		for _, v := range x {
			coordinates = append(coordinates, float32(v))
		}
	}
	states := tensors.FromFlatDataAndDimensions(coordinates, c.States, s.Law.Dim())
	const rows = 1 << 20 // posterior samples of a call
	each := c.Draws / n
	perCall := max(1, min(each, rows/(n*c.States)))
	exec, err := model.NewExec(b, s.Store, func(_ *model.Scope, x, rngState *Node) []*Node {
		g := x.Graph()
		rng := &solver.RNG{State: rngState}
		many := batch.Repeat(x, perCall)
		at := BroadcastToDims(Scalar(g, x.DType(), t), many.Shape().Dim(0))
		p := steer.Problem{Model: s.Model, Reward: s.Reward, Lambda: ScalarOne(g, x.DType())}
		e := steer.MFMGF{Draws: steer.Draws{N: n, LeaveOneOut: c.LeaveOneOut}, Baseline: steer.MeanBaseline}
		return []*Node{Reshape(e.Estimate(p, rng, steer.NewLedger(g), at, many, nil, false).Value, c.States, perCall), rng.State}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the estimates: %w", err)
	}
	defer exec.Finalize()
	rngState, err := RNGStateFromSeed(int64(c.Seed))
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", c.Seed, err)
	}
	out := make([][]float64, c.States)
	for len(out[0])+perCall <= each {
		x, err := states.LocalClone()
		if err != nil {
			return nil, fmt.Errorf("estimating values: %w", err)
		}
		got, err := exec.Call(x, rngState)
		if err != nil {
			return nil, fmt.Errorf("estimating values: %w", err)
		}
		rngState = got[1]
		flat, err := tensors.CopyFlatData[float32](got[0])
		if err != nil {
			return nil, fmt.Errorf("estimating values: %w", err)
		}
		for i, row := range mfm.Rows(flat, perCall) {
			out[i] = append(out[i], row...)
		}
	}
	return out, nil
}
