package reward

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/strictjson"
)

// Classifiers returns the logits and the number of classes of the classifier called name, for
// rewards in JSON that refer to it.
type Classifiers func(name string) (logits Logits, classes int, err error)

// Kind is a kind of reward that configurations can name.
type Kind struct {
	// Example is a JSON object that describes such a reward.
	Example string
	// Parse returns the reward that raw, an object with that kind, describes. p parses rewards
	// within it and knows classifiers. [Decode] reads the other keys.
	Parse func(p Parser, raw []byte) (Reward, error)
}

// Parser parses rewards in JSON: objects with a "kind" and the values of that kind.
type Parser struct {
	// Kinds are the known kinds by name: [Kinds], to which a program may add its own.
	Kinds map[string]Kind
	// Classifiers may be nil if no reward refers to a classifier.
	Classifiers Classifiers
}

// Kinds returns the kinds of this package by name.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"linear_gaussian": valueKind(`{"kind": "linear_gaussian", "a": [[1.2, -0.8]], "y": [-1], "sigma": 0.2}`,
			func() checked { return new(LinearGaussian) }),
		"quadratic": valueKind(`{"kind": "quadratic", "center": [0], "weight": [1]}`,
			func() checked { return new(Quadratic) }),
		"half_plane": valueKind(`{"kind": "half_plane", "a": [1, 1], "offset": 0, "width": 0.1}`,
			func() checked { return new(HalfPlane) }),
		"block_average": valueKind(`{"kind": "block_average", "rows": 1, "columns": 2, "y": [0.1, -0.5], "sigma": 0.2}`,
			func() checked { return new(BlockAverage) }),
		"stroke_mass": valueKind(`{"kind": "stroke_mass", "mean": 0.13, "std": 0.04, "target": 3, "width": 0.2}`,
			func() checked { return new(StrokeMass) }),
		"brightness": valueKind(`{"kind": "brightness", "target": 0.3, "width": 0.05}`,
			func() checked { return new(Brightness) }),
		"color":    valueKind(`{"kind": "color", "hue": 240, "weight": 50}`, func() checked { return new(Color) }),
		"symmetry": valueKind(`{"kind": "symmetry"}`, func() checked { return new(Symmetry) }),
		"box":      {`{"kind": "box", "low": [0, null], "high": [1, 2], "width": 0.1}`, parseBox},
		"log_mixture": {`{"kind": "log_mixture", "mixture": ` +
			`{"weights": [1], "means": [[0, 0]], "covariances": [[[1, 0], [0, 1]]]}}`, parseLogMixture},
		"class_mixture":     {classExample("class_mixture"), parseWeights(ClassMixture)},
		"class_probability": {classExample("class_probability"), parseWeights(ClassProbability)},
		"log_probability":   {`{"kind": "log_probability", "classifier": "NAME", "temperature": 1, "class": 8}`, parseLogProbability},
		"sum":               {`{"kind": "sum", "of": [REWARD, REWARD]}`, parseSum},
		"scaled":            {`{"kind": "scaled", "factor": 2, "of": REWARD}`, parseScaled},
	}
}

func classExample(kind string) string {
	return fmt.Sprintf(`{"kind": %q, "classifier": "NAME", "temperature": 1, "weights": [0, 1, 0, 1, 0, 2, 0, 2, 0, 4]}`, kind)
}

// Parse returns the reward that raw describes, of one of [Kinds]; see [Parser.Parse].
func Parse(raw []byte, classifiers Classifiers) (Reward, error) {
	return Parser{Kinds(), classifiers}.Parse(raw)
}

// Parse returns the reward that raw describes. Unknown kinds and unknown keys are errors.
func (p Parser) Parse(raw []byte) (Reward, error) {
	name, err := kindOf(raw)
	if err != nil {
		return nil, err
	}
	kind, known := p.Kinds[name]
	if !known {
		return nil, fmt.Errorf("reward: kind %q is unknown: use one of %v", name, slices.Sorted(maps.Keys(p.Kinds)))
	}
	r, err := kind.Parse(p, raw)
	return r, ofKind(name, err)
}

// kindError is an error that names the kind of its reward.
type kindError struct {
	kind string
	error
}

func (e kindError) Error() string { return fmt.Sprintf("reward %s: %v", e.kind, e.error) }

func (e kindError) Unwrap() error { return e.error }

// ofKind returns an error that names the kind of its reward, once.
func ofKind(kind string, err error) error {
	if named, ok := err.(kindError); err == nil || ok && named.kind == kind {
		return err
	}
	return kindError{kind, err}
}

// invalid returns the error of a value of a reward.
func invalid(kind, format string, values ...any) error {
	return kindError{kind, fmt.Errorf(format, values...)}
}

// holds returns an error that names the first value of a list, called name, that float32 cannot
// hold; see hold.
func holds(kind, name string, values []float64) error {
	for i, v := range values {
		if err := hold(kind, fmt.Sprintf("%s[%d]", name, i), v); err != nil {
			return err
		}
	}
	return nil
}

// hold returns an error unless float32 holds a value: it is 0, or its magnitude lies between the
// smallest normal number and the largest one.
func hold(kind, name string, v float64) error {
	if size := math.Abs(v); v != 0 && !(size >= 0x1p-126 && size <= math.MaxFloat32) {
		return invalid(kind, "%s = %g must be a float32: 0, or of magnitude 1.2e-38 to 3.4e+38", name, v)
	}
	return nil
}

// positive returns an error unless v is positive and float32 holds it.
func positive(kind, name string, v float64) error {
	if !(v > 0) || math.IsInf(v, 0) {
		return invalid(kind, "%s = %g must be positive and finite", name, v)
	}
	return hold(kind, name, v)
}

func kindOf(raw []byte) (kind string, err error) {
	found, err := strictjson.Lookup(raw, "kind", &kind)
	if err == nil && !found {
		err = errors.New(`no key "kind": name the kind of the reward`)
	}
	if err != nil {
		return "", fmt.Errorf("reward: %w", err)
	}
	return kind, nil
}

// ParseLinearGaussian returns the values of a reward of kind linear_gaussian, for which the steered
// drift of a mixture has a closed form. It returns an error for another kind.
func ParseLinearGaussian(raw []byte) (LinearGaussian, error) {
	var r LinearGaussian
	kind, err := kindOf(raw)
	if err != nil {
		return r, err
	}
	if kind != "linear_gaussian" {
		return r, invalid(kind, "it has no closed form of value and target: use kind linear_gaussian, which has one")
	}
	if err := Decode(raw, &r); err != nil {
		return r, ofKind(kind, err)
	}
	return r, r.Validate()
}

// checked is a reward that can be decoded from JSON and validated.
type checked interface {
	Validate() error
	Reward() Reward
}

// valueKind is the kind of rewards that are decoded into a value.
func valueKind(example string, zero func() checked) Kind {
	return Kind{example, func(_ Parser, raw []byte) (Reward, error) {
		value := zero()
		if err := Decode(raw, value); err != nil {
			return nil, err
		}
		if err := value.Validate(); err != nil {
			return nil, err
		}
		return value.Reward(), nil
	}}
}

func parseLogMixture(_ Parser, raw []byte) (Reward, error) {
	var v struct {
		Mixture *gmm.Mixture `json:"mixture"`
	}
	if err := Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Mixture == nil {
		return nil, errors.New("no mixture: give one under \"mixture\"")
	}
	return LogMixture(v.Mixture), nil
}

func parseSum(p Parser, raw []byte) (Reward, error) {
	var v struct {
		Of []json.RawMessage `json:"of"`
	}
	if err := Decode(raw, &v); err != nil {
		return nil, err
	}
	if len(v.Of) == 0 {
		return nil, errors.New("no rewards: give a list of them under \"of\"")
	}
	var terms []Reward
	for i, of := range v.Of {
		r, err := p.Parse(of)
		if err != nil {
			return nil, fmt.Errorf("of[%d]: %w", i, err)
		}
		terms = append(terms, r)
	}
	return Sum(terms...), nil
}

func parseScaled(p Parser, raw []byte) (Reward, error) {
	var v struct {
		Factor *float64        `json:"factor"`
		Of     json.RawMessage `json:"of"`
	}
	if err := Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Factor == nil || v.Of == nil {
		return nil, errors.New("no factor or no reward: give a number under \"factor\" and a reward under \"of\"")
	}
	if err := hold("scaled", "factor", *v.Factor); err != nil {
		return nil, err
	}
	r, err := p.Parse(v.Of)
	if err != nil {
		return nil, fmt.Errorf("of: %w", err)
	}
	return Scaled(r, *v.Factor), nil
}

// parseBox parses a [Box]. In JSON null leaves a side open.
func parseBox(_ Parser, raw []byte) (Reward, error) {
	var v struct {
		Low   []*float64 `json:"low"`
		High  []*float64 `json:"high"`
		Width float64    `json:"width"`
	}
	if err := Decode(raw, &v); err != nil {
		return nil, err
	}
	bounds := func(values []*float64, open float64) []float64 {
		out := make([]float64, len(values))
		for i, v := range values {
			if out[i] = open; v != nil {
				out[i] = *v
			}
		}
		return out
	}
	box := Box{Low: bounds(v.Low, math.Inf(-1)), High: bounds(v.High, math.Inf(1)), Width: v.Width}
	if err := box.Validate(); err != nil {
		return nil, err
	}
	return box.Reward(), nil
}

// classReward is a reward in JSON that refers to a classifier.
type classReward struct {
	Classifier  string    `json:"classifier"`
	Temperature *float64  `json:"temperature"` // of [Tempered]; nil means 1
	Weights     []float64 `json:"weights"`
	Class       *int      `json:"class"`
}

// classifier decodes raw and returns the classifier that it refers to, at its temperature.
func (p Parser) classifier(raw []byte) (v classReward, logits Logits, classes int, err error) {
	if err := Decode(raw, &v); err != nil {
		return v, nil, 0, err
	}
	if p.Classifiers == nil {
		return v, nil, 0, fmt.Errorf("no classifier %q here: this kind of reward is for images", v.Classifier)
	}
	logits, classes, err = p.Classifiers(v.Classifier)
	if err == nil && v.Temperature != nil {
		logits, err = Tempered(logits, *v.Temperature)
	}
	return v, logits, classes, err
}

func parseLogProbability(p Parser, raw []byte) (Reward, error) {
	v, logits, classes, err := p.classifier(raw)
	if err != nil {
		return nil, err
	}
	if v.Class == nil || v.Weights != nil {
		return nil, errors.New("want a class and no weights")
	}
	return LogProbability(logits, *v.Class, classes)
}

// parseWeights parses a reward that has one weight per class.
func parseWeights(build func(Logits, []float64) (Reward, error)) func(Parser, []byte) (Reward, error) {
	return func(p Parser, raw []byte) (Reward, error) {
		v, logits, classes, err := p.classifier(raw)
		if err != nil {
			return nil, err
		}
		if len(v.Weights) != classes || v.Class != nil {
			return nil, fmt.Errorf("%d weights for a classifier of %d classes: want one per class, and no \"class\"",
				len(v.Weights), classes)
		}
		return build(logits, v.Weights)
	}
}

// Decode decodes a JSON object into v, whose fields are all keys except "kind". Unknown and
// repeated keys are errors, and so are null and values of another type or out of range.
func Decode(raw []byte, v any) error { return strictjson.Decode(raw, v, "kind") }
