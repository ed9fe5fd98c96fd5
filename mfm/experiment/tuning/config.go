// Package tuning fine-tunes the drift of any task's map to a reward: a [Config] says what to tune
// and how, a [Task] trains and evaluates, and [Run] does both for one [Setting] of a sweep, in a
// folder from which an interrupted training resumes.
//
// Packages mixture, image and latent/alignment build the tasks. Start with [DefaultConfig].
package tuning

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Config is everything that a tuned drift depends on besides its base.
type Config struct {
	// Method is the name of an objective in [tune.Objectives], with N posterior samples for each
	// state.
	Method string `json:"method"`
	N      int    `json:"n"`
	// Reference and Floor are those of [tune.MetaTuning].
	Reference int     `json:"reference"`
	Floor     float64 `json:"floor"`
	// Network says which network is tuned.
	Network Network `json:"network"`
	// Adapter is the network of an adapter, Rank that of low-rank updates.
	Adapter nn.Network  `json:"adapter"`
	Rank    int         `json:"rank"`
	Tune    tune.Config `json:"tune"`
	// Tilted resamples the data by their weights e^{λ r}, so that training visits the states of the
	// tilted distribution. The fixed point of MFM-FT and of the plug-in methods is the same for any
	// states; that of reward-weighted regression is not, since it weights its data itself.
	Tilted bool `json:"tilted,omitempty"`
	// Class is the class for which a map with classes is tuned; nil means all of them. The others
	// change with it, since they share weights. It must be nil for a map without classes.
	Class  *int        `json:"class,omitempty"`
	Budget tune.Budget `json:"budget"`
}

// Network names the network that is tuned.
type Network string

// The networks.
const (
	Adapter Network = "adapter"  // a small network added to the base, for points
	Copy    Network = "copy"     // a copy of the base's network
	LowRank Network = "low-rank" // low-rank updates of the base's matrices
	// WarmStarted is a copy with the tilted prior: its mixture prior is refitted to the tilted
	// distribution. It is for images.
	WarmStarted Network = "tilted-copy"
)

// DefaultConfig returns MFM-FT with 8 posterior samples per state, of an adapter of three layers of
// 128 units, for 8,000 steps.
func DefaultConfig() Config {
	adapter := nn.DefaultMLP()
	adapter.Width, adapter.Depth = 128, 3
	c := Config{
		Method: "mfm-ft", N: 8, Floor: 0.05, Network: Adapter, Adapter: nn.NewNetwork(adapter),
		Rank: 8, Tune: tune.DefaultConfig(), Budget: tune.DefaultBudget(),
	}
	c.Tune.Steps, c.Tune.Optimizer.Rate = 8000, 3e-3
	c.Budget.Every = 400
	return c
}

// Objective returns the objective that the configuration names. exact is the value in closed form,
// nil if it is not known.
func (c Config) Objective(exact *steer.Exact) (tune.Objective, error) {
	entry, err := tune.Lookup(c.Method)
	if err != nil {
		return nil, err
	}
	return entry.New(tune.Options{N: c.N, Reference: c.Reference, Floor: c.Floor, Exact: exact})
}

// Validate returns an error that names the first value out of range.
func (c Config) Validate() error {
	entry, err := tune.Lookup(c.Method)
	if err != nil {
		return err
	}
	m, err := c.Objective(&steer.Exact{Value: func(t, _ *Node) *Node { return t }})
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if c.Tilted && m.Needs().Data {
		return fmt.Errorf("tilted = true with method %v, which weights its data itself: use false", m)
	}
	if c.N < entry.LeastN {
		return fmt.Errorf("method %v with n = %d: use at least %d", m, c.N, entry.LeastN)
	}
	if !slices.Contains([]Network{Adapter, Copy, LowRank, WarmStarted}, c.Network) {
		return fmt.Errorf("network %q is unknown: use %s, %s, %s or %s", c.Network, Adapter, Copy, LowRank, WarmStarted)
	}
	if c.Network == LowRank && (c.Rank < 1 || c.Rank > 1<<14) {
		return fmt.Errorf("rank = %d: must lie in [1, 16384]", c.Rank)
	}
	if err := c.Adapter.Validate(); err != nil {
		return err
	}
	if err := c.Tune.Validate(); err != nil {
		return err
	}
	return c.Budget.Validate()
}

// MapNetwork returns a network that starts from the map itself: a copy or low-rank updates. It
// returns an error for other networks.
func (c Config) MapNetwork(m *mfm.Map, weights map[string]*tensors.Tensor) (tune.Network, error) {
	switch c.Network {
	case Copy:
		return tune.Copy{Map: m, Weights: weights}, nil
	case LowRank:
		return tune.LowRank{Map: m, Weights: weights, Rank: c.Rank, Seed: c.Tune.Seed}, nil
	}
	return nil, fmt.Errorf("network %q does not apply to this map: use %s, %s or, for a mixture, %s, for images, %s",
		c.Network, Copy, LowRank, Adapter, WarmStarted)
}

// NFE returns the network evaluations of a training of the given number of steps. The tuned drift's
// own training pass, forward and backward, counts three for each state, times the evaluations of
// the base's drift unless an adapter is trained: a copy of a guided map is guided, too. Steps of
// on-policy paths count only for methods that need them.
func (c Config) NFE(objective tune.Objective, m steer.Model, steps int64) float64 {
	tuned := 1
	if c.Network != Adapter {
		tuned = max(m.DriftNFE, 1)
	}
	return float64(steps) * float64(c.Tune.Batch) * float64(objective.NFE(m)+3*tuned)
}

// EvalConfig says how a tuned drift is evaluated: the number of samples, the steps of the sampler,
// and the seed.
type EvalConfig struct {
	Samples int   `json:"samples"`
	Steps   int   `json:"steps"`
	Seed    int64 `json:"seed"`
}

// Validate returns an error if the numbers are out of range for sampling by the ODE.
func (c EvalConfig) Validate() error {
	if c.Samples < 2 || c.Samples > 1<<20 || c.Steps < 1 || c.Steps > 100_000 {
		return fmt.Errorf("evaluation with samples = %d, steps = %d: must lie in [2, 2^20] and [1, 100000]",
			c.Samples, c.Steps)
	}
	return nil
}

// ValidateSDE returns an error if the SDE cannot be solved from time start with these numbers.
func (c EvalConfig) ValidateSDE(start float64) error {
	if err := (tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: start}).Validate(); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	return nil
}
