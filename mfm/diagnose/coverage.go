package diagnose

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Coverage says how often the data lie where their posteriors say. The data point x_1 of a context
// x_t and its posterior samples are projected onto random directions. For exact samples all ranks
// of x_1 among them are equally likely, so that the central interval of a share of the samples
// contains x_1 with that probability. The data must be held out: points of the training lie where
// samples are.
type Coverage struct {
	// Half and Most are the shares of projections of x_1 within the central 50 % and 90 % of those of
	// the one-step samples, means over contexts and directions.
	Half float64 `json:"half"`
	Most float64 `json:"most"`
	// HalfError and MostError are their standard errors over the contexts.
	HalfError float64 `json:"half_error"`
	MostError float64 `json:"most_error"`
}

const (
	coverageSeed = 0xc07e // of the directions, which leaves the random numbers of other metrics alone
	directions   = 32
)

// centralShares are those of Coverage.Half and Coverage.Most.
var centralShares = []float64{0.5, 0.9}

// ranks returns the number of posterior samples below each data point along each direction,
// [contexts, directions]. The data are [contexts, ...] and the samples [contexts·n, ...]; state is
// that of a random number generator.
func ranks(state *tensors.Tensor, data, samples *Node, n int) *Node {
	contexts := data.Shape().Dim(0)
	data = ConvertDType(Reshape(data, contexts, -1), dtypes.Float32)
	samples = ConvertDType(Reshape(samples, contexts*n, -1), dtypes.Float32)
	rng := &solver.RNG{State: Const(data.Graph(), state)}
	random := rng.Normal(shapes.Make(dtypes.Float32, data.Shape().Dim(1), directions))
	value := Reshape(Dot(data, random).Product(), contexts, 1, directions)
	projected := Reshape(Dot(samples, random).Product(), contexts, n, directions)
	return ReduceSum(ConvertDType(LessThan(projected, value), dtypes.Float32), 1)
}

// newCoverage returns the coverage from the ranks among n samples, [contexts, directions].
func newCoverage(ranks []float32, n int) (c Coverage) {
	of := func(share float64) (mean, se float64) {
		inside := make([]float64, len(ranks)/directions) // of each context
		for i, rank := range ranks {
			inside[i/directions] += metric.Coverage(int(rank), n, share) / directions
		}
		return metric.MeanSE(inside)
	}
	c.Half, c.HalfError = of(centralShares[0])
	c.Most, c.MostError = of(centralShares[1])
	return c
}

// deviation returns the one of Half and Most that is farther from its share, in units of limit plus
// two standard errors: the share, the measured one, and by how many units the samples are too
// narrow (positive) or too wide (negative).
func (c Coverage) deviation(limit float64) (share, measured, narrow float64) {
	for i, v := range [][2]float64{{c.Half, c.HalfError}, {c.Most, c.MostError}} {
		d := (centralShares[i] - v[0]) / (limit + 2*v[1])
		if i == 0 || math.Abs(d) > math.Abs(narrow) {
			share, measured, narrow = centralShares[i], v[0], d
		}
	}
	return share, measured, narrow
}
