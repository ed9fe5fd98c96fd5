package steering

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Grid declares the runs of an experiment: each setting of Runs with each reward, or with those
// whose names the values have under the key "rewards", one or a list.
type Grid struct {
	// About says what the runs are for. It has no effect.
	About   string        `json:"about"`
	Rewards []NamedReward `json:"rewards"`
	Runs    []Values      `json:"runs"`
	// SecondEvaluator is the file of a second network that compares pictures, for a task that has one.
	SecondEvaluator string `json:"second_evaluator,omitempty"`
}

// GridRun is a setting of a grid with the index of its reward.
type GridRun struct {
	Reward  int
	Setting Setting
}

// NamedReward is a reward with the name that results refer to it by. Reward is the object that
// [reward.Parse] reads, or a string that the program that reads the grid knows, such as "paper".
type NamedReward struct {
	Name   string          `json:"name"`
	Reward json.RawMessage `json:"reward"`
	// HeldOut is a reward that the steering to this one does not use, for a task that has one.
	HeldOut json.RawMessage `json:"held_out,omitempty"`
}

// ParseGrid reads a grid. It returns an error for one without rewards or runs, for a reward without
// a name of its own, and as [config.Merge] does. [Values.Settings] checks the runs.
func ParseGrid(raw []byte) (Grid, error) {
	var g Grid
	if err := config.Merge(&g, raw); err != nil {
		return g, fmt.Errorf("grid: %w", err)
	}
	if len(g.Rewards) == 0 || len(g.Runs) == 0 {
		return g, errors.New("grid: no rewards or no runs: give at least one of each")
	}
	for i, values := range g.Runs {
		if values == nil {
			return g, fmt.Errorf("grid: runs[%d] is null: give an object of values, which may be empty", i)
		}
	}
	names := make(map[string]bool)
	for i, r := range g.Rewards {
		if r.Name == "" || names[r.Name] || r.Reward == nil {
			return g, fmt.Errorf("grid: rewards[%d]: name %q: give each reward, and a name that no other has", i, r.Name)
		}
		names[r.Name] = true
	}
	return g, nil
}

// Text returns the reward as text: its string, or its object in JSON.
func (r NamedReward) Text() string { return text(r.Reward) }

// HeldOutText returns the held-out reward as text, empty for none.
func (r NamedReward) HeldOutText() string { return text(r.HeldOut) }

func text(raw json.RawMessage) string {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name
	}
	return string(raw)
}

// Expand returns the runs of the grid in their order, those of one element of Runs for its first
// reward first. A setting occurs once for a reward; see [Values.Settings].
func (g Grid) Expand(base Setting, particles int) ([]GridRun, error) {
	all, of := make([]GridRun, 0), make([]settings, len(g.Rewards))
	for i, values := range g.Runs {
		rewards, err := g.rewardsOf(values)
		if err != nil {
			return nil, fmt.Errorf("grid: runs[%d]: %w", i, err)
		}
		values = maps.Clone(values)
		delete(values, "rewards")
		for _, reward := range rewards {
			have := len(of[reward].list)
			if err := values.add(&of[reward], base, particles); err != nil {
				return nil, fmt.Errorf("grid: runs[%d]: %w", i, err)
			}
			for _, s := range of[reward].list[have:] {
				all = append(all, GridRun{reward, s})
			}
		}
	}
	return all, nil
}

// rewardsOf returns the indices of the rewards that values name, of all rewards if they name none.
func (g Grid) rewardsOf(v Values) (indices []int, err error) {
	raw, given := v["rewards"]
	if !given {
		for i := range g.Rewards {
			indices = append(indices, i)
		}
		return indices, nil
	}
	var names []string
	var one string
	if json.Unmarshal(raw, &one) == nil {
		names = []string{one}
	} else if err := json.Unmarshal(raw, &names); err != nil || len(names) == 0 {
		return nil, fmt.Errorf("rewards = %.40q: give the name of a reward, or a list of names", raw)
	}
	for _, name := range names {
		i := slices.IndexFunc(g.Rewards, func(r NamedReward) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("rewards: %q is no name of a reward of the grid", name)
		}
		indices = append(indices, i)
	}
	return indices, nil
}

// Values are values of settings, by their keys in JSON: those of [Setting] other than fingerprint,
// seed and config, those of [steer.Config], and "seeds", the number of seeds from 0. Each is one
// value, or a list of values to combine with all others.
type Values map[string]json.RawMessage

// mostSettings bounds the number of settings of a grid.
const mostSettings = 1 << 14

// Settings returns all combinations of the values, instead of those of base, with all seeds: the
// method varies slowest, then dynamics, n and the others in the order of their names, then the
// seed.
//
// Options that the method of a setting does not read are set to their defaults, so that equal runs
// are equal settings, of which there is one. A particle filter has the dynamics [steer.SDE] if they
// are among the values, and without a number of particles the given one; 0 means all samples. A
// search has the power and the start of [steer.SearchConfig] unless they are among the values.
//
// Settings returns an error for an unknown key or method, for a value of another type, and for more
// than 16,384 settings. It does not check ranges, see [Setting.Check].
func (v Values) Settings(base Setting, particles int) ([]Setting, error) {
	all := new(settings)
	err := v.add(all, base, particles)
	return all.list, err
}

// settings is a list of settings without repetitions.
type settings struct {
	list []Setting
	seen map[string]bool // their JSON
}

// add adds a setting unless the list has it.
func (l *settings) add(s Setting) error {
	raw, err := json.Marshal(s)
	if err != nil || l.seen[string(raw)] {
		return err
	}
	if len(l.list) == mostSettings {
		return fmt.Errorf("more than %d settings: use fewer values", mostSettings)
	}
	if l.seen == nil {
		l.seen = make(map[string]bool)
	}
	l.seen[string(raw)], l.list = true, append(l.list, s)
	return nil
}

// add adds the settings of the values to a list.
func (v Values) add(to *settings, base Setting, particles int) error {
	lists, seeds, err := v.lists()
	if err != nil {
		return err
	}
	var dynamics []steer.Dynamics
	for _, raw := range lists["dynamics"] {
		var name steer.Dynamics
		_ = json.Unmarshal(raw, &name) // an error is that of Set below
		dynamics = append(dynamics, name)
	}
	if dynamics == nil {
		dynamics = []steer.Dynamics{base.Config.Dynamics}
	}
	combined := []Setting{base}
	for _, key := range slices.SortedFunc(maps.Keys(lists), compareKeys) {
		var longer []Setting
		for _, s := range combined {
			for _, value := range lists[key] {
				if err := config.Set(&s, path(key), string(value)); err != nil {
					return err
				}
				longer = append(longer, s)
			}
		}
		combined = longer
	}
	search := steer.SearchConfig()
	for _, s := range combined {
		if entry, err := steer.Lookup(s.Method); err == nil && entry.Search {
			if _, given := v["power"]; !given {
				s.Config.Power = search.Power
			}
			if _, given := v["start"]; !given {
				s.Config.Start = search.Start
			}
		}
		if s, err = s.restricted(dynamics, particles); err != nil {
			return err
		}
		for seed := range seeds {
			s.Seed = int64(seed)
			if err := to.add(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// lists returns the lists of values by their keys, and the number of seeds.
func (v Values) lists() (lists map[string][]json.RawMessage, seeds int, err error) {
	lists, seeds = make(map[string][]json.RawMessage), 1
	product := 1
	for key, raw := range v {
		switch key {
		case "seeds":
			if err := json.Unmarshal(raw, &seeds); err != nil || seeds < 1 || seeds > 10_000 {
				return nil, 0, fmt.Errorf("seeds = %s: give a number in [1, 10000]", raw)
			}
			continue
		case "fingerprint", "seed", "config":
			return nil, 0, fmt.Errorf("%s: this key is not possible here", key)
		}
		list := []json.RawMessage{raw}
		if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '[' {
			list = nil // else its element, which is raw, is overwritten
			if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
				return nil, 0, fmt.Errorf("%s = %.40q: give a value, or a list of values", key, raw)
			}
		}
		if product *= len(list); product > mostSettings {
			return nil, 0, fmt.Errorf("more than %d settings: use fewer values", mostSettings)
		}
		lists[key] = list
	}
	return lists, seeds, nil
}

// compareKeys orders method, dynamics and n before other keys.
func compareKeys(a, b string) int {
	first := []string{"n", "dynamics", "method"} // in the reverse order
	return cmp.Or(slices.Index(first, b)-slices.Index(first, a), strings.Compare(a, b))
}

// path returns the path of a key in the JSON of a setting.
func path(key string) string {
	var keys map[string]any
	raw, _ := json.Marshal(steer.DefaultConfig()) // numbers and strings always encode
	_ = json.Unmarshal(raw, &keys)
	if _, found := keys[key]; found {
		return "config." + key
	}
	return key
}

// restricted returns the setting with defaults for the options that its method does not read. The
// arguments are those of [Values.Settings].
func (s Setting) restricted(dynamics []steer.Dynamics, particles int) (Setting, error) {
	entry, err := steer.Lookup(s.Method)
	if err != nil {
		return s, err
	}
	if s.Particles < 0 || s.PosteriorSteps < 0 {
		return s, fmt.Errorf("particles = %d, posterior_steps = %d: must not be negative", s.Particles, s.PosteriorSteps)
	}
	if entry.AnyDynamics {
		s.Config.Dynamics = dynamics[0]
	}
	if entry.OneStep { // of the configuration it reads λ alone
		c := steer.DefaultConfig()
		c.Steps, c.Lambda, c.Dynamics = 1, s.Config.Lambda, s.Config.Dynamics
		s.Config = c
	}
	if (entry.Search || entry.OneStep) && !s.GuidePosterior { // they use no drift
		s.Guidance = 0
	}
	switch {
	case entry.Filter:
		if slices.Contains(dynamics, steer.SDE) {
			s.Config.Dynamics = steer.SDE
		}
		s.Particles = cmp.Or(s.Particles, particles, s.Samples)
	case entry.Search:
		s.Particles, s.Resampling = max(s.Particles, 1), ""
	default:
		s.Particles, s.Resampling = 0, ""
	}
	if !entry.Filter || s.Threshold != nil && *s.Threshold == 0.5 {
		s.Threshold = nil
	}
	if !entry.N {
		s.N = 1
	}
	s.Pool = s.Pool && s.Method == Unsteered
	if !entry.Baseline {
		s.Baseline = ""
	}
	if !entry.SNR {
		s.SNR = 0
	}
	if !entry.PosteriorSamples {
		s.Antithetic, s.LeaveOneOut, s.Shared = false, false, false
		s.GuidePosterior = s.GuidePosterior && (entry.Search || entry.OneStep || entry.FlowMap)
	}
	// One step of the map is the default, without a name.
	if !entry.PosteriorSamples || s.PosteriorSteps <= 1 && (s.Posterior == "" || s.Posterior == mfm.MapSampling) {
		s.Posterior, s.PosteriorSteps = "", 0
	}
	m, err := s.SteerMethod(new(steer.Exact))
	if err != nil {
		return s, err
	}
	guided, is := m.(steer.Guided)
	_, controlled := m.(steer.FlowMapGuidance)
	if controlled {
		c := steer.DefaultConfig()
		s.Config.Solver, s.Config.Noise, s.Config.Cap = c.Solver, c.Noise, c.Cap
	}
	// A filter refuses renormalization.
	if !entry.Filter && !controlled && (!is || guided.Estimator == nil) {
		s.Config.Renormalization = steer.NoRenormalization
	}
	if s.Config.Renormalization == steer.NoRenormalization {
		s.Config.Ratio = steer.DefaultConfig().Ratio
	}
	return s, nil
}
