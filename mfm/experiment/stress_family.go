package experiment

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// Edition is that of what a stress test's cell does not name: the defaults of configurations, losses and evaluation in this package. It is raised with them, so that rows of different ones are not taken for each other's.
type Edition struct {
	Defaults int `json:"defaults,omitempty"`
}

// edition is the present one.
const edition = 0

func (e Edition) check() error {
	if e.Defaults != edition {
		return fmt.Errorf("the cell is of edition %d of the defaults, this package has %d: print the grid again", e.Defaults, edition)
	}
	return nil
}

// stressMap returns the configuration of a stress test's map: an MLP, and the loss with the options that serve it.
func stressMap(law *gmm.Mixture, v Variant, width, depth int, steps, seed int64) GMMConfig {
	config := DefaultGMMConfig()
	config.Mixture = law
	config.Network.Width, config.Network.Depth = width, depth
	config.Train.Steps, config.Train.Seed = steps, seed
	config.SetLoss(v.Loss, v.Distillation)
	return config
}

// checkMap returns an error for a map that cannot be made, or cannot be judged so.
func checkMap(config GMMConfig, eval EvaluateConfig) error {
	if _, err := NewGMM(config); err != nil {
		return err
	}
	return eval.Validate()
}

// FamilyKind says how wide a family's components are, in units of δ, the mean distance from a mean to the nearest other one, 4 for a single component.
type FamilyKind string

// The kinds of families.
const (
	Separated   FamilyKind = "separated"   // round, of deviation δ/8: hardly any mass between the modes
	Overlapping FamilyKind = "overlapping" // round, of deviation δ/2: modes that are no longer apart
	Anisotropic FamilyKind = "anisotropic" // of deviations from δ/30 to δ/3 along random axes
)

// FamilyKinds lists all kinds.
func FamilyKinds() []FamilyKind { return []FamilyKind{Separated, Overlapping, Anisotropic} }

// Family is a random mixture: means normal with deviation 2, weights whose ratios are at most 4, components as Kind says. The same family is the same mixture.
type Family struct {
	Kind  FamilyKind `json:"kind"`
	Modes int        `json:"modes"`
	Dim   int        `json:"dim"`
	Seed  uint64     `json:"seed"`
}

// Validate returns an error for an unknown kind, for modes outside [1, 4096] and for a dimension outside [1, 256].
func (f Family) Validate() error {
	if f.Kind != Separated && f.Kind != Overlapping && f.Kind != Anisotropic {
		return fmt.Errorf("family %q is unknown: use %s, %s or %s", f.Kind, Separated, Overlapping, Anisotropic)
	}
	if f.Modes < 1 || f.Modes > 4096 {
		return fmt.Errorf("modes = %d of a family: must lie in [1, 4096]", f.Modes)
	}
	if f.Dim < 1 || f.Dim > 256 {
		return fmt.Errorf("dim = %d of a family: must lie in [1, 256]", f.Dim)
	}
	return nil
}

// Name returns, for example, "anisotropic-16x8", modes by dimension.
func (f Family) Name() string { return fmt.Sprintf("%s-%dx%d", f.Kind, f.Modes, f.Dim) }

// Mixture returns the mixture, or Validate's error.
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

// nearest returns the mean distance of a point to the nearest other one, 4 for a single point.
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

// ellipsoid returns the covariance of the given deviations along the coordinate axes, or along random ones.
func ellipsoid(deviations []float64, turned bool, rng *rand.Rand) [][]float64 {
	d := len(deviations)
	axes := make([][]float64, d)
	for i := range axes {
		axes[i] = make([]float64, d)
		axes[i][i] = 1
	}
	if turned {
		normal, turn := mat.NewDense(d, d, nil), new(mat.Dense)
		normal.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, normal)
		var qr mat.QR
		qr.Factorize(normal)
		qr.QTo(turn)
		for i := range axes {
			axes[i] = mat.Col(nil, i, turn)
		}
	}
	return spanned(axes, deviations)
}
