package stress

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
)

// DiversitySetting is a map trained on a mixture of a [Family] and the evaluation of its posterior
// samples: all that a [DiversityResult] depends on.
type DiversitySetting struct {
	Edition
	Family Family             `json:"family"`
	Width  int                `json:"width"` // of the MLP
	Depth  int                `json:"depth"`
	Steps  int64              `json:"steps"`
	Seed   int64              `json:"seed"` // of the training
	Eval   mixture.EvalConfig `json:"eval"`
}

// DiversityResult says how well a map's one-step posterior samples cover the posteriors of a random
// mixture.
type DiversityResult struct {
	Test Test `json:"test"` // [DiversityTest]
	Family
	Training  int64                     `json:"training_seed"`
	Steps     int64                     `json:"steps"`
	Posterior []mixture.PosteriorResult `json:"posterior"` // by t
	Contexts  []ContextResult           `json:"contexts"`  // by t and x
	Hits      []HitResult               `json:"hits"`      // by t and number of samples
	Seconds   float64                   `json:"seconds"`   // of training
	Diverged  bool                      `json:"diverged,omitempty"`
}

// ContextResult is the quality of a map's posterior samples at one t and one context x_t.
type ContextResult struct {
	T         float64         `json:"t"`
	Excess    metric.Optional `json:"excess,omitzero"`    // as in [mixture.PosteriorResult]
	Diversity metric.Optional `json:"diversity,omitzero"` // as there
	// Variation is the total variation between the masses of samples and of the posterior by mode.
	// A sample belongs to the mode of largest responsibility, however far away that mode is, so
	// that a collapse on some modes shows. Floor is that of as many exact samples.
	Variation float64 `json:"variation"`
	Floor     float64 `json:"variation_floor"`
}

// HitResult is the expected number of a posterior's modes that n samples hit, Σ_k 1 - (1 - w_k)^n,
// as a mean over contexts. w_k is the share of samples for which mode k has the largest
// responsibility and a squared Mahalanobis distance of at most dim + 4√(2 dim), which almost all
// samples of the mode satisfy. A map that hits more modes than exact samples do hits modes of
// almost no mass.
type HitResult struct {
	T       float64 `json:"t"`
	Samples int     `json:"samples"` // n
	Map     float64 `json:"map"`     // of the map's samples
	Exact   float64 `json:"exact"`   // of as many exact samples
}

// hitSamples are the values of n in a [HitResult].
var hitSamples = []int{1, 4, 16, 64, 256}

// DiversityGrid is the grid of the stress test: every kind of family with 1 to 64 modes in 2 to 32
// dimensions.
func DiversityGrid() []DiversitySetting {
	var settings []DiversitySetting
	for _, kind := range FamilyKinds() {
		for _, dim := range []int{2, 8, 32} {
			for _, modes := range []int{1, 4, 16, 64} {
				settings = append(settings, DiversitySetting{
					Edition: Edition{edition}, Family: Family{Kind: kind, Modes: modes, Dim: dim, Seed: 1},
					Width: 128, Depth: 4, Steps: 5000, Eval: posteriorEvaluation(),
				})
			}
		}
	}
	return settings
}

func (c DiversitySetting) experiment() (*mixture.Experiment, error) {
	data, err := c.Family.Mixture()
	variant := mixture.Variant{Loss: mfm.Semigroup, Distillation: mfm.Teacher}
	return experiment(c.Edition, stressMap(data, variant, c.Width, c.Depth, c.Steps, c.Seed), err, c.Eval)
}

// Validate returns an error that names the first value out of range.
func (c DiversitySetting) Validate() error {
	_, err := c.experiment()
	return err
}

// Run trains a map and evaluates its posterior samples. Non-finite values are a result.
func (c DiversitySetting) Run(ctx context.Context, b compute.Backend, o run.Options) (DiversityResult, error) {
	result := DiversityResult{Test: DiversityTest, Family: c.Family, Training: c.Seed, Steps: c.Steps}
	e, err := c.experiment()
	if err != nil {
		return result, err
	}
	hits, rng := map[float64][]HitResult{}, rand.New(rand.NewPCG(c.Eval.Seed, 47))
	add := func(one mixture.PosteriorResult, samples [][]float64, posterior *gmm.Mixture) error {
		got, err := modeShares(samples, posterior)
		if err != nil {
			return err
		}
		exact, err := modeShares(posterior.Sample(rng, len(samples)), posterior)
		if err != nil {
			return err
		}
		hits[one.T] = addHits(hits[one.T], one.T, got.hit, exact.hit, c.Eval.Contexts)
		at := ContextResult{T: one.T, Excess: one.Excess, Diversity: one.Diversity}
		if at.Variation, err = metric.TotalVariation(got.nearest, exact.nearest); err != nil {
			return err
		}
		again, err := modeShares(posterior.Sample(rng, len(samples)), posterior)
		if err != nil {
			return err
		}
		at.Floor, err = metric.TotalVariation(again.nearest, exact.nearest)
		result.Contexts = append(result.Contexts, at)
		return err
	}
	result.Posterior, result.Seconds, err = e.TrainAndEvaluate(ctx, b, o, c.Eval, add)
	if result.Diverged = run.OnlyNonFinite(err); result.Diverged {
		return result, nil
	}
	if err != nil {
		return result, fmt.Errorf("%s: %w", c.Family.Name(), err)
	}
	for _, t := range c.Eval.Times {
		result.Hits = append(result.Hits, hits[t]...)
	}
	return result, nil
}

// addHits adds the hits in one of the given number of contexts, from the shares of the map's
// samples and of exact samples by mode.
func addHits(results []HitResult, t float64, got, exact []float64, contexts int) []HitResult {
	if results == nil {
		for _, n := range hitSamples {
			results = append(results, HitResult{T: t, Samples: n})
		}
	}
	for i := range results {
		results[i].Map += hit(got, results[i].Samples) / float64(contexts)
		results[i].Exact += hit(exact, results[i].Samples) / float64(contexts)
	}
	return results
}

// shares are those of samples by mode: nearest by largest responsibility, hit those that also
// satisfy the bound of [HitResult].
type shares struct{ nearest, hit []float64 }

// modeShares returns the shares of samples by component of m.
func modeShares(samples [][]float64, m *gmm.Mixture) (shares, error) {
	n, dim := m.Len(), m.Dim()
	means, inverses := make([]*mat.VecDense, n), make([]*mat.Cholesky, n)
	for k := range n {
		mean, covariance := m.Component(k)
		c := mat.NewSymDense(dim, nil)
		for i, row := range covariance {
			for j := i; j < dim; j++ {
				c.SetSym(i, j, row[j])
			}
		}
		means[k], inverses[k] = mat.NewVecDense(dim, mean), new(mat.Cholesky)
		if !inverses[k].Factorize(c) {
			return shares{}, fmt.Errorf("mode %d has a singular covariance: no sample can hit it", k)
		}
	}
	bound := float64(dim) + 4*math.Sqrt(2*float64(dim))
	out := shares{make([]float64, n), make([]float64, n)}
	off, solved := mat.NewVecDense(dim, nil), mat.NewVecDense(dim, nil)
	for _, x := range samples {
		k := floats.MaxIdx(m.PosteriorWeights(interpolant.Linear{}, 1, x))
		off.SubVec(mat.NewVecDense(dim, x), means[k])
		if err := inverses[k].SolveVecTo(solved, off); err != nil {
			return shares{}, fmt.Errorf("mode %d: %w", k, err)
		}
		out.nearest[k] += 1 / float64(len(samples))
		if mat.Dot(off, solved) <= bound {
			out.hit[k] += 1 / float64(len(samples))
		}
	}
	return out, nil
}

// hit returns the expected number of modes with the given probabilities that n samples hit.
func hit(weights []float64, n int) float64 {
	sum := 0.0
	for _, w := range weights {
		sum -= math.Expm1(float64(n) * math.Log1p(-min(w, 1-1e-16)))
	}
	return sum
}
