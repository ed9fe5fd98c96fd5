package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
)

// What a steered run is that [BenchSteering] times.
const benchParticles, benchDraws, benchSteps = 4096, 16, 500

// BenchSteering measures steered runs, each of 500 steps of 4,096 particles in the plane in one compiled call: its steps a second. method is mfm-g or mfm-gf, of sixteen draws of a map of three layers of 32 that is not trained.
func BenchSteering(ctx context.Context, b compute.Backend, method string, duration time.Duration) (BenchRow, error) {
	row := BenchRow{Case: "steer", Loss: method}
	cell := SteerCell{Method: method, N: benchDraws, Config: steer.DefaultConfig()}
	if method != "mfm-g" && method != "mfm-gf" {
		return row, fmt.Errorf("method %q is not timed: use mfm-g or mfm-gf", method)
	}
	cell.Config.Steps = benchSteps
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
	from, err := steer.FromMap(e.Map, store.Scope(mfm.WeightsScope), mfm.DefaultSamplerConfig())
	if err != nil {
		return row, err
	}
	s, err := steer.New(b, store, from, PaperReward().Reward(), []int{gmm.Paper().Dim()}, m)
	if err != nil {
		return row, err
	}
	defer s.Finalize()
	s.Batch = benchParticles * benchDraws
	start, runs := time.Now(), 0
	for ; runs == 0 || time.Since(start) < duration; runs++ {
		if _, err := s.Sample(ctx, int64(runs), benchParticles, nil); err != nil {
			return row, err
		}
		if row.CompileSeconds == 0 {
			row.CompileSeconds = time.Since(start).Seconds() // and the first run
			start, runs = time.Now(), -1
		}
	}
	row.StepsPerSecond = float64(runs*benchSteps) / time.Since(start).Seconds()
	row.PeakRSSMB = peakRSS()
	return row, nil
}
