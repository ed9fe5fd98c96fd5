package mfm

import (
	"fmt"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"slices"
)

// Method is a way to draw samples.
type Method string

// The methods. All draw from the posterior p_{1|t}(.|x); unconditional samples are those of the posterior at t = 0.
const (
	MapMethod    Method = "map"    // steps of the flow map: [Map.PosteriorSteps]; with one step [Map.Posterior]
	RefineMethod Method = "refine" // steps of the flow map to the end, fresh noise between them: [Map.PosteriorRefined]
	ODEMethod    Method = "ode"    // the ODE of the map's diagonal, or of a teacher's conditional drift: [solver.Integrate]
	SDEMethod    Method = "sde"    // the SDE with the same drift: [solver.IntegrateSDE]
)

// SamplerConfig says how samples are drawn. The zero value is not usable: start from [DefaultSamplerConfig].
type SamplerConfig struct {
	Method Method `json:"method"`
	// Solver of the ODE; the other methods do not use it.
	Solver solver.Method `json:"solver"`
	// Grid of the steps, from noise at 0 to the sample at 1. In a backend without loops each step is compiled on its own, so that many
	// take long to compile.
	interpolant.Grid
	// Start is t_0, where the SDE takes over from its first step, which is one of the ODE: below it the noise grows as 1/t. Steps longer than t are
	// wrong there, but what they do is forgotten on the way; 30 uniform steps leave Gaussian data with 1% too much variance.
	Start float64 `json:"start"`
	// Classes is the number of classes of the map, and the label that stands for none of them. 0: a map without classes.
	Classes int `json:"classes"`
	// Chunk is the largest number of rows in one call of the compiled graph. 0 takes 2^20 elements of samples, and 16,384 rows at most.
	Chunk int `json:"chunk"`
}

// DefaultSamplerConfig is one step of the map. Its other values are in use once the method or the number of steps is changed.
func DefaultSamplerConfig() SamplerConfig {
	return SamplerConfig{Method: MapMethod, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 1, Power: 1}, Start: 0.01}
}

// Validate returns an error that names the first value that makes no sense.
func (c SamplerConfig) Validate() error {
	if !slices.Contains([]Method{MapMethod, RefineMethod, ODEMethod, SDEMethod}, c.Method) {
		return fmt.Errorf("method %q is unknown: use map, refine, ode or sde", c.Method)
	}
	if c.Method == ODEMethod && c.Solver != solver.Euler && c.Solver != solver.Heun {
		return fmt.Errorf("solver %q is unknown: use euler or heun", c.Solver)
	}
	if err := c.Grid.Validate(); err != nil {
		return err
	}
	if c.Method == SDEMethod && c.Steps < 3 {
		return fmt.Errorf("steps = %d: the SDE needs 3 or more, since its first and last are the ODE's", c.Steps)
	}
	if c.Method == SDEMethod && !(c.Start > 0 && c.Start < 1) {
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

// NFE returns the number of evaluations of the map or teacher for one sample.
func (c SamplerConfig) NFE() int {
	if c.Method == ODEMethod {
		return c.Solver.Evaluations(c.Steps)
	}
	return c.Steps
}

// times returns the times of the configured steps, from 0 to 1.
func (c SamplerConfig) times() []float64 {
	if c.Method != SDEMethod {
		return c.Times(0, 1)
	}
	rest := interpolant.Grid{Steps: c.Steps - 1, Power: c.Power}
	return append([]float64{0}, rest.Times(c.Start, 1)...)
}

// chunk returns the number of rows a call for total rows of the given number of elements: as few calls as the limit allows, all of one size.
func (c SamplerConfig) chunk(total, elements int) int {
	const mostElements, mostRows = 1 << 20, 1 << 14
	limit := c.Chunk
	if limit == 0 {
		limit = min(max(mostElements/elements, 1), mostRows)
	}
	calls := (total + limit - 1) / limit
	return (total + calls - 1) / calls
}
