package nn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gomlx/compute/dtypes"
)

// Architecture is the configuration of a backbone. [MLPConfig] and [UNetConfig] are architectures.
// A user's own is a struct with these methods that encoding/json can encode and decode.
type Architecture interface {
	// Kind identifies the architecture in JSON, such as "mlp".
	Kind() string
	// Validate returns an error that names the first invalid field.
	Validate() error
	// Backbone returns the network. It panics, when it builds a graph, with Validate's error.
	Backbone() Backbone
	// ClassCount returns the number of classes that the network is conditioned on, 0 for none.
	ClassCount() int
}

// Architectures returns the default configuration of each architecture of this package, by its
// kind.
func Architectures() map[string]Architecture {
	all := make(map[string]Architecture)
	for _, a := range []Architecture{DefaultMLP(), DefaultUNet()} {
		all[a.Kind()] = a
	}
	return all
}

// Network is an architecture as a field of a configuration. In JSON it is the object of the
// architecture with one key more, "kind". [MLPConfig] and [UNetConfig] are written without it and
// recognized by their keys, so that hashes of configurations that are older than kinds stay valid.
type Network struct {
	Architecture
	// Compute is the type that the network computes in, see [Computing]; "" means that of its
	// inputs. In JSON it is the key "compute".
	Compute ComputeType
}

// ComputeType is the name of a type that a network computes in.
type ComputeType string

// The types.
const (
	BFloat16 ComputeType = "bfloat16"
	Float32  ComputeType = "float32"
)

// computeTypes returns the types by their names.
func computeTypes() map[ComputeType]dtypes.DType {
	return map[ComputeType]dtypes.DType{BFloat16: dtypes.BFloat16, Float32: dtypes.Float32}
}

// NewNetwork returns a network of the architecture a.
func NewNetwork(a Architecture) Network { return Network{Architecture: a} }

// Validate returns the architecture's error, or an error if there is none.
func (n Network) Validate() error {
	if n.Architecture == nil {
		return errors.New("network: no architecture: set one, such as nn.DefaultMLP()")
	}
	if _, known := computeTypes()[n.Compute]; n.Compute != "" && !known {
		return fmt.Errorf("network: compute = %q is unknown: use one of %v", n.Compute,
			slices.Sorted(maps.Keys(computeTypes())))
	}
	return n.Architecture.Validate()
}

// CheckImage returns an error unless the network, which is valid, takes images of this size. An
// architecture without a method of this name takes all.
func (n Network) CheckImage(height, width int) error {
	if a, ok := n.Architecture.(interface{ CheckImage(height, width int) error }); ok {
		return a.CheckImage(height, width)
	}
	return nil
}

// Backbone returns the network. It panics, when it builds a graph, with Validate's error.
func (n Network) Backbone() Backbone {
	if dtype, known := computeTypes()[n.Compute]; known {
		return Computing(dtype, n.Architecture.Backbone())
	}
	return n.Architecture.Backbone()
}

// MarshalJSON implements [json.Marshaler].
func (n Network) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(n.Architecture)
	if err != nil || n.Architecture == nil {
		return raw, err
	}
	if n.Compute != "" {
		comma := ","
		if len(raw) <= 2 {
			comma = ""
		}
		raw = fmt.Appendf(raw[:len(raw)-1:len(raw)-1], `%s"compute":%q}`, comma, n.Compute)
	}
	if recognized(raw) == n.Kind() {
		return raw, nil
	}
	if len(raw) < 2 || raw[0] != '{' {
		return nil, fmt.Errorf("network %s: its configuration is not a JSON object", n.Kind())
	}
	head := fmt.Appendf(nil, `{"kind":%q`, n.Kind())
	if len(raw) > 2 {
		head = append(head, ',')
	}
	return append(head, raw[1:]...), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. Keys that are absent keep the values of the present
// architecture, if its kind is named or none, else the defaults of the kind that is named. An
// unknown kind and unknown keys are errors.
func (n *Network) UnmarshalJSON(raw []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		return err
	}
	known := Architectures()
	to, kind := n.Architecture, ""
	if text, ok := keys["kind"]; ok {
		if err := json.Unmarshal(text, &kind); err != nil {
			return fmt.Errorf("network: kind: %w", err)
		}
	} else if to == nil || known[to.Kind()] != nil {
		kind = recognized(raw)
	}
	if kind != "" && (to == nil || to.Kind() != kind) {
		to = known[kind]
	}
	if to == nil {
		return fmt.Errorf("network: kind %q is unknown: use one of %v", kind, slices.Sorted(maps.Keys(known)))
	}
	compute := n.Compute
	if text, ok := keys["compute"]; ok {
		if err := json.Unmarshal(text, &compute); err != nil {
			return fmt.Errorf("network: compute: %w", err)
		}
	}
	delete(keys, "compute")
	delete(keys, "kind")
	rest, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	if to, err = decodeInto(to, rest); err == nil {
		n.Architecture, n.Compute = to, compute
	}
	return err
}

// recognized returns the kind of an object that has a key of an MLP or a UNet alone, or "".
func recognized(raw []byte) string {
	var keys struct{ Width, Channels any }
	switch err := json.Unmarshal(raw, &keys); {
	case err != nil:
		return ""
	case keys.Width != nil && keys.Channels == nil:
		return MLPConfig{}.Kind()
	case keys.Channels != nil && keys.Width == nil:
		return UNetConfig{}.Kind()
	}
	return ""
}

// decodeInto decodes raw over a deep copy of the configuration a, which may be a struct or a
// pointer.
func decodeInto(a Architecture, raw []byte) (Architecture, error) {
	present, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	kind, pointer := reflect.TypeOf(a), false
	if kind.Kind() == reflect.Pointer {
		kind, pointer = kind.Elem(), true
	}
	copied := reflect.New(kind)
	for _, layer := range [][]byte{present, raw} {
		d := json.NewDecoder(bytes.NewReader(layer))
		d.DisallowUnknownFields()
		if err := d.Decode(copied.Interface()); err != nil {
			return nil, err
		}
	}
	if !pointer {
		copied = copied.Elem()
	}
	return copied.Interface().(Architecture), nil
}
