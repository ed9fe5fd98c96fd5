package mixture

import (
	"errors"
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

// ValueResult is the quality of estimates of the value V_t from N posterior samples, in nats, over
// states x_t of the tilted distribution, as a steered run visits them.
type ValueResult struct {
	T         float64 `json:"t"`
	N         int     `json:"n"`
	States    int     `json:"states"`
	Estimates int     `json:"estimates"` // for each state
	Bias      float64 `json:"bias"`      // mean over states and estimates of the estimate less V_t
	BiasSE    float64 `json:"bias_se"`   // its standard error
	Std       float64 `json:"std"`       // standard deviation of the estimates of a state, RMS
	Value     float64 `json:"value"`     // mean of V_t over the states
	// StateError is the root mean square over states of the bias at each, corrected for the
	// variance of the mean of the estimates.
	StateError float64 `json:"state_error"`
}

// BiasSlope returns the slope of log |bias| against log N, by a fit to the values with at least a
// number of posterior samples whose bias exceeds three standard errors; NaN if these are fewer than
// two. It is -1 where the bias falls as 1/N.
func BiasSlope(values []ValueResult, least int) float64 {
	var logN, logBias []float64
	for _, v := range values {
		if bias := math.Abs(v.Bias); v.N >= least && bias > 3*v.BiasSE {
			logN, logBias = append(logN, math.Log(float64(v.N))), append(logBias, math.Log(bias))
		}
	}
	_, slope := stat.LinearRegression(logN, logBias, nil, false)
	return slope
}

// ValueConfig says at how many states a value is estimated, and how often.
type ValueConfig struct {
	States int
	// Samples is the number of posterior samples at each state: Samples/N estimates from N samples
	// each.
	Samples int
	Seed    uint64
	// LeaveOneOut corrects the estimates by the jackknife; see [steer.PosteriorSamples].
	LeaveOneOut bool
}

// errNoValue is the error of a reward whose value is not known.
var errNoValue = errors.New("the value of this reward is no closed form to compare with: use a linear-Gaussian reward")

// Values compares estimates of V_t with the exact value at a time t in [0, 1), for each number ns
// of posterior samples. The reward must be linear-Gaussian; λ is 1.
func (s *Steering) Values(b compute.Backend, t float64, ns []int, c ValueConfig) ([]ValueResult, error) {
	if s.linear == nil {
		return nil, errNoValue
	}
	if !(t >= 0 && t < 1) || c.States < 2 {
		return nil, fmt.Errorf("values at t = %g, %d states: t must lie in [0, 1), use at least 2 states", t, c.States)
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
	var results []ValueResult
	for _, n := range ns {
		if err := c.validate(n); err != nil {
			return nil, err
		}
		estimates, err := s.estimates(b, t, states, n, c)
		if err != nil {
			return nil, err
		}
		r := ValueResult{T: t, N: n, States: c.States, Estimates: len(estimates[0]), Value: stat.Mean(exact, nil)}
		var variance, varianceOfBias, square float64
		for i, v := range exact {
			mean, sd := stat.MeanStdDev(estimates[i], nil)
			r.Bias += (mean - v) / float64(c.States)
			variance += sd * sd / float64(c.States)
			square += ((mean-v)*(mean-v) - sd*sd/float64(len(estimates[i]))) / float64(c.States)
			varianceOfBias += sd * sd / float64(len(estimates[i])) / float64(c.States*c.States)
		}
		r.Std, r.BiasSE, r.StateError = math.Sqrt(variance), math.Sqrt(varianceOfBias), math.Sqrt(max(square, 0))
		results = append(results, r)
	}
	return results, nil
}

// validate returns an error unless there are two estimates of n posterior samples each.
func (c ValueConfig) validate(n int) error {
	if n < 1 || c.Samples < 2*n {
		return fmt.Errorf("values from n = %d of %d posterior samples: want at least two estimates", n, c.Samples)
	}
	return nil
}

// exactValues returns V_t at states, [n][dim].
func (s *Steering) exactValues(t float64, states [][]float64) ([]float64, error) {
	target, logZ, err := s.closedForm(1)
	if err != nil {
		return nil, err
	}
	exact := make([]float64, len(states))
	for i, x := range states {
		ip := s.Model.Interpolant
		exact[i] = logZ + target.LogMarginal(ip, t, x) - s.Mixture.LogMarginal(ip, t, x)
	}
	return exact, nil
}

// ValueAt compares estimates of V_t from n posterior samples with the exact value at the given
// states, [any][dim], at a time t in [0, 1). For each state it returns the exact value, the mean of
// the c.Samples/n estimates less the exact value, and their standard deviation, all in nats. The
// reward must be linear-Gaussian; λ is 1, and c.States is not used.
func (s *Steering) ValueAt(b compute.Backend, t float64, states [][]float64, n int, c ValueConfig) (
	exact, bias, deviation []float64, err error) {
	switch c.States = len(states); {
	case s.linear == nil:
		return nil, nil, nil, errNoValue
	case !(t >= 0 && t < 1) || len(states) == 0:
		return nil, nil, nil, fmt.Errorf("values at t = %g of %d states: t must lie in [0, 1), give states",
			t, len(states))
	}
	if err := c.validate(n); err != nil {
		return nil, nil, nil, err
	}
	for _, x := range states {
		if len(x) != s.Mixture.Dim() {
			return nil, nil, nil, fmt.Errorf("values at a state of %d elements: want %d", len(x), s.Mixture.Dim())
		}
	}
	if exact, err = s.exactValues(t, states); err != nil {
		return nil, nil, nil, err
	}
	estimates, err := s.estimates(b, t, states, n, c)
	if err != nil {
		return nil, nil, nil, err
	}
	bias, deviation = make([]float64, len(states)), make([]float64, len(states))
	for i, v := range exact {
		bias[i], deviation[i] = stat.MeanStdDev(estimates[i], nil)
		bias[i] -= v
	}
	return exact, bias, deviation, nil
}

// estimates returns the estimates at each state, [states][estimates].
func (s *Steering) estimates(b compute.Backend, t float64, points [][]float64, n int, c ValueConfig) (
	[][]float64, error) {
	states := tensors.FromFlatDataAndDimensions(flatten(points), c.States, s.Mixture.Dim())
	const samples = 1 << 20 // posterior samples of a call
	each := c.Samples / n
	perCall := max(1, min(each, samples/(n*c.States)))
	exec, err := model.NewExec(b, s.Model.Store, func(_ *model.Scope, x, rngState *Node) []*Node {
		g := x.Graph()
		rng := &solver.RNG{State: rngState}
		many := batch.Repeat(x, perCall)
		at := BroadcastToDims(Scalar(g, x.DType(), t), many.Shape().Dim(0))
		p := steer.Problem{Model: s.Model, Reward: s.Reward, Lambda: ScalarOne(g, x.DType())}
		samples := steer.PosteriorSamples{N: n, LeaveOneOut: c.LeaveOneOut}
		e := steer.MFMGF{PosteriorSamples: samples, Baseline: steer.MeanBaseline}
		value := e.Estimate(p, rng, steer.NewCounter(g), at, many, nil, false).Value
		return []*Node{Reshape(value, c.States, perCall), rng.State}
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
		for i, values := range mfm.Rows(flat, perCall) {
			out[i] = append(out[i], values...)
		}
	}
	return out, nil
}
