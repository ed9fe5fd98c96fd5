package stress

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// Shape is the shape of a manifold.
type Shape string

// The shapes.
const (
	Curve Shape = "curve" // a circle of radius 3 in the plane
	Plane Shape = "plane" // a tilted plane in space
)

// Manifold is a mixture near a manifold, with a standard deviation of Width across it.
type Manifold struct {
	Shape Shape   `json:"shape"`
	Width float64 `json:"width"`
}

// Mixture returns the mixture: 96 components along the circle, or four on the plane. The components
// along the circle are straight, and so leave it by a root mean square of 0.003. It returns an
// error for an unknown shape and for a width outside (0, 1].
func (m Manifold) Mixture() (*gmm.Mixture, error) {
	if !(m.Width > 0 && m.Width <= 1) {
		return nil, fmt.Errorf("manifold with width = %g: must lie in (0, 1]", m.Width)
	}
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	switch m.Shape {
	case Curve:
		const n, radius = 96, 3.0
		along := 2 * math.Pi * radius / n / 2
		for k := range n {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / n)
			weights, means = append(weights, 1), append(means, []float64{radius * cos, radius * sin})
			covariances = append(covariances, spanned([][]float64{{-sin, cos}, {cos, sin}}, []float64{along, m.Width}))
		}
	case Plane:
		for k := range 4 {
			sin, cos := math.Sincos(math.Pi / 2 * (float64(k) + 0.3))
			mean := make([]float64, 3)
			for i := range mean {
				mean[i] = 2 * (cos*planeAxes[0][i] + sin*planeAxes[1][i])
			}
			weights, means = append(weights, 1+float64(k)/2), append(means, mean)
			covariances = append(covariances, spanned(planeAxes, []float64{1, 0.5, m.Width}))
		}
	default:
		return nil, fmt.Errorf("manifold with shape %q is unknown: use %s or %s", m.Shape, Curve, Plane)
	}
	return gmm.New(weights, means, covariances)
}

// planeAxes are two axes that span the plane, and its normal.
var planeAxes = [][]float64{{2. / 3, 2. / 3, 1. / 3}, {-2. / 3, 1. / 3, 2. / 3}, {1. / 3, -2. / 3, 2. / 3}}

// Across returns the signed distance of a point from the manifold.
func (m Manifold) Across(x []float64) float64 {
	if m.Shape == Curve {
		return math.Hypot(x[0], x[1]) - 3
	}
	sum := 0.0
	for i, v := range x {
		sum += v * planeAxes[2][i]
	}
	return sum
}

// spanned returns the covariance with the given standard deviations along orthonormal axes.
func spanned(axes [][]float64, deviations []float64) [][]float64 {
	out := make([][]float64, len(axes))
	for i := range out {
		out[i] = make([]float64, len(axes))
		for j := range out[i] {
			for k, a := range axes {
				out[i][j] += a[i] * a[j] * deviations[k] * deviations[k]
			}
		}
	}
	return out
}

// ManifoldSetting is a map trained on data near a manifold in one parametrization, and its
// evaluation.
type ManifoldSetting struct {
	Edition
	Manifold
	// Parametrization is that of [mixture.Config].
	Parametrization mfm.ParametrizationName `json:"parametrization"`
	NetWidth        int                     `json:"net_width"`
	Depth           int                     `json:"depth"`
	Steps           int64                   `json:"steps"`
	Seed            int64                   `json:"seed"`
	Eval            mixture.EvalConfig      `json:"eval"`
}

// ManifoldResult says how close a map comes to data near a manifold, as a whole and across the
// manifold.
type ManifoldResult struct {
	Test Test `json:"test"` // [ManifoldTest]
	Manifold
	Parametrization mfm.ParametrizationName   `json:"parametrization"`
	Seed            int64                     `json:"seed"`
	Posterior       []mixture.PosteriorResult `json:"posterior"`
	// Across is the root mean square distance of one-step samples from the manifold by t, Exact
	// that of exact posterior samples.
	Across   []float64 `json:"across"`
	Exact    []float64 `json:"exact"`
	Seconds  float64   `json:"seconds"`
	Diverged bool      `json:"diverged,omitempty"`
}

// ManifoldGrid is the grid of the stress test: every parametrization on circles of decreasing
// width.
func ManifoldGrid() []ManifoldSetting {
	var settings []ManifoldSetting
	for _, width := range []float64{0.3, 0.1, 0.03, 0.01} {
		for _, p := range []mfm.ParametrizationName{
			mfm.GaussianName, mfm.UnfusedName, mfm.PlainName, mfm.AnchoredName,
		} {
			settings = append(settings, ManifoldSetting{
				Edition: Edition{edition}, Manifold: Manifold{Curve, width}, Parametrization: p,
				NetWidth: 128, Depth: 4, Steps: 5000, Eval: posteriorEvaluation(),
			})
		}
	}
	return settings
}

func (c ManifoldSetting) experiment() (*mixture.Experiment, error) {
	data, err := c.Mixture()
	variant := mixture.Variant{Loss: mfm.Semigroup, Distillation: mfm.Teacher}
	config := stressMap(data, variant, c.NetWidth, c.Depth, c.Steps, c.Seed)
	config.Parametrization = c.Parametrization
	return experiment(c.Edition, config, err, c.Eval)
}

// Validate returns an error that names the first value out of range.
func (c ManifoldSetting) Validate() error {
	_, err := c.experiment()
	return err
}

// Run trains a map and evaluates its posterior samples. Non-finite values are a result.
func (c ManifoldSetting) Run(ctx context.Context, b compute.Backend, o run.Options) (ManifoldResult, error) {
	result := ManifoldResult{
		Test: ManifoldTest, Manifold: c.Manifold, Parametrization: c.Parametrization, Seed: c.Seed,
	}
	e, err := c.experiment()
	if err != nil {
		return result, err
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 43))
	got, exact := map[float64][]float64{}, map[float64][]float64{}
	add := func(one mixture.PosteriorResult, samples [][]float64, posterior *gmm.Mixture) error {
		got[one.T] = append(got[one.T], c.meanSquare(samples))
		exact[one.T] = append(exact[one.T], c.meanSquare(posterior.Sample(rng, len(samples))))
		return nil
	}
	result.Posterior, result.Seconds, err = e.TrainAndEvaluate(ctx, b, o, c.Eval, add)
	if result.Diverged = run.OnlyNonFinite(err); result.Diverged {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	for _, t := range c.Eval.Times {
		result.Across = append(result.Across, math.Sqrt(stat.Mean(got[t], nil)))
		result.Exact = append(result.Exact, math.Sqrt(stat.Mean(exact[t], nil)))
	}
	return result, nil
}

// meanSquare returns the mean squared distance of points from the manifold.
func (m Manifold) meanSquare(points [][]float64) float64 {
	sum := 0.0
	for _, x := range points {
		sum += m.Across(x) * m.Across(x) / float64(len(points))
	}
	return sum
}
