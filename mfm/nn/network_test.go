package nn_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm/nn"
)

// linear is an architecture of a user.
type linear struct {
	Gain float64 `json:"gain"`
	Rows []int   `json:"rows"`
}

func (linear) Kind() string          { return "linear" }
func (linear) Validate() error       { return nil }
func (linear) ClassCount() int       { return 0 }
func (linear) Backbone() nn.Backbone { return nil }

func TestNetworkJSON(t *testing.T) {
	for _, a := range []nn.Architecture{nn.DefaultMLP(), nn.DefaultUNet(), linear{2, []int{1}}, &linear{Gain: 3}} {
		raw, err := json.Marshal(nn.NewNetwork(a))
		if err != nil {
			t.Fatal(err)
		}
		if _, known := nn.Architectures()[a.Kind()]; known == strings.Contains(string(raw), `"kind"`) {
			t.Errorf("%s: the kind in %s", a.Kind(), raw)
		}
		var got nn.Network
		if a.Kind() == "linear" {
			got = nn.NewNetwork(reflect.New(reflect.TypeOf(linear{})).Interface().(nn.Architecture))
			if reflect.TypeOf(a).Kind() != reflect.Pointer {
				got = nn.NewNetwork(linear{})
			}
		}
		if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got.Architecture, a) {
			t.Errorf("%s: %#v after a round trip, error %v", raw, got.Architecture, err)
		}
	}
}

// A value that is zero where the default of the kind is not is read back as zero.
func TestNetworkJSONOfZeros(t *testing.T) {
	for kind, a := range nn.Architectures() {
		zero := nn.NewNetwork(reflect.Zero(reflect.TypeOf(a)).Interface().(nn.Architecture))
		raw, err := json.Marshal(zero)
		if err != nil {
			t.Fatal(err)
		}
		var got nn.Network
		if err := json.Unmarshal(raw, &got); err != nil || fmt.Sprint(got.Architecture) != fmt.Sprint(zero.Architecture) {
			t.Errorf("%s: %s is read as %+v, error %v", kind, raw, got.Architecture, err)
		}
	}
}

func TestNetworkKeepsAbsentKeys(t *testing.T) {
	rows := []int{7}
	present := nn.NewNetwork(linear{2, rows})
	n := present
	if err := json.Unmarshal([]byte(`{"rows": [8]}`), &n); err != nil {
		t.Fatal(err)
	}
	if got := n.Architecture.(linear); got.Gain != 2 || got.Rows[0] != 8 || rows[0] != 7 {
		t.Errorf("decoded %v over %v, which is now %v", got, present.Architecture, rows)
	}
	want := nn.DefaultUNet()
	want.Blocks = 3
	if err := json.Unmarshal([]byte(`{"kind": "unet", "blocks": 3}`), &n); err != nil ||
		!reflect.DeepEqual(n.Architecture, want) {
		t.Errorf("another kind: %v, error %v", n.Architecture, err)
	}
}

func TestNetworkCompute(t *testing.T) {
	n := nn.NewNetwork(nn.DefaultMLP())
	n.Compute = "bfloat16"
	raw, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var got nn.Network
	if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, n) || got.Validate() != nil {
		t.Errorf("%s: %+v, error %v", raw, got, err)
	}
	n.Compute = "int8"
	if err := n.Validate(); err == nil || !strings.Contains(err.Error(), `"int8" is unknown`) {
		t.Errorf("error %v", err)
	}
}

func TestNetworkErrors(t *testing.T) {
	for raw, message := range map[string]string{
		`{"kind": "gru"}`:               `kind "gru" is unknown: use one of [dit mlp unet]`,
		`{"kind": 1}`:                   "kind: 1 where a string is required",
		`null`:                          "null where an object is required",
		`{"kind": "mlp", "Width": 3}`:   `Width: unknown key: did you mean width?`,
		`{"Kind": "mlp", "width": 3}`:   `Kind: did you mean "kind"?`,
		`{"width": 3, "width": 4}`:      "width: the key is repeated",
		`{"depth": 3}`:                  `kind "" is unknown`,
		`{"kind": "mlp", "blocks": 1}`:  `blocks: unknown key: use one of activation, classes, depth`,
		`{"width": 3, "channels": [1]}`: `kind "" is unknown`,
		`[]`:                            "a list where an object is required",
	} {
		var n nn.Network
		if err := json.Unmarshal([]byte(raw), &n); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: error %v, want %q", raw, err, message)
		}
	}
	if err := (nn.Network{}).Validate(); err == nil {
		t.Error("a network without architecture is valid")
	}
}

func TestNetworkCheckGuidance(t *testing.T) {
	c := nn.DefaultDiT()
	c.Guidance = []float64{2, 3}
	for _, n := range []struct {
		network nn.Architecture
		scales  []float64
		message string
	}{
		{c, []float64{3, 2}, ""}, {c, nil, ""}, {nn.DefaultMLP(), nil, ""},
		{c, []float64{3, 4}, "[2 3], not 4"}, {nn.DefaultUNet(), []float64{3}, "unet has no input"},
	} {
		err := nn.NewNetwork(n.network).CheckGuidance(n.scales)
		if (err != nil) != (n.message != "") || err != nil && !strings.Contains(err.Error(), n.message) {
			t.Errorf("%s with scales %v: error %v, want %q", n.network.Kind(), n.scales, err, n.message)
		}
	}
}
