package steering_test

import (
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

// FuzzParseGrid checks that any text gives an error, or a grid that is the same after writing and
// reading again, whose settings are read or refused.
func FuzzParseGrid(f *testing.F) {
	const rewards = `{"about": "x", "rewards": [{"name": "a", "reward": "paper"}, {"name": "b", "reward": {"kind": "<"}}], "runs": `
	for _, text := range []string{``, `null`, `{}`, `[]`, rewards + `[]}`, rewards + `[{}]}`, rewards + `[null]}`,
		rewards + `[{"method": ["mfm-g", "smc-dps"], "dynamics": ["ode", "sde"], "lambda": [1, 2e0], "seeds": 2}]}`,
		rewards + `[{"method": "dps", "rewards": ["b", "a"], "ratio": [], "n": [1, "x"], "seeds": 1e99, "class": null, "shared": true}]}`,
		rewards + `[{"method": "dps", "dynamics": [1, 2, "sde"], "posterior": "ode", "threshold": 0.5, "luck": {}}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var g steering.Grid
		err := fuzztest.Read(t, len(raw), 512, func() (err error) {
			g, err = steering.ParseGrid(raw)
			return err
		})
		if err != nil {
			return
		}
		fuzztest.RoundTrip(t, g, func(raw []byte) (any, error) { return steering.ParseGrid(raw) })
		base := gridBase()
		base.Method = "mfm-gf"
		if all, err := g.Expand(base, 0); err == nil && len(all) == 0 {
			t.Errorf("no settings and no error of %s", raw)
		}
	})
}
