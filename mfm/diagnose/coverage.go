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

// covered returns which share of the projections of each data point lies within the central
// intervals of its posterior samples, [2, contexts]. The data are [contexts, ...] and the samples
// [contexts·n, ...]; state is that of a random number generator.
func covered(state *tensors.Tensor, data, samples *Node, n int) *Node {
	contexts := data.Shape().Dim(0)
	data = ConvertDType(Reshape(data, contexts, -1), dtypes.Float32)
	samples = ConvertDType(Reshape(samples, contexts*n, -1), dtypes.Float32)
	rng := &solver.RNG{State: Const(data.Graph(), state)}
	random := rng.Normal(shapes.Make(dtypes.Float32, data.Shape().Dim(1), directions))
	value := Reshape(Dot(data, random).Product(), contexts, 1, directions)
	projected := Reshape(Dot(samples, random).Product(), contexts, n, directions)
	rank := ReduceSum(ConvertDType(LessThan(projected, value), dtypes.Float32), 1)
	end := Min(rank, AddScalar(Neg(rank), float64(n))) // samples beyond the value, at its nearer end
	shares := make([]*Node, len(centralShares))
	for i, share := range centralShares {
		// Of the n+1 ranks the interval leaves out as many at each end, the last of them in part.
		out := float64(n+1) * (1 - share) / 2
		shares[i] = ReduceMean(ClipScalar(AddScalar(end, 1-out), 0, 1), 1)
	}
	return Stack(shares, 0)
}

// newCoverage returns the coverage from the shares of each context, [2, contexts].
func newCoverage(shares []float32) (c Coverage) {
	values := make([]float64, len(shares))
	for i, v := range shares {
		values[i] = float64(v)
	}
	n := len(values) / 2
	c.Half, c.HalfError = metric.MeanSE(values[:n])
	c.Most, c.MostError = metric.MeanSE(values[n:])
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
