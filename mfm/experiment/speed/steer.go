package speed

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteeringConfig is a steered run that [Steering] times: particles in the plane, steered with an
// untrained map of three layers of 32 units.
type SteeringConfig struct {
	// Method is the name of a method in [steer.Methods], here "mfm-g" or "mfm-gf".
	Method    string `json:"method"`
	Particles int    `json:"particles"`
	Samples   int    `json:"samples"` // posterior samples per particle and step
	Steps     int    `json:"steps"`
	// Rows is the number of rows in a call of the network, see [steer.Steerer].Batch.
	Rows int `json:"rows"`
}

// DefaultSteering returns 500 steps of 4,096 particles with 16 posterior samples each, in a single
// compiled call.
func DefaultSteering() SteeringConfig {
	return SteeringConfig{Method: "mfm-g", Particles: 4096, Samples: 16, Steps: 500, Rows: 4096 * 16}
}

// Validate returns an error that names the first invalid value.
func (c SteeringConfig) Validate() error {
	m, err := c.method()
	if err != nil {
		return err
	}
	return m.Validate()
}

// method returns the method that a valid configuration times.
func (c SteeringConfig) method() (steer.Method, error) {
	if c.Method != "mfm-g" && c.Method != "mfm-gf" {
		return nil, fmt.Errorf("method %q cannot be timed: use mfm-g or mfm-gf", c.Method)
	}
	if c.Rows < 1 || c.Particles < 1 {
		return nil, fmt.Errorf("particles = %d, rows = %d: both must be positive", c.Particles, c.Rows)
	}
	setting := steering.Setting{Method: c.Method, N: c.Samples, Config: steer.DefaultConfig()}
	setting.Config.Steps = c.Steps
	return setting.SteerMethod(nil)
}

// SteeringResult is the speed of a steered run.
type SteeringResult struct {
	Result
	SteeringConfig
}

// Steering measures steered runs for about the given time by the clock now, at least one after the
// first, which compiles. StepsPerSecond counts a step of all particles as one.
func Steering(
	ctx context.Context, b compute.Backend, c SteeringConfig, duration time.Duration, now func() time.Time,
) (SteeringResult, error) {
	result := SteeringResult{Result{Case: Steer, Loss: c.Method, XLAFlags: os.Getenv(backend.EnvXLAFlags)}, c}
	m, err := c.method()
	if err != nil {
		return result, err
	}
	config := mixture.DefaultConfig()
	config.Network = nn.NewNetwork(nn.MLPConfig{Width: 32, Depth: 3, Activation: "silu"})
	e, err := mixture.New(config)
	if err != nil {
		return result, err
	}
	store, err := untrained(b, e.Map, e.Shape())
	if err != nil {
		return result, err
	}
	from, err := steer.FromMap(e.Model(store), mfm.DefaultSamplerConfig())
	if err != nil {
		return result, err
	}
	s, err := steer.New(b, from, mixture.PaperReward().Reward(), m)
	if err != nil {
		return result, err
	}
	defer s.Finalize()
	s.Batch = c.Rows
	seed := int64(-1)
	run := func() error {
		seed++
		_, err := s.Sample(ctx, seed, c.Particles, nil)
		return err
	}
	err = result.timeRuns(run, c.Steps, duration, now)
	return result, err
}
