package experiment

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteerCell is one steered run: all that its result depends on.
type SteerCell struct {
	// Problem is [Steering].Problem, which tells law, map and reward.
	Problem string `json:"problem"`
	// Method is unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf, smc-exact, search-greedy-renoise, search-greedy-ddpm, search-softmax-renoise or search-softmax-ddpm.
	Method string `json:"method"`
	// N is the number of draws of an estimator or a search, or of samples to choose from.
	N int `json:"n"`
	// Particles of a filter's set, or of a search.
	Particles int `json:"particles,omitempty"`
	// Baseline of mfm-gf: mean or denoiser.
	Baseline steer.Baseline `json:"baseline,omitempty"`
	// Antithetic, LeaveOneOut and Shared are options of an estimator's draws, see [steer.Draws].
	Antithetic  bool `json:"antithetic,omitempty"`
	LeaveOneOut bool `json:"leave_one_out,omitempty"`
	Shared      bool `json:"shared,omitempty"`
	// Posterior and PosteriorSteps say how a map draws the posterior samples of an estimate: map, in one step where nothing else is said, or ode, in Heun's steps of its diagonal, as many as PosteriorSteps, at least 2.
	Posterior      mfm.Method `json:"posterior,omitempty"`
	PosteriorSteps int        `json:"posterior_steps,omitempty"`
	// Resampling and Threshold of a filter, see [steer.SMC]: systematic and 0.5 where they are not set.
	Resampling steer.Resampling `json:"resampling,omitempty"`
	Threshold  *float64         `json:"threshold,omitempty"`
	Samples    int              `json:"samples"`
	Seed       int64            `json:"seed"`
	Config     steer.Config     `json:"config"`
}

// RunSettings is what a row tells of its cell beside what it is named by.
type RunSettings struct {
	Samples   int `json:"samples"`
	Steps     int `json:"steps"`
	Particles int `json:"particles,omitempty"` // of a filter's set, or of a search
	// Device is cuda where the run was on a GPU. Its microbatches are larger there, so that the same seed gives other samples than on a CPU.
	Device string `json:"device,omitempty"`
	// Unusual are the other settings that are not the defaults, as "name=value", separated by spaces.
	Unusual string `json:"unusual,omitempty"`
}

// deviceOf is what a row says of the device.
func deviceOf(b compute.Backend) string {
	if backend.GPU(b) {
		return "cuda"
	}
	return ""
}

// settings returns what a row tells of the cell, and of the device.
func (c SteerCell) settings(b compute.Backend) RunSettings {
	out := RunSettings{Samples: c.Samples, Steps: c.Config.Steps, Particles: c.Particles, Device: deviceOf(b)}
	var unusual []string
	value := func(of any) map[string]any {
		var m map[string]any
		raw, _ := json.Marshal(of) // numbers and strings always encode
		_ = json.Unmarshal(raw, &m)
		return m
	}
	usual := value(steer.DefaultConfig())
	for name, v := range value(c.Config) {
		if v != usual[name] && name != "steps" && name != "dynamics" {
			unusual = append(unusual, fmt.Sprintf("%s=%v", name, v))
		}
	}
	for name, v := range value(c) {
		if slices.Contains([]string{"antithetic", "leave_one_out", "shared", "posterior", "posterior_steps", "resampling", "threshold"}, name) || name == "baseline" && v != string(steer.MeanBaseline) {
			unusual = append(unusual, fmt.Sprintf("%s=%v", name, v))
		}
	}
	slices.Sort(unusual)
	out.Unusual = strings.Join(unusual, " ")
	return out
}

// drawModel returns the model of a map whose posterior samples are drawn as the cell says; usual is that of one step.
func (c SteerCell) drawModel(usual steer.Model, m *mfm.Map, scope *model.Scope) (steer.Model, error) {
	if c.Posterior == "" && c.PosteriorSteps == 0 {
		return usual, nil
	}
	if m == nil {
		return steer.Model{}, fmt.Errorf("posterior samples by %q in %d steps: those of a mixture come from its closed form, give the checkpoint of a map", c.Posterior, c.PosteriorSteps)
	}
	draws := mfm.DefaultSamplerConfig()
	draws.Method, draws.Steps = cmp.Or(c.Posterior, mfm.MapMethod), cmp.Or(c.PosteriorSteps, 1)
	return steer.FromMap(m, scope, draws)
}

// SteerMethod returns the method that a cell names. exact is the oracle's value, nil where there is none.
func (c SteerCell) SteerMethod(exact *steer.Exact) (steer.Method, error) {
	draws := steer.Draws{N: c.N, Antithetic: c.Antithetic, Shared: c.Shared, LeaveOneOut: c.LeaveOneOut}
	baseline := c.Baseline
	if baseline == "" {
		baseline = steer.MeanBaseline
	}
	estimators := map[string]steer.Estimator{"unsteered": nil, "mfm-g": steer.MFMG{Draws: draws}, "mfm-gf": steer.MFMGF{Draws: draws, Baseline: baseline}, "dps": steer.DPS{}}
	if exact != nil {
		estimators["exact"] = *exact
	}
	if e, ok := estimators[c.Method]; ok {
		return steer.Guided{Config: c.Config, Estimator: e}, nil
	}
	for name, twist := range estimators {
		if twist != nil && c.Method == "smc-"+name {
			filter := steer.SMC{Config: c.Config, Particles: c.Particles, Twist: twist, Resampling: cmp.Or(c.Resampling, steer.Systematic), Threshold: 0.5}
			if c.Threshold != nil {
				filter.Threshold = *c.Threshold
			}
			return filter, nil
		}
	}
	for _, selection := range []steer.Selection{steer.Greedy, steer.Pooled} {
		for _, transition := range []steer.Transition{steer.Renoise, steer.Keep} {
			if s := (steer.Search{Config: c.Config, Particles: max(c.Particles, 1), N: c.N, Selection: selection, Transition: transition}); s.String() == c.Method {
				return s, nil
			}
		}
	}
	if c.Method == "best-of-n" {
		return steer.BestOf{Config: c.Config, N: c.N}, nil
	}
	return nil, fmt.Errorf("method %q is unknown: use unsteered, exact, mfm-g, mfm-gf, dps, best-of-n, smc-dps, smc-mfm-g, smc-mfm-gf, smc-exact or search-greedy|softmax-renoise|ddpm", c.Method)
}

// check returns an error that says why the cell cannot be run.
func (c SteerCell) check(exact *steer.Exact) error {
	if c.Config.NoiseSchedule != nil {
		return fmt.Errorf("method %s: a cell is named by its JSON, in which a noise schedule is not: use package steer for one", c.Method)
	}
	m, err := c.SteerMethod(exact)
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if k := m.Together(); c.Samples < 2 || c.Samples%k != 0 {
		return fmt.Errorf("%v: %d samples: give at least 2, and a multiple of its %d particles", m, c.Samples, k)
	}
	return nil
}

// warnings returns what a result says of itself.
func warnings(r *steer.Result, n int) []string {
	out := r.Series.Warnings(steer.DefaultThresholds(), n)
	if n, first := r.Bad(); n > 0 {
		out = append(out, fmt.Sprintf("the reward of %d samples is NaN or +Inf, of sample %d first", n, first))
	}
	return out
}

// hashProblem returns a hash of what describes a problem, and of its weights.
func hashProblem(store *model.Store, spec any) (string, error) {
	h := sha256.New()
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	h.Write(raw)
	values := make(checkpoint.Tensors)
	for v := range store.IterVariables() {
		if values[v.Path()], err = v.Value(); err != nil {
			return "", err
		}
	}
	if err := addTensors(h, values); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// hashTensors returns a hash of tensors by name.
func hashTensors(values checkpoint.Tensors) (string, error) {
	h := sha256.New()
	if err := addTensors(h, values); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

func addTensors(h hash.Hash, values checkpoint.Tensors) error {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		h.Write([]byte(path))
		if err := values[path].ConstBytes(func(data []byte) { h.Write(data) }); err != nil {
			return err
		}
	}
	return nil
}
