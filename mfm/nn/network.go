package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

// Architecture is the configuration of a backbone. [MLPConfig], [UNetConfig] and [DiTConfig] are
// architectures. A user's own is a struct with these methods that encoding/json can encode and
// decode.
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
	for _, a := range []Architecture{DefaultMLP(), DefaultUNet(), DefaultDiT()} {
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
	BFloat16 ComputeType = "bfloat16" // 8 bits of precision, the range of float32
	Float32  ComputeType = "float32"  // 24 bits of precision
)

// computeTypes returns the types by their names.
func computeTypes() map[ComputeType]dtypes.DType {
	return map[ComputeType]dtypes.DType{BFloat16: dtypes.BFloat16, Float32: dtypes.Float32}
}

// DType returns the type, or an error if there is none of that name. That of "" is invalid, without
// an error.
func (c ComputeType) DType() (dtypes.DType, error) {
	dtype, known := computeTypes()[c]
	if c != "" && !known {
		return dtype, fmt.Errorf("compute = %.40q is unknown: use one of %v", c, slices.Sorted(maps.Keys(computeTypes())))
	}
	return dtype, nil
}

// NewNetwork returns a network of the architecture a.
func NewNetwork(a Architecture) Network { return Network{Architecture: a} }

// Validate returns the architecture's error, or an error if there is none.
func (n Network) Validate() error {
	if n.Architecture == nil {
		return errors.New("network: no architecture: set one, such as nn.DefaultMLP()")
	}
	if _, err := n.Compute.DType(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return n.Architecture.Validate()
}

// CheckShape returns an error unless the network, which is valid, takes samples of this shape. An
// architecture with a method CheckImage(height, width int) error takes the images [height, width,
// channels] for which this returns nil; any other takes all.
func (n Network) CheckShape(shape []int) error {
	a, ok := n.Architecture.(interface{ CheckImage(height, width int) error })
	switch {
	case !ok:
		return nil
	case len(shape) != 3:
		return fmt.Errorf("network %s is for images [height, width, channels], not for samples of shape %v: use kind mlp",
			n.Kind(), shape)
	}
	return a.CheckImage(shape[0], shape[1])
}

// CheckGuidance returns an error unless the network can be trained with these scales of guidance,
// other than 1. An architecture with a method GuidanceScales() []float64 has the scales that this
// returns; any other has none.
func (n Network) CheckGuidance(scales []float64) error {
	a, ok := n.Architecture.(interface{ GuidanceScales() []float64 })
	if !ok && len(scales) > 0 {
		return fmt.Errorf("network %s has no input for the scales of guidance %v: use kind dit, or no scales",
			n.Kind(), scales)
	}
	for _, w := range scales {
		if !slices.Contains(a.GuidanceScales(), w) {
			return fmt.Errorf("network %s has the scales of guidance %v, not %g: add it to them", n.Kind(),
				a.GuidanceScales(), w)
		}
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

// quoted returns a JSON string, which Go's %q is not for all of them.
func quoted(s string) []byte {
	raw, _ := json.Marshal(s) // strings always encode
	return raw
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
		raw = fmt.Appendf(raw[:len(raw)-1:len(raw)-1], `%s"compute":%s}`, comma, quoted(string(n.Compute)))
	}
	if recognized(raw) == n.Kind() {
		return raw, nil
	}
	if len(raw) < 2 || raw[0] != '{' {
		return nil, fmt.Errorf("network %s: its configuration is not a JSON object", n.Kind())
	}
	head := fmt.Appendf(nil, `{"kind":%s`, quoted(n.Kind()))
	if len(raw) > 2 {
		head = append(head, ',')
	}
	return append(head, raw[1:]...), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. Keys that are absent keep the values of the present
// architecture, if its kind is named or none, else the defaults of the kind that is named. An
// unknown kind and unknown keys are errors, as are values of another type. A list may be null, as
// MarshalJSON writes one that is nil.
func (n *Network) UnmarshalJSON(raw []byte) error { return n.unmarshal(raw, strictjson.DecodeStored) }

// UnmarshalStrict is UnmarshalJSON for a configuration that a user writes, in which a list is not
// null.
func (n *Network) UnmarshalStrict(raw []byte) error { return n.unmarshal(raw, strictjson.Decode) }

func (n *Network) unmarshal(raw []byte, decode func([]byte, any, ...string) error) error {
	known := Architectures()
	to, kind, compute := n.Architecture, "", n.Compute
	named, err := strictjson.Lookup(raw, "kind", &kind)
	if err != nil {
		return err
	}
	if _, err := strictjson.Lookup(raw, "compute", &compute); err != nil {
		return err
	}
	if !named && (to == nil || known[to.Kind()] != nil) {
		kind = recognized(raw)
	}
	if kind != "" && (to == nil || to.Kind() != kind) {
		to = known[kind]
	}
	if to == nil {
		return fmt.Errorf("network: kind %q is unknown: use one of %v", kind, slices.Sorted(maps.Keys(known)))
	}
	if to, err = decodeInto(to, raw, decode); err == nil {
		n.Architecture, n.Compute = to, compute
	}
	return err
}

// recognized returns the kind of an object that has a key of an MLP or a UNet alone, or "".
func recognized(raw []byte) string {
	var width, channels any
	hasWidth, _ := strictjson.Lookup(raw, "width", &width) // reading it reports what is wrong
	hasChannels, _ := strictjson.Lookup(raw, "channels", &channels)
	switch {
	case hasWidth && !hasChannels:
		return MLPConfig{}.Kind()
	case hasChannels && !hasWidth:
		return UNetConfig{}.Kind()
	}
	return ""
}

// decodeInto decodes raw over a copy of the configuration a, which may be a struct or a pointer.
func decodeInto(a Architecture, raw []byte, decode func([]byte, any, ...string) error) (Architecture, error) {
	present := reflect.ValueOf(a)
	pointer := present.Kind() == reflect.Pointer
	if pointer {
		present = present.Elem()
	}
	copied := reflect.New(present.Type())
	copied.Elem().Set(present)
	if err := decode(raw, copied.Interface(), "kind", "compute"); err != nil {
		return nil, err
	}
	if !pointer {
		copied = copied.Elem()
	}
	return copied.Interface().(Architecture), nil
}
