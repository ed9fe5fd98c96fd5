package config_test

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
)

// Set changes one value of a configuration by its path of JSON keys, as on the command line.
func ExampleSet() {
	c := struct {
		Train mfm.TrainConfig `json:"train"`
	}{mfm.DefaultTrainConfig()}
	fmt.Println(config.Set(&c, "train.optimizer.rate", "1e-4"), c.Train.Optimizer.Rate)
	fmt.Println(config.Set(&c, "train.optim.rate", "1e-4"))
	// Output:
	// <nil> 0.0001
	// train.optim: unknown key: use one of accumulate, batch, ema, loss, optimizer, seed, steps
}
