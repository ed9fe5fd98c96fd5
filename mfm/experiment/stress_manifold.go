package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// Manifold is a mixture that is thin about a manifold: of deviation Width across it.
type Manifold struct {
	Shape string  `json:"shape"` // curve, a circle of radius 3 in the plane, or plane, a tilted one in space
	Width float64 `json:"width"`
}

// Law returns the mixture: 96 components along the circle, which are straight and so leave it by 0.003 in the root mean square, or four on the plane.
func (m Manifold) Law() (*gmm.Mixture, error) {
	if !(m.Width > 0 && m.Width <= 1) {
		return nil, fmt.Errorf("width = %g of a manifold: must lie in (0, 1]", m.Width)
	}
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	switch m.Shape {
	case "curve":
		const n, radius = 96, 3.0
		along := 2 * math.Pi * radius / n / 2
		for k := range n {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / n)
			weights, means = append(weights, 1), append(means, []float64{radius * cos, radius * sin})
			covariances = append(covariances, spanned([][]float64{{-sin, cos}, {cos, sin}}, []float64{along, m.Width}))
		}
	case "plane":
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
		return nil, fmt.Errorf("shape %q of a manifold is unknown: use curve or plane", m.Shape)
	}
	return gmm.New(weights, means, covariances)
}

// planeAxes span the plane, but for the last one, its normal.
var planeAxes = [][]float64{{2. / 3, 2. / 3, 1. / 3}, {-2. / 3, 1. / 3, 2. / 3}, {1. / 3, -2. / 3, 2. / 3}}

// Across returns how far a point is from the manifold.
func (m Manifold) Across(x []float64) float64 {
	if m.Shape == "curve" {
		return math.Hypot(x[0], x[1]) - 3
	}
	sum := 0.0
	for i, v := range x {
		sum += v * planeAxes[2][i]
	}
	return sum
}

// spanned returns the covariance of deviations along axes.
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

// ManifoldCell is a map trained on a thin law in one parametrization, and its judgement.
type ManifoldCell struct {
	Edition
	Manifold
	Parametrization string         `json:"parametrization"`
	NetWidth        int            `json:"net_width"`
	Depth           int            `json:"depth"`
	Steps           int64          `json:"steps"`
	Seed            int64          `json:"seed"`
	Eval            EvaluateConfig `json:"eval"`
}

// ManifoldRow says how a map keeps to a thin law: as a whole, and across it.
type ManifoldRow struct {
	Test string `json:"test"` // manifold
	Manifold
	Parametrization string         `json:"parametrization"`
	Seed            int64          `json:"seed"`
	Posterior       []PosteriorRow `json:"posterior"`
	// Across is the root mean square distance of one-step samples from the manifold by t, Exact that of exact ones.
	Across   []float64 `json:"across"`
	Exact    []float64 `json:"exact"`
	Seconds  float64   `json:"seconds"`
	Diverged bool      `json:"diverged,omitempty"`
}

// ManifoldGrid is every parametrization on curves that get thinner.
func ManifoldGrid() []ManifoldCell {
	var cells []ManifoldCell
	for _, width := range []float64{0.3, 0.1, 0.03, 0.01} {
		for _, p := range []string{"gaussian", "unfused", "plain", "anchored"} {
			cells = append(cells, ManifoldCell{
				Edition: Edition{edition}, Manifold: Manifold{"curve", width}, Parametrization: p, NetWidth: 128, Depth: 4, Steps: 5000,
				Eval: EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: 4096, Projections: 128, Seed: 123},
			})
		}
	}
	return cells
}

// config returns the configuration of the training.
func (c ManifoldCell) config() (GMMConfig, error) {
	law, err := c.Law()
	config := stressMap(law, Variant{mfm.Semigroup, mfm.Teacher}, c.NetWidth, c.Depth, c.Steps, c.Seed)
	config.Parametrization = c.Parametrization
	return config, err
}

// Validate returns an error that names the first value that makes no sense.
func (c ManifoldCell) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	config, err := c.config()
	if err != nil {
		return err
	}
	return checkMap(config, c.Eval)
}

// Run trains and judges.
func (c ManifoldCell) Run(ctx context.Context, b compute.Backend, o RunOptions) (ManifoldRow, error) {
	row := ManifoldRow{Test: "manifold", Manifold: c.Manifold, Parametrization: c.Parametrization, Seed: c.Seed}
	if err := c.Validate(); err != nil {
		return row, err
	}
	config, err := c.config()
	if err != nil {
		return row, err
	}
	e, err := NewGMM(config)
	if err != nil {
		return row, err
	}
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 43))
	own, exact := map[float64][]float64{}, map[float64][]float64{}
	row.Posterior, row.Seconds, err = e.trainAndJudge(ctx, b, o, c.Eval, func(one PosteriorRow, samples [][]float64, posterior *gmm.Mixture) error {
		own[one.T] = append(own[one.T], c.squares(samples))
		exact[one.T] = append(exact[one.T], c.squares(posterior.Sample(rng, len(samples))))
		return nil
	})
	if row.Diverged = onlyNonFinite(err); row.Diverged {
		return row, nil
	}
	if err != nil {
		return row, err
	}
	for _, t := range c.Eval.Times {
		row.Across, row.Exact = append(row.Across, math.Sqrt(stat.Mean(own[t], nil))), append(row.Exact, math.Sqrt(stat.Mean(exact[t], nil)))
	}
	return row, nil
}

// squares returns the mean squared distance of points from the manifold.
func (m Manifold) squares(points [][]float64) float64 {
	sum := 0.0
	for _, x := range points {
		sum += m.Across(x) * m.Across(x) / float64(len(points))
	}
	return sum
}
