package diagnose

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Sensitivity says how closely the mean of posterior samples follows x_t. If x_t changes by a small
// step, the posterior mean changes as the denoiser D_t does:
//
//	slope = Σ <ΔE[X | x_t], ΔD_t(x_t)> / Σ |ΔD_t(x_t)|²,
//
// summed over the contexts. It is 1 for exact samples and 0 for samples that ignore x_t. The step
// is normal with a tenth of the standard deviation of x_t; both differences are central, and the
// samples before and after share their noise.
type Sensitivity struct {
	// Slope is that of the one-step samples, Error its standard error over the contexts.
	Slope float64 `json:"slope"`
	Error float64 `json:"error"`
	// ODE is the slope of the ODE's samples of the same noise.
	ODE float64 `json:"ode"`
}

// finite reports whether all numbers are finite.
func (s Sensitivity) finite() bool {
	v := s.Slope + s.Error + s.ODE
	return !math.IsNaN(v) && !math.IsInf(v, 0)
}

// responseSeed makes the random numbers of the sensitivity others than those of the other metrics.
const responseSeed = 0x5e45

// responseStep is the standard deviation of the change of x_t over that of x_t itself.
const responseStep = 0.1

// sensitivity returns the sensitivity from the products of each context: [3, contexts], those of
// the one-step means and of the ODE's with the denoiser, and of the denoiser with itself.
func sensitivity(products []float32) (s Sensitivity) {
	n := len(products) / 3
	var sums [3]float64
	for i, v := range products {
		sums[i/n] += float64(v)
	}
	s.Slope, s.ODE = sums[0]/sums[2], sums[1]/sums[2]
	for i := range n { // of a ratio of means, by linearization
		d := float64(products[i]) - s.Slope*float64(products[2*n+i])
		s.Error += d * d
	}
	s.Error = math.Sqrt(s.Error*float64(n)/float64(n-1)) / sums[2]
	return s
}

// sensitivity evaluates the sensitivity at time t.
func (e *evaluator) sensitivity(t float64) (Sensitivity, error) {
	out, err := e.respond.Call(e.response, float32(t), e.data())
	if err != nil {
		return Sensitivity{}, err
	}
	products, err := tensors.CopyFlatData[float32](out[0])
	e.response = out[1]
	return sensitivity(products), err
}

// respond returns the products of sensitivity, [3, contexts], and the random state.
func (s Subject) respond(c Config, rngState, t, data *Node) []*Node {
	rng := &solver.RNG{State: rngState}
	scope := s.Model.Weights
	time, x := s.contexts(rng, t, data)
	deviation := Sqrt(ReduceAllMean(Square(Sub(x, ReduceAndKeep(x, ReduceMean, 0)))))
	change := Mul(MulScalar(rng.Normal(x.Shape()), responseStep), deviation)
	noise := rng.Normal(batch.Repeat(x, c.Samples).Shape())
	class, classes := s.class(x.Graph(), c.Contexts, 1), s.class(x.Graph(), c.Contexts, c.Samples)
	times := interpolant.Grid{Steps: c.Steps, Power: 1}.Times(0, 1)
	drift := s.drift(scope)
	// means returns the means of one-step samples, the ODE's and the denoiser, each [contexts,
	// elements].
	means := func(x *Node) [3]*Node {
		each := batch.Repeat(x, c.Samples)
		mean := func(samples *Node) *Node { return ReduceMean(Reshape(samples, c.Contexts, c.Samples, -1), 1) }
		field := s.Model.Map.Field(scope, batch.Every(time, each), each, classes)
		return [3]*Node{
			mean(s.Model.Map.Posterior(scope, noise, time, each, classes)),
			mean(solver.Integrate(nil, solver.Heun, times, field, noise)),
			Reshape(interpolant.Denoiser(s.Model.Map.Interpolant, drift, batch.Every(time, x), x, class), c.Contexts, -1),
		}
	}
	above, below := means(Add(x, change)), means(Sub(x, change))
	denoiser := Sub(above[2], below[2])
	products := make([]*Node, 3)
	for i := range products {
		products[i] = ReduceSum(Mul(Sub(above[i], below[i]), denoiser), 1)
	}
	return []*Node{ConvertDType(Stack(products, 0), dtypes.Float32), rng.State}
}
