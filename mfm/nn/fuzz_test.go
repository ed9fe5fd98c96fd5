package nn_test

import (
	"encoding/json"
	"testing"

	"github.com/gomfm/gomfm/internal/fuzztest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// FuzzNetwork checks that any text gives an error, or a network that is the same after writing and
// reading again.
func FuzzNetwork(f *testing.F) {
	for _, a := range nn.Architectures() {
		raw, err := json.Marshal(nn.NewNetwork(a))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, text := range []string{`{"kind": "mlp"}`, `{"kind": "unet", "blocks": 3, "compute": "bfloat16"}`,
		`{"width": 8, "compute": "float16"}`, `{"kind": "mlp", "Width": 3, "width": 4}`, `{"kind": null}`,
		`null`, `[]`, `{`,
		`{"width": 1, "channels": 2}`, `{"kind": "x\n"}`, `{"channels": [], "classes": -1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var n nn.Network
		if fuzztest.Read(t, len(raw), 256, func() error { return json.Unmarshal(raw, &n) }) != nil {
			return
		}
		if n.Architecture == nil { // of null
			return
		}
		_ = n.Validate()
		fuzztest.RoundTrip(t, n, func(raw []byte) (any, error) {
			var again nn.Network
			err := json.Unmarshal(raw, &again)
			if again.Compute != n.Compute {
				t.Errorf("%s computes in %q, want %q", raw, again.Compute, n.Compute)
			}
			return &again, err
		})
	})
}
