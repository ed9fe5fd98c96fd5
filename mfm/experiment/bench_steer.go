package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
)

// SteerBench is a steered run that [BenchSteering] times: of particles in the plane, by a map of three layers of 32 that is not trained.
type SteerBench struct {
	Method    string `json:"method"` // mfm-g or mfm-gf
	Particles int    `json:"particles"`
	Draws     int    `json:"draws"`
	Steps     int    `json:"steps"`
	Rows      int    `json:"rows"` // that the network sees at a time, see [steer.Steerer].Batch
}

// DefaultSteerBench is 500 steps of 4,096 particles with sixteen draws each, all in one compiled call.
func DefaultSteerBench() SteerBench {
	return SteerBench{Method: "mfm-g", Particles: 4096, Draws: 16, Steps: 500, Rows: 4096 * 16}
}

// SteerBenchRow is what a steered run costs.
type SteerBenchRow struct {
	BenchRow
	SteerBench
}

// BenchSteering measures steered runs for about the given time, two at least: their steps a second, all particles together.
func BenchSteering(ctx context.Context, b compute.Backend, c SteerBench, duration time.Duration) (SteerBenchRow, error) {
	row := SteerBenchRow{BenchRow{Case: "steer", Loss: c.Method}, c}
	if c.Method != "mfm-g" && c.Method != "mfm-gf" {
		return row, fmt.Errorf("method %q is not timed: use mfm-g or mfm-gf", c.Method)
	}
	if c.Rows < 1 || c.Particles < 1 {
		return row, fmt.Errorf("%d particles in calls of %d rows: both must be positive", c.Particles, c.Rows)
	}
	cell := SteerCell{Method: c.Method, N: c.Draws, Config: steer.DefaultConfig()}
	cell.Config.Steps = c.Steps
	m, err := cell.SteerMethod(nil)
	if err != nil {
		return row, err
	}
	config := DefaultGMMConfig()
	config.Network = nn.MLPConfig{Width: 32, Depth: 3, Activation: "silu"}
	e, err := NewGMM(config)
	if err != nil {
		return row, err
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		return row, err
	}
	from, err := steer.FromMap(e.Map, store.Scope(train.WeightsScope), mfm.DefaultSamplerConfig())
	if err != nil {
		return row, err
	}
	s, err := steer.New(b, store, from, PaperReward().Reward(), e.Shape(), m)
	if err != nil {
		return row, err
	}
	defer s.Finalize()
	s.Batch = c.Rows
	run := func(seed int) error {
		_, err := s.Sample(ctx, int64(seed), c.Particles, nil)
		return err
	}
	start := time.Now()
	if err := run(0); err != nil {
		return row, err
	}
	first := time.Since(start).Seconds()
	start = time.Now()
	runs := 0
	for runs == 0 || time.Since(start) < duration {
		runs++
		if err := run(runs); err != nil {
			return row, err
		}
	}
	each := time.Since(start).Seconds() / float64(runs)
	row.StepsPerSecond = float64(c.Steps) / each
	row.CompileSeconds = max(first-each, 0)
	row.PeakRSSMB = peakRSS()
	return row, nil
}
