package diagnose

import "fmt"

// Config says how closely a map is evaluated. The zero value is not valid: start from
// [DefaultConfig].
type Config struct {
	// Times are the t of the contexts x_t, in (0, 1).
	Times []float64 `json:"times"`
	// Contexts is the number of contexts at each time, Samples that of posterior samples for each.
	Contexts int `json:"contexts"`
	Samples  int `json:"samples"`
	// Steps of the ODE, with whose samples the one-step samples are compared.
	Steps int `json:"steps"`
	// Grid is the number of intervals of s and of u, between which consistency is evaluated.
	Grid int   `json:"grid"`
	Seed int64 `json:"seed"`
	// Moments leaves out sensitivity and consistency, which take most of the time, and figures.
	Moments bool `json:"moments,omitempty"`
	Thresholds
}

// Thresholds are those above which a metric is reported.
type Thresholds struct {
	// Diversity is the deviation of the ratio from 1, in either direction.
	Diversity float64 `json:"diversity"`
	// Mean and Consistency are in posterior standard deviations, Drift is a share of the drift's
	// variance.
	Mean        float64 `json:"mean"`
	Drift       float64 `json:"drift"`
	Consistency float64 `json:"consistency"`
	// Coverage is the deviation of a coverage from its share, in either direction, beyond two standard
	// errors.
	Coverage float64 `json:"coverage"`
	// Sensitivity is the deviation of the slope from 1, in either direction, beyond two standard
	// errors.
	Sensitivity float64 `json:"sensitivity"`
}

// DefaultConfig has 32 contexts with 64 posterior samples each at six times, an ODE in 64 steps,
// and the thresholds 0.15, 0.2, 0.05, 0.15, 0.05 and 0.25.
func DefaultConfig() Config {
	return Config{
		Times: []float64{0.05, 0.2, 0.4, 0.6, 0.8, 0.95}, Contexts: 32, Samples: 64, Steps: 64, Grid: 8,
		Thresholds: Thresholds{
			Diversity: 0.15, Mean: 0.2, Drift: 0.05, Consistency: 0.15, Coverage: 0.05, Sensitivity: 0.25,
		},
	}
}

// Brief returns the part of c that [Verdict] needs: the moments alone, at three times, with an ODE
// in at most 16 steps and at most n contexts, such as the number of held-out samples.
func (c Config) Brief(n int) Config {
	c.Times, c.Steps, c.Contexts, c.Moments = []float64{0.2, 0.5, 0.8}, min(c.Steps, 16), min(c.Contexts, n), true
	return c
}

// Validate returns an error that names the first value out of range.
func (c Config) Validate() error {
	if len(c.Times) == 0 {
		return fmt.Errorf("diagnosis has no times: give some in (0, 1)")
	}
	for _, t := range c.Times {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("diagnosis at time %g: must lie in (0, 1)", t)
		}
	}
	for _, v := range []struct {
		name            string
		value, from, to int
	}{
		{"contexts", c.Contexts, 2, 1 << 16}, {"samples", c.Samples, 2, 1 << 16}, {"steps", c.Steps, 2, 10_000},
		{"grid", c.Grid, 2, 64},
	} {
		if v.value < v.from || v.value > v.to {
			return fmt.Errorf("diagnosis with %s = %d: must lie in [%d, %d]", v.name, v.value, v.from, v.to)
		}
	}
	t := c.Thresholds
	for _, v := range []float64{t.Diversity, t.Mean, t.Drift, t.Consistency, t.Coverage, t.Sensitivity} {
		if !(v > 0) {
			return fmt.Errorf("diagnosis with thresholds %+v: all must be positive", t)
		}
	}
	return nil
}
