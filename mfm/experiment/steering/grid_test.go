package steering_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/steer"
)

// gridBase is a setting to combine values with.
func gridBase() steering.Setting {
	return steering.Setting{
		Samples: 8, N: 1, Config: steer.DefaultConfig(), Options: steering.Options{Baseline: steer.MeanBaseline},
	}
}

// expand returns the settings of the runs of a grid, whatever their rewards.
func expand(g steering.Grid, base steering.Setting, particles int) (all []steering.Setting, err error) {
	runs, err := g.Expand(base, particles)
	for _, r := range runs {
		all = append(all, r.Setting)
	}
	return all, err
}

// describe writes what the tests vary.
func describe(all []steering.Setting) (lines []string) {
	for _, s := range all {
		lines = append(lines, fmt.Sprintf("%s %s n=%d λ=%g %s %g particles=%d seed=%d", s.Method, s.Config.Dynamics, s.N,
			s.Config.Lambda, s.Config.Renormalization, s.Config.Ratio, s.Particles, s.Seed))
	}
	return lines
}

// A grid is the product of its values in a fixed order, for each reward or for those that a run
// names. Values that a method does not read add no settings, and neither do runs that are there
// already.
func TestGrid(t *testing.T) {
	g, err := steering.ParseGrid([]byte(`{
		"second_evaluator": "lite4.whl",
		"rewards": [{"name": "near", "reward": "paper", "held_out": {"kind": "symmetry"}},
			{"name": "far", "reward": {"kind": "quadratic"}}],
		"runs": [
			{"renormalization": ["none", "clip"], "ratio": [1, 2], "lambda": 3, "method": ["unsteered", "mfm-g"], "seeds": 2,
				"rewards": "near"},
			{"method": "mfm-g", "ratio": 2, "renormalization": "clip", "lambda": 3, "rewards": ["far", "near"]},
			{"method": "dps"},
			{"method": ["smc-dps", "dps"], "dynamics": ["ode", "sde"], "n": [4, 16], "rewards": ["near"]}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := g.Rewards[0].Text(), g.Rewards[1].Text(); a != "paper" || b != `{"kind": "quadratic"}` {
		t.Errorf("rewards %q and %q", a, b)
	}
	if a, b := g.Rewards[0].HeldOutText(), g.Rewards[1].HeldOutText(); a != `{"kind": "symmetry"}` || b != "" ||
		g.SecondEvaluator != "lite4.whl" {
		t.Errorf("held-out rewards %q and %q, second evaluator %q", a, b, g.SecondEvaluator)
	}
	runs, err := g.Expand(gridBase(), 4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range runs {
		got = append(got, g.Rewards[r.Reward].Name+": "+describe([]steering.Setting{r.Setting})[0])
	}
	want := []string{
		"near: unsteered ode n=1 λ=3 none 1 particles=0 seed=0", "near: unsteered ode n=1 λ=3 none 1 particles=0 seed=1",
		"near: mfm-g ode n=1 λ=3 none 1 particles=0 seed=0", "near: mfm-g ode n=1 λ=3 none 1 particles=0 seed=1",
		"near: mfm-g ode n=1 λ=3 clip 1 particles=0 seed=0", "near: mfm-g ode n=1 λ=3 clip 1 particles=0 seed=1",
		"near: mfm-g ode n=1 λ=3 clip 2 particles=0 seed=0", "near: mfm-g ode n=1 λ=3 clip 2 particles=0 seed=1",
		"far: mfm-g ode n=1 λ=3 clip 2 particles=0 seed=0",
		"near: dps ode n=1 λ=1 none 1 particles=0 seed=0", "far: dps ode n=1 λ=1 none 1 particles=0 seed=0",
		"near: smc-dps sde n=1 λ=1 none 1 particles=4 seed=0", "near: dps sde n=1 λ=1 none 1 particles=0 seed=0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("settings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Options that no method of a setting reads are dropped, those that it reads stay.
func TestGridOptions(t *testing.T) {
	settings := func(text string) []steering.Setting {
		t.Helper()
		var v steering.Values
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		all, err := v.Settings(gridBase(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := settings(`{"method": ["mfm-gf", "best-of-n", "smc-mfm-gf", "search-greedy-ddpm"], "n": 2, "shared": true,
		"posterior_steps": 3, "threshold": 0.25, "resampling": "multinomial", "baseline": "denoiser", "class": 1,
		"guidance": 2, "pool": true, "steps": 7, "power": 2, "dynamics": ["sde", "ode"], "renormalization": "rescale", "ratio": 0.5}`)
	if n := len(all); n != 6 {
		t.Fatalf("%d settings, want 6: %q", n, describe(all))
	}
	guided, best, filter, search := all[0], all[2], all[4], all[5]
	for _, s := range all {
		if s.Pool || s.Config.Steps != 7 || s.Config.Power != 2 || s.N != 2 || *s.Class != 1 {
			t.Errorf("setting %+v lacks values of the grid", s)
		}
	}
	if !guided.Shared || guided.PosteriorSteps != 3 || guided.Threshold != nil || guided.Resampling != "" ||
		guided.Baseline != steer.DenoiserBaseline || guided.Config.Ratio != 0.5 || guided.Guidance != 2 {
		t.Errorf("guidance has %+v", guided)
	}
	if best.Shared || best.PosteriorSteps != 0 || best.Baseline != "" || best.Config.Ratio != 1 ||
		best.Config.Renormalization != steer.NoRenormalization {
		t.Errorf("Best-of-N has %+v", best)
	}
	if *filter.Threshold != 0.25 || filter.Resampling != steer.Multinomial || filter.Particles != 8 ||
		filter.Config.Dynamics != steer.SDE {
		t.Errorf("the filter has %+v", filter)
	}
	if search.Particles != 1 || search.Guidance != 0 || search.Config.Dynamics != steer.SDE || search.Shared {
		t.Errorf("the search has %+v", search)
	}
}

// The declared grids have settings that can be run, each once.
func TestDeclaredGrids(t *testing.T) {
	for name, want := range map[string]int{"gmm": 4 * 303, "mnist": 6*67 + 72} {
		raw, err := os.ReadFile("../../../figures/grids/when_steering_pays_" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		g, err := steering.ParseGrid(raw)
		if err != nil {
			t.Fatal(err)
		}
		all, err := expand(g, gridBase(), 0)
		if err != nil || len(all) != want {
			t.Errorf("%s: %d settings, want %d (%v)", name, len(all), want, err)
		}
		exact := &steer.Exact{Value: func(t, _ *Node) *Node { return t }}
		for _, s := range all {
			if err := s.Check(exact); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestGridRefuses(t *testing.T) {
	const rewards = `{"rewards": [{"name": "a", "reward": "paper"}], "runs": `
	for text, want := range map[string]string{
		`{`:                               "grid: ",
		`{"runs": [{}]}`:                  "no rewards or no runs",
		rewards + `[]}`:                   "no rewards or no runs",
		rewards + `[{}], "luck": 1}`:      "unknown key",
		rewards + `[{"method": "luck"}]}`: `runs[0]: method "luck" is unknown`,
		rewards + `[{}, {"method": "dps", "lambda": "much"}]}`:                                    `runs[1]: config.lambda: "much" where a number`,
		rewards + `[{"method": "dps", "colour": 1}]}`:                                             "colour: unknown key",
		rewards + `[{"method": "dps", "seed": 1}]}`:                                               "seed: this key is not possible",
		rewards + `[{"method": "dps", "config": {}}]}`:                                            "config: this key is not possible",
		rewards + `[{"method": "dps", "seeds": 0}]}`:                                              "seeds = 0: give a number",
		rewards + `[{"method": "dps", "seeds": [1, 2]}]}`:                                         "seeds = [1, 2]: give a number",
		rewards + `[{"method": "dps", "rewards": "b"}]}`:                                          `runs[0]: rewards: "b" is no name`,
		rewards + `[{"method": "dps", "rewards": []}]}`:                                           "rewards = \"[]\": give the name",
		rewards + `[{"method": []}]}`:                                                             "method = \"[]\": give a value",
		rewards + `[{"method": "dps", "dynamics": [1, 2, "sde"]}]}`:                               "config.dynamics: 1 where a string",
		rewards + `[{"method": "dps", "particles": -1}]}`:                                         "particles = -1",
		rewards + `[{"method": "dps", "seeds": 9999, "lambda": [1,2]}]}`:                          "more than 16384 settings",
		`{"rewards": [{"name": "a", "reward": "x"}, {"name": "a", "reward": "y"}], "runs": [{}]}`: `rewards[1]: name "a"`,
		`{"rewards": [{"reward": "x"}], "runs": [{}]}`:                                            `rewards[0]: name ""`,
		`{"rewards": [{"name": "a"}], "runs": [{}]}`:                                              `rewards[0]: name "a"`,
	} {
		g, err := steering.ParseGrid([]byte(text))
		if err == nil {
			base := gridBase()
			base.Method = "dps"
			_, err = g.Expand(base, 0)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	long := `"lambda": [` + strings.Repeat("1, ", 200) + `1], "ratio": [` + strings.Repeat("1, ", 200) + "1]"
	g, err := steering.ParseGrid([]byte(rewards + `[{"method": "dps", ` + long + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Expand(gridBase(), 0); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a product of 40,401 values: error %v", err)
	}
}

// Unsteered samples alone are a pool.
func TestGridPool(t *testing.T) {
	values := steering.Values{"method": json.RawMessage(`["unsteered", "dps"]`), "pool": json.RawMessage("true")}
	all, err := values.Settings(gridBase(), 0)
	if err != nil || len(all) != 2 || !all[0].Pool || all[1].Pool {
		t.Errorf("settings %+v (%v), want a pool and none", all, err)
	}
	s := gridBase()
	s.Method, s.Pool = "dps", true
	if err := s.Check(nil); err == nil || !strings.Contains(err.Error(), "unsteered") {
		t.Errorf("a pool by DPS: error %v", err)
	}
}

// A search starts from the paper's time grid, other methods from the base, unless the values name
// power and start. Methods with dynamics and a number of steps of their own are one setting.
func TestGridDefaults(t *testing.T) {
	settings := func(values string) []steering.Setting {
		t.Helper()
		var v steering.Values
		if err := json.Unmarshal([]byte(values), &v); err != nil {
			t.Fatal(err)
		}
		s, err := v.Settings(gridBase(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for values, want := range map[string][2]float64{
		`{"method": "search-max-overall-renoise"}`:                            {2.5, 1e-5},
		`{"method": "search-max-overall-renoise", "power": 1, "start": 0.01}`: {1, 0.01},
		`{"method": "mfm-g"}`: {1, 0.01},
	} {
		if s := settings(values); len(s) != 1 || s[0].Config.Power != want[0] || s[0].Config.Start != want[1] {
			t.Errorf("%s: %+v, want power and start %v", values, s, want)
		}
	}
	one := settings(`{"method": "best-of-n-one-step", "dynamics": ["ode", "sde"], "steps": [10, 20], "snr": 3}`)
	if len(one) != 1 || one[0].Config.Steps != 1 || one[0].SNR != 0 {
		t.Errorf("one-step samples have the settings %+v", one)
	}
	rescaled := settings(`{"method": ["fmrg-j", "weighted-diamond"], "renormalization": "rescale", "ratio": 0.5, "snr": 3}`)
	if len(rescaled) != 2 || rescaled[0].Config.Ratio != 0.5 || rescaled[1].Config.Ratio != 0.5 || rescaled[1].SNR != 3 {
		t.Errorf("rescaled guidance has the settings %+v", rescaled)
	}
}

// Options that a method does not read make no further runs.
func TestGridIgnoredOptions(t *testing.T) {
	for method, key := range map[string]string{"best-of-n-one-step": "start", "fmrg-e": "noise"} {
		values := steering.Values{
			"method": json.RawMessage(`"` + method + `"`), key: json.RawMessage("[0.01, 0.02]"), "lambda": json.RawMessage("[1, 2]"),
		}
		base := steering.Setting{N: 1, Samples: 4, Config: steer.DefaultConfig()}
		if all, err := values.Settings(base, 0); err != nil || len(all) != 2 {
			t.Errorf("%s by two values of %s and of lambda: %d settings, want 2 (%v)", method, key, len(all), err)
		}
	}
}
