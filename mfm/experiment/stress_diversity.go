package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/mat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
)

// DiversityCell is a map trained on a mixture of a [Family] and the judgement of its posteriors: all that a [DiversityRow] depends on.
type DiversityCell struct {
	Edition
	Family Family         `json:"family"`
	Width  int            `json:"width"` // of the MLP
	Depth  int            `json:"depth"`
	Steps  int64          `json:"steps"`
	Seed   int64          `json:"seed"` // of the training
	Eval   EvaluateConfig `json:"eval"`
}

// DiversityRow says how well a map's one-step posterior samples cover the posteriors of a random mixture.
type DiversityRow struct {
	Test string `json:"test"` // diversity
	Family
	Training  int64          `json:"training_seed"`
	Steps     int64          `json:"steps"`
	Posterior []PosteriorRow `json:"posterior"` // by t
	Contexts  []ContextRow   `json:"contexts"`  // by t and x
	Hits      []HitRow       `json:"hits"`      // by t and number of draws
	Seconds   float64        `json:"seconds"`   // of training
	Diverged  bool           `json:"diverged,omitempty"`
}

// ContextRow is the quality of a map's posterior samples at one t and one context x_t, by itself.
type ContextRow struct {
	T         float64 `json:"t"`
	Excess    float64 `json:"excess"`    // as in [PosteriorRow]
	Diversity float64 `json:"diversity"` // spread over the posterior's
	// Variation is the total variation between the masses of samples and of the posterior by the mode of largest responsibility, however far away that is: what a collapse on some modes would show. Floor is that of as many exact samples.
	Variation float64 `json:"variation"`
	Floor     float64 `json:"variation_floor"`
}

// HitRow is how many of a posterior's modes so many draws hit, Σ_k 1 - (1 - w_k)^n, mean over contexts. w_k is the share of samples of which mode k has the largest responsibility and whose squared Mahalanobis distance to it is at most
// dim + 4√(2 dim), which of its own samples nearly all keep. More than exact draws hit are modes that the posterior hardly has.
type HitRow struct {
	T     float64 `json:"t"`
	Draws int     `json:"draws"`
	Map   float64 `json:"map"`   // of the map's samples
	Exact float64 `json:"exact"` // of as many exact ones
}

// hitDraws are the numbers of draws of a [HitRow].
var hitDraws = []int{1, 4, 16, 64, 256}

// DiversityGrid is the grid of the stress test: modes 1 to 64, dimensions 2 to 32, every kind.
func DiversityGrid() []DiversityCell {
	var cells []DiversityCell
	for _, kind := range FamilyKinds() {
		for _, dim := range []int{2, 8, 32} {
			for _, modes := range []int{1, 4, 16, 64} {
				cells = append(cells, DiversityCell{
					Edition: Edition{edition}, Family: Family{Kind: kind, Modes: modes, Dim: dim, Seed: 1}, Width: 128, Depth: 4, Steps: 5000,
					Eval: EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: 4096, Projections: 128, Seed: 123},
				})
			}
		}
	}
	return cells
}

// config returns the configuration of the training.
func (c DiversityCell) config() (GMMConfig, error) {
	law, err := c.Family.Mixture()
	return stressMap(law, Variant{mfm.Semigroup, mfm.Teacher}, c.Width, c.Depth, c.Steps, c.Seed), err
}

// Validate returns an error that names the first value that makes no sense.
func (c DiversityCell) Validate() error {
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
func (c DiversityCell) Run(ctx context.Context, b compute.Backend, o RunOptions) (DiversityRow, error) {
	row := DiversityRow{Test: "diversity", Family: c.Family, Training: c.Seed, Steps: c.Steps}
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
	hits, rng := map[float64][]HitRow{}, rand.New(rand.NewPCG(c.Eval.Seed, 47))
	row.Posterior, row.Seconds, err = e.trainAndJudge(ctx, b, o, c.Eval, func(one PosteriorRow, samples [][]float64, posterior *gmm.Mixture) error {
		own, err := modeShares(samples, posterior)
		if err != nil {
			return err
		}
		exact, err := modeShares(posterior.Sample(rng, len(samples)), posterior)
		if err != nil {
			return err
		}
		hits[one.T] = addHits(hits[one.T], one.T, own.hit, exact.hit, c.Eval.Contexts)
		at := ContextRow{T: one.T, Excess: one.Excess, Diversity: one.Diversity}
		if at.Variation, err = metric.TotalVariation(own.nearest, exact.nearest); err != nil {
			return err
		}
		again, err := modeShares(posterior.Sample(rng, len(samples)), posterior)
		if err != nil {
			return err
		}
		at.Floor, err = metric.TotalVariation(again.nearest, exact.nearest)
		row.Contexts = append(row.Contexts, at)
		return err
	})
	if row.Diverged = onlyNonFinite(err); row.Diverged {
		return row, nil
	}
	if err != nil {
		return row, fmt.Errorf("%s: %w", c.Family.Name(), err)
	}
	for _, t := range c.Eval.Times {
		row.Hits = append(row.Hits, hits[t]...)
	}
	return row, nil
}

// addHits adds those of one of so many contexts, from the shares of samples and of exact ones that hit each mode.
func addHits(rows []HitRow, t float64, own, exact []float64, contexts int) []HitRow {
	if rows == nil {
		for _, n := range hitDraws {
			rows = append(rows, HitRow{T: t, Draws: n})
		}
	}
	for i := range rows {
		rows[i].Map += hit(own, rows[i].Draws) / float64(contexts)
		rows[i].Exact += hit(exact, rows[i].Draws) / float64(contexts)
	}
	return rows
}

// shares are those of samples by mode: of which it has the largest responsibility, and of which it is hit, too, see [HitRow].
type shares struct{ nearest, hit []float64 }

// modeShares returns the shares of samples by component.
func modeShares(samples [][]float64, law *gmm.Mixture) (shares, error) {
	n, dim := law.Len(), law.Dim()
	means, inverses := make([]*mat.VecDense, n), make([]*mat.Cholesky, n)
	for k := range n {
		mean, covariance := law.Component(k)
		c := mat.NewSymDense(dim, nil)
		for i, row := range covariance {
			for j := i; j < dim; j++ {
				c.SetSym(i, j, row[j])
			}
		}
		means[k], inverses[k] = mat.NewVecDense(dim, mean), new(mat.Cholesky)
		if !inverses[k].Factorize(c) {
			return shares{}, fmt.Errorf("mode %d has a covariance without an inverse: modes that are points are hit by no sample", k)
		}
	}
	most := float64(dim) + 4*math.Sqrt(2*float64(dim))
	out, off, solved := shares{make([]float64, n), make([]float64, n)}, mat.NewVecDense(dim, nil), mat.NewVecDense(dim, nil)
	for _, x := range samples {
		k := argmax(law.PosteriorWeights(interpolant.Linear{}, 1, x))
		off.SubVec(mat.NewVecDense(dim, x), means[k])
		if err := inverses[k].SolveVecTo(solved, off); err != nil {
			return shares{}, fmt.Errorf("mode %d: %w", k, err)
		}
		out.nearest[k] += 1 / float64(len(samples))
		if mat.Dot(off, solved) <= most {
			out.hit[k] += 1 / float64(len(samples))
		}
	}
	return out, nil
}

// hit returns the expected number of modes of the given probabilities that n draws hit.
func hit(weights []float64, n int) float64 {
	sum := 0.0
	for _, w := range weights {
		sum -= math.Expm1(float64(n) * math.Log1p(-min(w, 1-1e-16)))
	}
	return sum
}
