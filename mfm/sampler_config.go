package mfm

import (
	"fmt"
	"slices"

	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

// Sampling is a way to sample a posterior.
type Sampling string

// The ways of sampling. All sample the posterior p_{1|t}(.|x). Unconditional samples are those of
// the posterior at t = 0.
const (
	MapSampling    Sampling = "map"    // steps of the flow map, [Map.PosteriorSteps]
	RefineSampling Sampling = "refine" // repeated denoising and noising, [Map.PosteriorRefined]
	ODESampling    Sampling = "ode"    // the ODE of the diagonal or of a teacher, [solver.Integrate]
	SDESampling    Sampling = "sde"    // the SDE with the same drift, [solver.IntegrateSDE]
)

// SamplerConfig configures a [Sampler]. The zero value is not usable: start from
// [DefaultSamplerConfig].
type SamplerConfig struct {
	Method Sampling `json:"method"`
	// Solver is the scheme of the ODE. The other methods do not use it.
	Solver solver.Scheme `json:"solver"`
	// Grid is the grid of the steps, from noise at 0 to the sample at 1. A backend without loops
	// compiles every step, which takes long for many.
	interpolant.Grid
	// Start is t_0 in (0, 1), where the SDE begins; its first step, from 0 to t_0, follows the ODE,
	// because below t_0 the noise grows as 1/t. Steps longer than t are inaccurate near t_0, but
	// later steps forget their error: 30 uniform steps leave Gaussian data with 1% too much
	// variance.
	Start float64 `json:"start"`
	// Classes is the number of classes of the map, and the label of "no class". 0 means a map
	// without classes.
	Classes int `json:"classes"`
	// Chunk is the largest number of rows per call of the compiled graph. 0 means 2^20 elements of
	// samples, and at most 16,384 rows.
	Chunk int `json:"chunk"`
}

// DefaultSamplerConfig returns one step of the map. Its other values apply when the method or the
// number of steps is changed.
func DefaultSamplerConfig() SamplerConfig {
	grid := interpolant.Grid{Steps: 1, Power: 1}
	return SamplerConfig{Method: MapSampling, Solver: solver.Heun, Grid: grid, Start: 0.01}
}

// Validate returns an error that names the first invalid value.
func (c SamplerConfig) Validate() error {
	if !slices.Contains([]Sampling{MapSampling, RefineSampling, ODESampling, SDESampling}, c.Method) {
		return fmt.Errorf("method %q is unknown: use map, refine, ode or sde", c.Method)
	}
	if c.Method == ODESampling && c.Solver != solver.Euler && c.Solver != solver.Heun {
		return fmt.Errorf("solver %q is unknown: use euler or heun", c.Solver)
	}
	if err := c.Grid.Validate(); err != nil {
		return err
	}
	if c.Method == SDESampling && c.Steps < 3 {
		return fmt.Errorf("steps = %d: the SDE needs 3 or more, since its first and last follow the ODE", c.Steps)
	}
	if c.Method == SDESampling && !(c.Start > 0 && c.Start < 1) {
		return fmt.Errorf("start = %g: must lie in (0, 1)", c.Start)
	}
	if c.Classes < 0 {
		return fmt.Errorf("classes = %d: must not be negative", c.Classes)
	}
	if c.Chunk < 0 {
		return fmt.Errorf("chunk = %d: must not be negative", c.Chunk)
	}
	return nil
}

// NFE returns the number of evaluations of a velocity of the map, or of the teacher, per sample.
func (c SamplerConfig) NFE() int {
	if c.Method == ODESampling {
		return c.Solver.Evaluations(c.Steps)
	}
	return c.Steps
}

// times returns the times of the configured steps, from 0 to 1.
func (c SamplerConfig) times() []float64 {
	if c.Method != SDESampling {
		return c.Times(0, 1)
	}
	rest := interpolant.Grid{Steps: c.Steps - 1, Power: c.Power}
	return append([]float64{0}, rest.Times(c.Start, 1)...)
}

// chunk returns the number of rows per call for total rows of the given number of elements: as few
// calls as the limit allows, all of the same size.
func (c SamplerConfig) chunk(total, elements int) int {
	const maxChunkElements, maxChunkRows = 1 << 20, 1 << 14
	limit := c.Chunk
	if limit == 0 {
		limit = min(max(maxChunkElements/elements, 1), maxChunkRows)
	}
	calls := (total + limit - 1) / limit
	return (total + calls - 1) / calls
}
