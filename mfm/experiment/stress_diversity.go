package experiment

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
)

// DiversityCell is a map trained on a mixture of a [Family] and the judgement of its posteriors: all that a [DiversityRow] depends on.
type DiversityCell struct {
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
	Hits      []HitRow       `json:"hits"`      // by t and number of draws
	Seconds   float64        `json:"seconds"`   // of training
	Diverged  bool           `json:"diverged,omitempty"`
}

// HitRow is how many of a posterior's modes so many draws hit, Σ_k 1 - (1 - w_k)^n for probabilities w_k of the modes, mean over contexts.
type HitRow struct {
	T     float64 `json:"t"`
	Draws int     `json:"draws"`
	Map   float64 `json:"map"`   // w_k the mean responsibilities of the map's samples
	Exact float64 `json:"exact"` // w_k the posterior's own
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
					Family: Family{Kind: kind, Modes: modes, Dim: dim, Seed: 1}, Width: 128, Depth: 4, Steps: 5000,
					Eval: EvaluateConfig{Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 6, Samples: 4096, Projections: 128, Seed: 123},
				})
			}
		}
	}
	return cells
}

// config returns the configuration of the training.
func (c DiversityCell) config() (GMMConfig, error) {
	config := DefaultGMMConfig()
	var err error
	if config.Mixture, err = c.Family.Mixture(); err != nil {
		return config, err
	}
	config.Network.Width, config.Network.Depth = c.Width, c.Depth
	config.Train.Steps, config.Train.Seed = c.Steps, c.Seed
	config.SetLoss(mfm.Semigroup, mfm.Teacher)
	return config, nil
}

// Run trains and judges.
func (c DiversityCell) Run(ctx context.Context, b compute.Backend, o RunOptions) (DiversityRow, error) {
	row := DiversityRow{Test: "diversity", Family: c.Family, Training: c.Seed, Steps: c.Steps}
	config, err := c.config()
	if err != nil {
		return row, err
	}
	if err := c.Eval.Validate(); err != nil {
		return row, err
	}
	e, err := NewGMM(config)
	if err != nil {
		return row, err
	}
	draw, seconds, err := e.trainAndDraw(ctx, b, o)
	row.Seconds = seconds
	if row.Diverged = onlyNonFinite(err); row.Diverged {
		return row, nil
	}
	if err != nil {
		return row, fmt.Errorf("%v: %w", c.Family, err)
	}
	hits := map[float64][]HitRow{}
	counted := func(ctx context.Context, t float64, x []float64, n int) ([][]float64, error) {
		samples, err := draw(ctx, t, x, n)
		if err == nil {
			hits[t] = e.addHits(hits[t], t, x, samples, c.Eval.Contexts)
		}
		return samples, err
	}
	if row.Posterior, err = e.Evaluate(ctx, counted, c.Eval); err != nil {
		return row, err
	}
	for _, t := range c.Eval.Times {
		row.Hits = append(row.Hits, hits[t]...)
	}
	return row, nil
}

// addHits adds those of one of so many contexts.
func (e *GMM) addHits(rows []HitRow, t float64, x []float64, samples [][]float64, contexts int) []HitRow {
	if rows == nil {
		for _, n := range hitDraws {
			rows = append(rows, HitRow{T: t, Draws: n})
		}
	}
	posterior := e.Config.Mixture.Posterior(e.Map.Interpolant, t, x)
	own := make([]float64, posterior.Len())
	for _, s := range samples {
		for k, w := range posterior.PosteriorWeights(e.Map.Interpolant, 1, s) {
			own[k] += w / float64(len(samples))
		}
	}
	for i := range rows {
		rows[i].Map += hit(own, rows[i].Draws) / float64(contexts)
		rows[i].Exact += hit(posterior.Weights(), rows[i].Draws) / float64(contexts)
	}
	return rows
}

// hit returns the expected number of modes of the given probabilities that n draws hit.
func hit(weights []float64, n int) float64 {
	sum := 0.0
	for _, w := range weights {
		sum -= math.Expm1(float64(n) * math.Log1p(-min(w, 1-1e-16)))
	}
	return sum
}
