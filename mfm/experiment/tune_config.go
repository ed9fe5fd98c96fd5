package experiment

import (
	"fmt"
	"path/filepath"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// TuneConfig is everything that a tuned drift depends on beside its base.
type TuneConfig struct {
	// Method is mfm-ft, mfm-ft-gf (without gradients of reward and map), plug-in-mfm-g (the ratio estimator), plug-in-mfm-gf (self-normalised weights), reward-weighted, adjoint or, of mixtures, plug-in-exact (the truth), with N draws a state.
	Method string `json:"method"`
	N      int    `json:"n"`
	// Reference and Floor are those of [tune.MetaTuning].
	Reference int     `json:"reference"`
	Floor     float64 `json:"floor"`
	// Network is adapter (a small network on top of the base), copy (of the base's), low-rank (updates of the base's matrices) or, of images whose map has a mixture as its prior, tilted-copy (a copy on the prior refitted to the target).
	Network string `json:"network"`
	// Adapter is the adapter's network, Rank that of low-rank updates.
	Adapter nn.MLPConfig `json:"adapter"`
	Rank    int          `json:"rank"`
	Tune    tune.Config  `json:"tune"`
	// Tilted draws the data that states are made of by their weight e^{λ r}, so that training sees the states of the target. The fixed point of MFM-FT and of the plug-ins is the same for any states; not for reward-weighted
	// regression, which weighs its data itself.
	Tilted bool        `json:"tilted,omitempty"`
	Budget tune.Budget `json:"budget"`
}

// DefaultTuneConfig is MFM-FT of an adapter of three layers of 128 units with eight draws a state, 8,000 steps.
func DefaultTuneConfig() TuneConfig {
	c := TuneConfig{Method: "mfm-ft", N: 8, Floor: 0.05, Network: "adapter", Adapter: nn.DefaultMLP(), Rank: 8, Tune: tune.DefaultConfig(), Budget: tune.DefaultBudget()}
	c.Adapter.Width, c.Adapter.Depth = 128, 3
	c.Tune.Steps, c.Tune.Optimizer.Rate = 8000, 3e-3
	c.Budget.Every = 400
	return c
}

// TuneMethod returns the method that the configuration names.
func (c TuneConfig) TuneMethod() (tune.Method, error) {
	draws := steer.Draws{N: c.N}
	switch c.Method {
	case "mfm-ft":
		return tune.MetaTuning{Draws: draws, Reference: c.Reference, Floor: c.Floor}, nil
	case "mfm-ft-gf":
		return tune.MetaTuning{Draws: draws, Reference: c.Reference, Floor: c.Floor, GradientFree: true}, nil
	case "plug-in-mfm-g":
		return tune.PlugIn{Estimator: steer.MFMG{Draws: draws}}, nil
	case "plug-in-mfm-gf":
		return tune.PlugIn{Estimator: steer.MFMGF{Draws: draws, Baseline: steer.MeanBaseline}}, nil
	case "reward-weighted":
		return tune.RewardWeighted{}, nil
	case "adjoint":
		return tune.AdjointMatching{}, nil
	}
	if c.Method == exactTuning {
		return tune.PlugIn{Estimator: steer.Exact{Value: func(t, _ *Node) *Node { return t }}}, nil // what a mixture's tuning replaces by its own
	}
	return nil, fmt.Errorf("method %q is unknown: use mfm-ft, mfm-ft-gf, plug-in-mfm-g, plug-in-mfm-gf, reward-weighted, adjoint or, of mixtures, plug-in-exact", c.Method)
}

// exactTuning is the method of a mixture that regresses on the closed form of σ²/2 ∇V: what is left of its error is the network's.
const exactTuning = "plug-in-exact"

// Validate returns an error that names the first value that makes no sense.
func (c TuneConfig) Validate() error {
	m, err := c.TuneMethod()
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if c.Tilted && m.Needs().Data {
		return fmt.Errorf("tilted with method %v: it weighs its data itself, use false", m)
	}
	if c.Method == "plug-in-mfm-gf" && c.N < 2 {
		return fmt.Errorf("method %v with n = %d: with the mean of its draws taken off one draw is nothing, use at least 2", m, c.N)
	}
	if !slices.Contains([]string{"adapter", "copy", "low-rank", "tilted-copy"}, c.Network) {
		return fmt.Errorf("network %q is unknown: use adapter, copy, low-rank or tilted-copy", c.Network)
	}
	if c.Network == "low-rank" && (c.Rank < 1 || c.Rank > 1<<14) {
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

// mapNetwork returns the configured network of those that a map itself gives: a copy of its, or low-rank updates.
func (c TuneConfig) mapNetwork(m *mfm.Map, weights map[string]*tensors.Tensor) (tune.Network, error) {
	switch c.Network {
	case "copy":
		return tune.Copy{Map: m, Weights: weights}, nil
	case "low-rank":
		return tune.LowRank{Map: m, Weights: weights, Rank: c.Rank, Seed: c.Tune.Seed}, nil
	}
	return nil, fmt.Errorf("network %q is not for this map: use copy, low-rank or, of a mixture, adapter, of images tilted-copy", c.Network)
}

// EvalConfig says on how many samples a tuned drift is judged, drawn in so many steps.
type EvalConfig struct {
	Samples int   `json:"samples"`
	Steps   int   `json:"steps"`
	Seed    int64 `json:"seed"`
}

// Validate returns an error for numbers of samples and steps that cannot be drawn by ODE and SDE from the start of the given configuration.
func (c EvalConfig) Validate(of TuneConfig) error {
	if err := (tune.PathConfig{Paths: c.Samples, Steps: c.Steps, Start: of.Tune.Noise.Start}).Validate(); err != nil {
		return fmt.Errorf("judging: %w", err)
	}
	return nil
}

// validateODE returns an error for numbers of samples and steps that cannot be drawn by the ODE alone, or of which nothing can be told.
func (c EvalConfig) validateODE() error {
	if c.Samples < 2 || c.Samples > 1<<20 || c.Steps < 1 || c.Steps > 100_000 {
		return fmt.Errorf("judging: samples = %d, steps = %d: must lie in [2, 2^20] and [1, 100000]", c.Samples, c.Steps)
	}
	return nil
}

// nfe returns the evaluations of a training of so many steps, three a row for the tuned network.
func (c TuneConfig) nfe(method tune.Method, m steer.Model, steps int64) float64 {
	return float64(steps) * float64(c.Tune.Batch) * float64(method.NFE(m)+3)
}

// keep returns the options of a training that is kept below folder under its cell's name; an empty folder keeps nothing.
func (o RunOptions) keep(folder string, cell any) (RunOptions, error) {
	if folder == "" {
		return o, nil
	}
	name, err := CellName(cell)
	o.Dir = filepath.Join(folder, "run-"+name)
	return o, err
}

// diverged reports whether a tuning came to nothing but values that are not finite.
func diverged(err error) bool {
	return only(err, func(err error) bool { return err == tune.ErrDiverged || onlyNonFinite(err) })
}
