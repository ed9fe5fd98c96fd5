// Package experimenttest has small configurations and checks for the tests of experiments.
package experimenttest

import (
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/mixture"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/nn"
)

// WantError fails the test unless err is one line that contains message. what names the case.
func WantError(t *testing.T, what string, err error, message string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), message) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want one line with %q", what, err, message)
	}
}

// NewMixture returns the experiment of a configuration, which must be valid.
func NewMixture(t *testing.T, config mixture.Config) *mixture.Experiment {
	t.Helper()
	e, err := mixture.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TinyConfig is a map of the paper's mixture that compiles and trains 12 steps within a second.
func TinyConfig() mixture.Config {
	c := mixture.DefaultConfig()
	c.SetLoss(mfm.DiagonalOnly, mfm.Self)
	c.Parametrization = "plain"
	c.Network = nn.NewNetwork(nn.MLPConfig{Width: 8, Depth: 1, Activation: "silu"})
	c.Train.Steps, c.Train.Batch, c.Train.Seed = 12, 16, 3
	return c
}

// QuickTuning is a tuning of a mixture's map for 300 steps, with evaluations every 100.
func QuickTuning() tuning.Config {
	c := tuning.DefaultConfig()
	c.N, c.Tune.Steps, c.Tune.Batch = 2, 300, 512
	c.Adapter = nn.NewNetwork(nn.MLPConfig{Width: 32, Depth: 3, Activation: "silu"})
	c.Budget.Every, c.Budget.Paths.Paths, c.Budget.Paths.Steps = 100, 128, 30
	return c
}
