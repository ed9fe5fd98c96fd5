package stress

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Test is the name of a stress test, as in its results.
type Test string

// The tests, in the order of the package's documentation.
const (
	DiversityTest Test = "diversity"
	BaseTest      Test = "base"
	ManifoldTest  Test = "manifold"
	TimesTest     Test = "times"
	PrecisionTest Test = "precision"
	LossesTest    Test = "losses"
)

// Edition numbers the defaults that a setting does not name: those of configurations, losses and
// evaluation in this package. It increases when they change, so that results of different defaults
// are kept apart.
type Edition struct {
	Defaults int `json:"defaults,omitempty"`
}

// edition is the current one.
const edition = 0

// check returns an error for another edition.
func (e Edition) check() error {
	if e.Defaults != edition {
		return fmt.Errorf("the setting has edition %d of the defaults, this package has %d: generate the grid again",
			e.Defaults, edition)
	}
	return nil
}

// stressMap returns the configuration of a stress test's map: an MLP, and the loss with the options
// that suit it.
func stressMap(data *gmm.Mixture, v mixture.Variant, width, depth int, steps, seed int64) mixture.Config {
	config := mixture.DefaultConfig()
	config.Mixture = data
	config.Network = nn.NewNetwork(nn.MLPConfig{Width: width, Depth: depth, Activation: "silu"})
	config.Train.Steps, config.Train.Seed = steps, seed
	config.SetLoss(v.Loss, v.Distillation)
	return config
}

// experiment returns the experiment of a setting, or its first error: of the edition, of the
// mixture (err), of the map, or of the evaluation.
func experiment(
	e Edition, config mixture.Config, err error, eval mixture.EvalConfig,
) (*mixture.Experiment, error) {
	if err := cmp.Or(e.check(), err); err != nil {
		return nil, err
	}
	x, err := mixture.New(config)
	if err != nil {
		return nil, err
	}
	return x, eval.Validate()
}

// FamilyKind says how wide the components of a family are. The unit is δ, the mean distance from a
// mean to the nearest other mean, or 4 for a single component.
type FamilyKind string

// The kinds of families.
const (
	Separated   FamilyKind = "separated"   // round, standard deviation δ/8: almost disjoint modes
	Overlapping FamilyKind = "overlapping" // round, standard deviation δ/2: modes that merge
	Anisotropic FamilyKind = "anisotropic" // standard deviations from δ/30 to δ/3 along random axes
)

// FamilyKinds lists all kinds.
func FamilyKinds() []FamilyKind { return []FamilyKind{Separated, Overlapping, Anisotropic} }

// Family is a random mixture: means from N(0, 4 I), weights whose ratios are at most 4, components
// as Kind says. Equal families give equal mixtures.
type Family struct {
	Kind  FamilyKind `json:"kind"`
	Modes int        `json:"modes"`
	Dim   int        `json:"dim"`
	Seed  uint64     `json:"seed"`
}

// Validate returns an error for an unknown kind, for modes outside [1, 4096] and for a dimension
// outside [1, 256].
func (f Family) Validate() error {
	if f.Kind != Separated && f.Kind != Overlapping && f.Kind != Anisotropic {
		return fmt.Errorf("family %q is unknown: use %s, %s or %s", f.Kind, Separated, Overlapping, Anisotropic)
	}
	if f.Modes < 1 || f.Modes > 4096 {
		return fmt.Errorf("family with modes = %d: must lie in [1, 4096]", f.Modes)
	}
	if f.Dim < 1 || f.Dim > 256 {
		return fmt.Errorf("family with dim = %d: must lie in [1, 256]", f.Dim)
	}
	return nil
}

// Name returns, for example, "anisotropic-16x8": kind, modes and dimension.
func (f Family) Name() string { return fmt.Sprintf("%s-%dx%d", f.Kind, f.Modes, f.Dim) }

// Mixture returns the mixture, or the error of Validate.
func (f Family) Mixture() (*gmm.Mixture, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(f.Seed, uint64(f.Modes)<<16|uint64(f.Dim)))
	weights, means := make([]float64, f.Modes), make([][]float64, f.Modes)
	for k := range means {
		weights[k] = 1 + 3*rng.Float64()
		means[k] = make([]float64, f.Dim)
		for i := range means[k] {
			means[k][i] = 2 * rng.NormFloat64()
		}
	}
	delta := nearest(means)
	covariances := make([][][]float64, f.Modes)
	for k := range covariances {
		deviations := make([]float64, f.Dim)
		for i := range deviations {
			switch f.Kind {
			case Separated:
				deviations[i] = delta / 8
			case Overlapping:
				deviations[i] = delta / 2
			case Anisotropic:
				deviations[i] = delta / 30 * math.Pow(10, rng.Float64())
			}
		}
		covariances[k] = ellipsoid(deviations, f.Kind == Anisotropic, rng)
	}
	return gmm.New(weights, means, covariances)
}

// nearest returns the mean distance from a point to the nearest other one, 4 for a single point.
func nearest(points [][]float64) float64 {
	if len(points) == 1 {
		return 4
	}
	sum := 0.0
	for i, a := range points {
		least := math.Inf(1)
		for j, b := range points {
			if i == j {
				continue
			}
			d := 0.0
			for k := range a {
				d += (a[k] - b[k]) * (a[k] - b[k])
			}
			least = min(least, d)
		}
		sum += math.Sqrt(least)
	}
	return sum / float64(len(points))
}

// ellipsoid returns the covariance with the given standard deviations along the coordinate axes, or
// along random axes.
func ellipsoid(deviations []float64, rotated bool, rng *rand.Rand) [][]float64 {
	d := len(deviations)
	axes := make([][]float64, d)
	for i := range axes {
		axes[i] = make([]float64, d)
		axes[i][i] = 1
	}
	if rotated {
		normal, rotation := mat.NewDense(d, d, nil), new(mat.Dense)
		normal.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, normal)
		var qr mat.QR
		qr.Factorize(normal)
		qr.QTo(rotation)
		for i := range axes {
			axes[i] = mat.Col(nil, i, rotation)
		}
	}
	return spanned(axes, deviations)
}

// posteriorEvaluation is the evaluation of one-step posterior samples in the grids.
func posteriorEvaluation() mixture.EvalConfig {
	return mixture.EvalConfig{
		Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: 4096, Projections: 128, Seed: 123,
	}
}
