package tune

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/train"
)

// Config says how a drift is tuned. The zero value is not valid: start from [DefaultConfig].
type Config struct {
	train.Config
	// Lambda is λ, the factor of the reward. λ rises linearly to it over the first LambdaWarmup
	// steps.
	Lambda       float64       `json:"lambda"`
	LambdaWarmup int64         `json:"lambda_warmup"`
	Noise        Noise         `json:"noise"`
	States       StateSampling `json:"states"`
	// Girsanov weights the square of a state by 1/min(σ_t²/2, 1), at most 1,000, as the divergence
	// of paths ([PathResult].KL) does where σ_t is small. If false, all states have equal weights.
	Girsanov bool `json:"girsanov"`
	// OffsetRate is the weight of a batch in the running offset c, a moving average of the
	// logarithm of the mean weight. The first batches weigh more, as in a plain mean.
	OffsetRate float64 `json:"offset_rate"`
}

// DefaultConfig is λ = 1 for 4,000 steps on 2,048 interpolants each, with Doob's schedule and
// t_0 = 0.01. Gradients are not clipped, since clipping is a bias: it reduces the batches with the
// largest weights most.
func DefaultConfig() Config {
	c := Config{
		Config: mfm.DefaultTrainConfig().Config, Lambda: 1, Noise: Noise{Start: 0.01},
		States: DefaultStateSampling(), Girsanov: true, OffsetRate: 0.01,
	}
	c.Steps, c.Batch, c.Optimizer.Clip = 4000, 2048, 0
	return c
}

// Validate returns an error that names the first value out of range.
func (c Config) Validate() error {
	switch {
	case !(c.Lambda >= -1e6 && c.Lambda <= 1e6) || c.Lambda == 0:
		return fmt.Errorf("lambda = %g: must lie in [-1e6, 1e6] and not be zero", c.Lambda)
	case c.LambdaWarmup < 0:
		return fmt.Errorf("lambda_warmup = %d: must not be negative", c.LambdaWarmup)
	case !(c.OffsetRate > 0 && c.OffsetRate <= 1):
		return fmt.Errorf("offset_rate = %g: must lie in (0, 1]", c.OffsetRate)
	case c.Accumulate != 1:
		return fmt.Errorf("accumulate = %d: the running offset is updated once a step, use 1 and a larger batch",
			c.Accumulate)
	}
	if err := c.Noise.Validate(); err != nil {
		return err
	}
	if err := c.States.Validate(); err != nil {
		return err
	}
	if _, _, _, err := c.States.split(c.Batch); err != nil {
		return err
	}
	if c.States.OnPolicy > 0 {
		if err := checkPath(c.Noise.Start, c.States.Steps); err != nil {
			return err
		}
	}
	return c.Config.Validate()
}
