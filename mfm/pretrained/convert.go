package pretrained

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gomlx/compute/dtypes"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
	"github.com/gomfm/gomfm/mfm/nn"
)

// The kinds of networks that [Convert] converts.
const (
	DiTKind             = "dit"
	AutoencoderKind     = "autoencoder"
	TinyAutoencoderKind = "tiny-autoencoder"
)

// Kinds returns the kinds of networks that [Convert] converts.
func Kinds() []string { return []string{DiTKind, AutoencoderKind, TinyAutoencoderKind} }

// Converted is a network of another project as one of this package.
type Converted struct {
	Kind string // one of [Kinds]
	// Config is an [nn.DiTConfig], [nn.AutoencoderConfig] or [nn.TinyAutoencoder].
	Config any
	// Channels are those of the images or latents of a transformer; 0 for autoencoders.
	Channels int
	// Prefix is that of the copy in the original's file, see [Copies]. [ReadConverted] does not
	// know it.
	Prefix string
	// Weights are the variables by their paths below the scope of a model's weights, such as
	// "/block_0/hidden/weights", in which [train.SetWeights] stores them.
	Weights checkpoint.Tensors
}

// Convert converts the weights of a network of a kind of [Kinds] from the tensors of a file: for
// [DiTKind] those of the paper's transformer ([ImportDiT]), or of a SiT or of Decoupled MeanFlow
// ([SiTWeights]). part chooses one of several copies, see [Choose]. configure changes the
// configuration that names and shapes imply, or that of Stable Diffusion for an autoencoder; it
// gets a pointer to it. The error lists each tensor that is missing, unexpected or of another
// shape, or each variable that has values which are not finite.
//
// Convert frees the tensors that it has read, so that there is no second copy of the weights: from
// cannot be used again.
func Convert(from checkpoint.Tensors, kind, part string, configure func(config any) error) (Converted, error) {
	convert, known := converters()[kind]
	if !known {
		return Converted{}, fmt.Errorf("kind %q is unknown: use one of %v", kind, Kinds())
	}
	anchor := convert.anchors[0]
	for _, other := range convert.anchors[1:] {
		if len(Copies(from, anchor)) == 0 {
			anchor = other
		}
	}
	tensors, prefix, err := Choose(from, anchor, part)
	if err != nil {
		return Converted{}, err
	}
	c, err := convert.run(tensors, configure)
	if err != nil {
		return Converted{}, err
	}
	if err := checkFinite(c.Weights); err != nil {
		return Converted{}, err
	}
	c.Kind, c.Prefix = kind, prefix
	below := make(checkpoint.Tensors, len(c.Weights))
	for path, t := range c.Weights {
		below["/"+path] = t
	}
	c.Weights = below
	return c, nil
}

// Keys of the metadata of [Converted.Write].
const (
	kindKey     = "kind"
	configKey   = "config"
	channelsKey = "channels"
)

// Write writes the network to one file, with its kind and configuration in the metadata beside
// those given, and a checksum; see [checkpoint.WriteWeights]. [ReadConverted] reads it.
func (c Converted) Write(path string, metadata map[string]string) error {
	raw, err := json.Marshal(c.Config)
	if err != nil {
		return fmt.Errorf("weights %s: encoding the configuration: %w", path, err)
	}
	all := maps.Clone(metadata)
	if all == nil {
		all = make(map[string]string)
	}
	all[kindKey], all[configKey], all[channelsKey] = c.Kind, string(raw), strconv.Itoa(c.Channels)
	return checkpoint.WriteWeights(path, c.Weights, all)
}

// ReadConverted reads a file of [Converted.Write]. It is an error if its weights are not exactly
// those of its network. [train.SetWeights] stores them in a model's scope.
func ReadConverted(path string) (Converted, error) {
	weights, metadata, err := checkpoint.ReadWeights(path)
	if err != nil {
		return Converted{}, err
	}
	c := Converted{Kind: metadata[kindKey], Weights: weights}
	list, err := c.decode(metadata)
	if err == nil {
		err = checkPaths(weights, list)
	}
	if err != nil {
		return Converted{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// OpenNetwork reads the network of a kind of [Kinds] in a file of [Converted.Write], or in one of
// its original, which it converts: part and configure are those of [Convert]. They have no effect
// on a file of Converted.Write. Errors name the file.
func OpenNetwork(path, kind, part string, configure func(config any) error) (Converted, error) {
	from, metadata, err := Open(path)
	if err != nil {
		return Converted{}, err
	}
	switch metadata[kindKey] {
	case "":
		c, err := Convert(from, kind, part, configure)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return c, err
	case kind:
		return ReadConverted(path)
	}
	return Converted{}, fmt.Errorf("%s has a network of kind %.40q, want %s", path, metadata[kindKey], kind)
}

// decode sets the configuration and channels of the metadata, and returns the network's weights.
func (c *Converted) decode(metadata map[string]string) ([]Weight, error) {
	raw := []byte(metadata[configKey])
	switch c.Kind {
	case DiTKind:
		d, err := decode[nn.DiTConfig](raw)
		if err != nil {
			return nil, err
		}
		if c.Channels, err = strconv.Atoi(metadata[channelsKey]); err != nil || c.Channels < 1 {
			return nil, fmt.Errorf("metadata %q is %.40q, want a number from 1 on", channelsKey, metadata[channelsKey])
		}
		c.Config = d
		return DiTWeights(d, c.Channels), nil
	case AutoencoderKind:
		a, err := decode[nn.AutoencoderConfig](raw)
		if err != nil {
			return nil, err
		}
		c.Config = a
		return AutoencoderWeights(a), nil
	case TinyAutoencoderKind:
		a, err := decode[nn.TinyAutoencoder](raw)
		if err != nil {
			return nil, err
		}
		c.Config = a
		return append(TinyEncoderWeights(a), TinyDecoderWeights(a)...), nil
	}
	return nil, fmt.Errorf("no converted network: its metadata have kind %.40q, want one of %v", c.Kind, Kinds())
}

// decode returns a valid configuration from JSON.
func decode[C interface{ Validate() error }](raw []byte) (c C, err error) {
	if err := strictjson.DecodeStored(raw, &c); err != nil {
		return c, fmt.Errorf("metadata %q: %w", configKey, err)
	}
	return c, c.Validate()
}

// checkFinite returns an error that lists the variables of float32 which have values that are not
// finite.
func checkFinite(weights checkpoint.Tensors) error {
	var problems []error
	for _, path := range slices.Sorted(maps.Keys(weights)) {
		err := weights[path].ConstFlatData(func(flat any) {
			values, _ := flat.([]float32)
			if i := slices.IndexFunc(values, func(v float32) bool { return v-v != 0 }); i >= 0 {
				problems = append(problems, fmt.Errorf("variable %q is %g at element %d", path, values[i], i))
			}
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(problems...)
}

// checkPaths returns an error that lists the variables which are missing, superfluous, or of
// another shape.
func checkPaths(weights checkpoint.Tensors, list []Weight) error {
	var problems []error
	known := make(map[string]bool, len(list))
	for _, w := range list {
		path := "/" + w.Path
		known[path] = true
		_, dims := w.Layout.order(w.Shape)
		if t := weights[path]; t == nil {
			problems = append(problems, fmt.Errorf("variable %q %v is missing", path, dims))
		} else if !slices.Equal(t.Shape().Dimensions, dims) || t.DType() != dtypes.Float32 {
			problems = append(problems, fmt.Errorf("variable %q is %s, want %v of float32", path, t.Shape(), dims))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(weights)) {
		if !known[path] {
			problems = append(problems, fmt.Errorf("variable %q is superfluous", path))
		}
	}
	return errors.Join(problems...)
}

// converter converts one kind of network.
type converter struct {
	anchors []string // tensors of which the network has one
	run     func(from checkpoint.Tensors, configure func(any) error) (Converted, error)
}

func converters() map[string]converter {
	return map[string]converter{
		DiTKind:             {[]string{DiTAnchor}, convertDiT},
		AutoencoderKind:     {[]string{"encoder.conv_in.weight"}, convertAutoencoder},
		TinyAutoencoderKind: {[]string{"encoder.0.weight", "encoder.layers.0.weight"}, convertTiny},
	}
}

func convertDiT(from checkpoint.Tensors, configure func(any) error) (r Converted, err error) {
	c, channels, err := DetectDiT(from)
	if err == nil {
		err = configure(&c)
	}
	if err == nil && c.Heads == 0 {
		err = fmt.Errorf("the file does not tell the number of heads of a transformer of width %d and depth %d: set heads",
			c.Width, c.Depth)
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return r, err
	}
	r = Converted{Config: c, Channels: channels}
	if IsDiT(from) {
		r.Weights, err = importDiT(from, c, channels, true)
	} else {
		r.Weights, err = importSiT(from, c, channels)
	}
	return r, err
}

func convertAutoencoder(from checkpoint.Tensors, configure func(any) error) (r Converted, err error) {
	c := nn.StableDiffusionAutoencoder()
	if err := configure(&c); err != nil {
		return r, err
	}
	if err := c.Validate(); err != nil {
		return r, err
	}
	r = Converted{Config: c}
	r.Weights, err = importAutoencoder(from, c, true)
	return r, err
}

func convertTiny(from checkpoint.Tensors, configure func(any) error) (r Converted, err error) {
	a := detectTiny(from)
	if err := configure(&a); err != nil {
		return r, err
	}
	if err := a.Validate(); err != nil {
		return r, err
	}
	r = Converted{Config: a}
	r.Weights, err = importTiny(from, a)
	return r, err
}
