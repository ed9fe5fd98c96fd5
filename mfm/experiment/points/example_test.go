package points_test

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Trains a small map of a table, and steers its samples to a mass of 115 in the units of the table.
func ExampleSteering() {
	ctx := context.Background()
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	rng := rand.New(rand.NewPCG(1, 1))
	table := &tabular.Table{Columns: []string{"mass", "ratio"}} // or points.Load of a file
	for range 2000 {
		table.Rows = append(table.Rows, []float64{100 + 10*rng.NormFloat64(), 1 + 0.01*rng.NormFloat64()})
	}
	data, err := points.Split(table)
	if err != nil {
		fmt.Println(err)
		return
	}
	config := points.DefaultConfig()
	config.Network = nn.NewNetwork(nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu"})
	config.Prior.MaxComponents, config.Train.Steps, config.Train.Batch = 1, 5, 32
	e, err := points.New(ctx, config, data)
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := e.Train(ctx, b, data, run.Options{}) // with Dir, the run is kept and resumed
	if err != nil {
		fmt.Println(err)
		return
	}
	reward := []byte(`{"kind": "column", "column": "mass", "target": 115, "width": 10}`)
	s, err := points.NewSteering(e, store, data, reward)
	if err != nil {
		fmt.Println(err)
		return
	}
	setting := steering.Setting{Method: "mfm-gf", N: 16, Samples: 64, Config: steer.DefaultConfig()}
	setting.Config.Steps = 10
	r, err := s.Run(ctx, b, setting)
	if err != nil {
		fmt.Println(err)
		return
	}
	mass := r.Columns[0]
	fmt.Println("mass before within 4 of 100:", mass.MeanBefore.Float() > 96 && mass.MeanBefore.Float() < 104)
	fmt.Println("steered mass within 4 of 107.5:", mass.Mean > 103.5 && mass.Mean < 111.5)
	fmt.Println("more than 800 of 1,800 effective rows:", r.TargetEffective.Float() > 800)
	// Output:
	// mass before within 4 of 100: true
	// steered mass within 4 of 107.5: true
	// more than 800 of 1,800 effective rows: true
}
