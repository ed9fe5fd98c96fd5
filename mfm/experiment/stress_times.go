package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// TimesCell is the flow of a thin law by its exact drift, on one grid of times.
type TimesCell struct {
	Edition
	Manifold
	Power   float64 `json:"power"` // of the times, see [interpolant.Grid]
	Steps   int     `json:"steps"`
	Samples int     `json:"samples"`
}

// TimesRow says how far samples by the exact drift are from a thin law: across it, and as a whole.
type TimesRow struct {
	Test string `json:"test"` // times
	TimesCell
	Across float64 `json:"across"` // root mean square distance from the manifold
	Exact  float64 `json:"exact"`  // that of exact samples, of 2^18
	SW2    float64 `json:"sw2"`    // sliced W2 to as many exact samples
	Floor  float64 `json:"floor"`  // that between two sets of exact samples
}

// TimesGrid is uniform times and finer ones, near noise and near the data.
func TimesGrid() []TimesCell {
	var cells []TimesCell
	for _, width := range []float64{0.3, 0.1, 0.03, 0.01, 0.003} {
		for _, power := range []float64{0.5, 1, 2} {
			for _, steps := range []int{30, 100, 300, 1000} {
				cells = append(cells, TimesCell{Edition{edition}, Manifold{"curve", width}, power, steps, 4096})
			}
		}
	}
	return cells
}

// Validate returns an error that names the first value that makes no sense.
func (c TimesCell) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Samples < 2 || c.Samples > 1<<20 {
		return fmt.Errorf("samples = %d: must lie in [2, 2^20]", c.Samples)
	}
	if err := (interpolant.Grid{Steps: c.Steps, Power: c.Power}).Validate(); err != nil {
		return err
	}
	_, err := c.Law()
	return err
}

// Run samples by Euler's steps of the exact drift.
func (c TimesCell) Run(ctx context.Context, b compute.Backend, _ RunOptions) (TimesRow, error) {
	row := TimesRow{Test: "times", TimesCell: c}
	if err := c.Validate(); err != nil {
		return row, err
	}
	law, err := c.Law()
	if err != nil {
		return row, err
	}
	ip := interpolant.Linear{}
	sampler, err := mfm.NewTeacherSampler(b, model.NewStore(), ip, func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) }, []int{law.Dim()},
		mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: c.Power}, Chunk: c.Samples})
	if err != nil {
		return row, err
	}
	defer sampler.Finalize()
	flat, err := sampler.Unconditional(ctx, 1, c.Samples, nil)
	if err != nil {
		return row, err
	}
	rng, samples := rand.New(rand.NewPCG(1, 45)), mfm.Rows(flat, law.Dim())
	row.Across = math.Sqrt(c.squares(samples))
	row.Exact = math.Sqrt(c.squares(law.Sample(rng, 1<<18)))
	exact, projections := law.Sample(rng, c.Samples), metric.RandomProjections(rng, 256, law.Dim())
	if row.SW2, err = metric.SlicedW2(samples, exact, projections); err != nil {
		return row, err
	}
	row.Floor, err = metric.SlicedW2(law.Sample(rng, c.Samples), exact, projections)
	return row, err
}
