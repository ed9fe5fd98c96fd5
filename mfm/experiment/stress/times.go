package stress

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/solver"
)

// TimesSetting is the flow of data near a manifold along its exact drift, on one grid of times.
type TimesSetting struct {
	Edition
	Manifold
	Power   float64 `json:"power"` // of the time grid, see [interpolant.Grid]
	Steps   int     `json:"steps"`
	Samples int     `json:"samples"`
}

// TimesResult says how far samples by the exact drift are from data near a manifold, as a whole and
// across it.
type TimesResult struct {
	Test Test `json:"test"` // [TimesTest]
	TimesSetting
	Across float64 `json:"across"` // root mean square distance from the manifold
	Exact  float64 `json:"exact"`  // that of 2^18 exact samples
	SW2    float64 `json:"sw2"`    // sliced W2 to as many exact samples
	Floor  float64 `json:"floor"`  // sliced W2 between two sets of exact samples
}

// TimesGrid is the grid of the stress test: uniform times and times that are denser near the noise
// or near the data, on circles of decreasing width.
func TimesGrid() []TimesSetting {
	var settings []TimesSetting
	for _, width := range []float64{0.3, 0.1, 0.03, 0.01, 0.003} {
		for _, power := range []float64{0.5, 1, 2} {
			for _, steps := range []int{30, 100, 300, 1000} {
				m := Manifold{Curve, width}
				settings = append(settings, TimesSetting{Edition{edition}, m, power, steps, 4096})
			}
		}
	}
	return settings
}

// Validate returns an error that names the first value out of range.
func (c TimesSetting) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Samples < 2 || c.Samples > 1<<20 {
		return fmt.Errorf("samples = %d: must lie in [2, 2^20]", c.Samples)
	}
	if err := (interpolant.Grid{Steps: c.Steps, Power: c.Power}).Validate(); err != nil {
		return err
	}
	_, err := c.Mixture()
	return err
}

// Run samples with Euler steps of the exact drift.
func (c TimesSetting) Run(ctx context.Context, b compute.Backend, _ run.Options) (TimesResult, error) {
	result := TimesResult{Test: TimesTest, TimesSetting: c}
	if err := c.Validate(); err != nil {
		return result, err
	}
	data, err := c.Mixture()
	if err != nil {
		return result, err
	}
	ip := interpolant.Linear{}
	drift := func(t, x, _ *Node) *Node { return data.Like(x).Drift(ip, t, x) }
	config := mfm.SamplerConfig{
		Method: mfm.ODESampling, Solver: solver.Euler, Grid: interpolant.Grid{Steps: c.Steps, Power: c.Power},
		Chunk: c.Samples,
	}
	sampler, err := mfm.NewTeacherSampler(b, model.NewStore(), ip, drift, []int{data.Dim()}, config)
	if err != nil {
		return result, err
	}
	defer sampler.Finalize()
	flat, err := mfm.Flat(sampler.Unconditional(ctx, 1, c.Samples, nil))
	if err != nil {
		return result, err
	}
	rng, samples := rand.New(rand.NewPCG(1, 45)), mfm.Rows(flat, data.Dim())
	result.Across = math.Sqrt(c.meanSquare(samples))
	result.Exact = math.Sqrt(c.meanSquare(data.Sample(rng, 1<<18)))
	exact, projections := data.Sample(rng, c.Samples), metric.RandomProjections(rng, 256, data.Dim())
	if result.SW2, err = metric.SlicedW2(samples, exact, projections); err != nil {
		return result, err
	}
	result.Floor, err = metric.SlicedW2(data.Sample(rng, c.Samples), exact, projections)
	return result, err
}
