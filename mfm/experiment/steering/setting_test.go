package steering_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/steer"
)

// The JSON of a setting, which names the file of its result, and that of the settings that a result
// repeats keep their keys in order.
func TestSettingJSON(t *testing.T) {
	threshold, class := 0.25, 3
	options := steering.Options{
		Baseline: steer.MeanBaseline, Antithetic: true, LeaveOneOut: true, Shared: true, Posterior: mfm.ODESampling,
		PosteriorSteps: 4, Resampling: steer.Multinomial, Threshold: &threshold, SNR: 0.5, Class: &class, Guidance: 2,
		GuidePosterior: true,
	}
	const repeated = `"baseline":"mean","antithetic":true,"leave_one_out":true,"shared":true,"posterior":"ode",` +
		`"posterior_steps":4,"resampling":"multinomial","threshold":0.25,"snr":0.5,"class":3,"guidance":2,"guide_posterior":true,`
	for want, v := range map[string]any{
		`{"fingerprint":"f","method":"m","n":1,"particles":2,` + repeated + `"samples":5,"seed":6,"config":{`: steering.Setting{
			Fingerprint: "f", Method: "m", N: 1, Particles: 2, Options: options, Samples: 5, Seed: 6,
		},
		`{"samples":5,"steps":7,"particles":2,"device":"cuda",` + repeated + `"config":{`: steering.RunSettings{
			Samples: 5, Steps: 7, Particles: 2, Device: "cuda", Options: options, Config: &steer.Config{},
		},
	} {
		raw, err := json.Marshal(v)
		if err != nil || !strings.HasPrefix(string(raw), want) {
			t.Errorf("%s (%v), want %s", raw, err, want)
		}
	}
}
