package reward

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/gomfm/gomfm/mfm/gmm"
)

// Classifiers returns the logits of the classifier called name, and how many classes it knows: what rewards of classes in JSON refer to.
type Classifiers func(name string) (logits Logits, classes int, err error)

// kinds are the rewards that [Parse] knows, with an example of each.
var kinds = map[string]string{
	"linear_gaussian":   `{"kind": "linear_gaussian", "a": [[1.2, -0.8]], "y": [-1], "sigma": 0.2}`,
	"quadratic":         `{"kind": "quadratic", "center": [0], "weight": [1]}`,
	"box":               `{"kind": "box", "low": [0, null], "high": [1, 2], "width": 0.1}`,
	"half_plane":        `{"kind": "half_plane", "a": [1, 1], "offset": 0, "width": 0.1}`,
	"log_mixture":       `{"kind": "log_mixture", "mixture": {"weights": [1], "means": [[0, 0]], "covariances": [[[1, 0], [0, 1]]]}}`,
	"class_mixture":     `{"kind": "class_mixture", "classifier": "NAME", "weights": [0, 1, 0, 1, 0, 2, 0, 2, 0, 4]}`,
	"class_probability": `{"kind": "class_probability", "classifier": "NAME", "weights": [0, 1, 0, 1, 0, 2, 0, 2, 0, 4]}`,
	"log_probability":   `{"kind": "log_probability", "classifier": "NAME", "class": 8}`,
	"sum":               `{"kind": "sum", "of": [REWARD, REWARD]}`,
	"scaled":            `{"kind": "scaled", "factor": 2, "of": REWARD}`,
}

// Kinds returns the kinds of reward that [Parse] knows, by name, with an example of each.
func Kinds() map[string]string {
	out := make(map[string]string, len(kinds))
	for kind, example := range kinds {
		out[kind] = example
	}
	return out
}

// Parse returns the reward that JSON describes, an object with a "kind" among [Kinds] and that kind's values; keys that a kind does not have are refused. classifiers may be nil
// where no reward is of classes.
func Parse(raw []byte, classifiers Classifiers) (Reward, error) {
	kind, err := kindOf(raw)
	if err != nil {
		return nil, err
	}
	if _, known := kinds[kind]; !known {
		var names []string
		for known := range kinds {
			names = append(names, known)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("reward: kind %q is unknown: use one of %v", kind, names)
	}
	r, err := parseKind(kind, raw, classifiers)
	if err != nil {
		return nil, fmt.Errorf("reward %s: %w", kind, err)
	}
	return r, nil
}

func kindOf(raw []byte) (string, error) {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", fmt.Errorf("reward: %w", err)
	}
	return head.Kind, nil
}

// ParseLinearGaussian returns the values of a reward of the kind linear_gaussian, for which steering a mixture has closed forms.
func ParseLinearGaussian(raw []byte) (LinearGaussian, error) {
	var r LinearGaussian
	kind, err := kindOf(raw)
	if err != nil {
		return r, err
	}
	if kind != "linear_gaussian" {
		return r, fmt.Errorf("reward: kind %q is not linear_gaussian", kind)
	}
	if err := decode(raw, &r); err != nil {
		return r, fmt.Errorf("reward %s: %w", kind, err)
	}
	return r, r.Validate()
}

// checked is a reward whose values decode from JSON.
type checked interface {
	Validate() error
	Reward() Reward
}

func parseKind(kind string, raw []byte, classifiers Classifiers) (Reward, error) {
	simple := func(value checked) (Reward, error) {
		if err := decode(raw, value); err != nil {
			return nil, err
		}
		if err := value.Validate(); err != nil {
			return nil, err
		}
		return value.Reward(), nil
	}
	switch kind {
	case "linear_gaussian":
		return simple(&LinearGaussian{})
	case "quadratic":
		return simple(&Quadratic{})
	case "box":
		return parseBox(raw)
	case "half_plane":
		return simple(&HalfPlane{})
	case "log_mixture":
		var v struct {
			Mixture *gmm.Mixture `json:"mixture"`
		}
		if err := decode(raw, &v); err != nil {
			return nil, err
		}
		if v.Mixture == nil {
			return nil, fmt.Errorf("has no mixture")
		}
		return LogMixture(v.Mixture), nil
	case "sum":
		var v struct {
			Of []json.RawMessage `json:"of"`
		}
		if err := decode(raw, &v); err != nil {
			return nil, err
		}
		if len(v.Of) == 0 {
			return nil, fmt.Errorf("\"of\" names no reward: give it a list of them")
		}
		var terms []Reward
		for _, of := range v.Of {
			r, err := Parse(of, classifiers)
			if err != nil {
				return nil, err
			}
			terms = append(terms, r)
		}
		return Sum(terms...), nil
	case "scaled":
		var v struct {
			Factor *float64        `json:"factor"`
			Of     json.RawMessage `json:"of"`
		}
		if err := decode(raw, &v); err != nil {
			return nil, err
		}
		if v.Factor == nil || v.Of == nil {
			return nil, fmt.Errorf("give it a factor, and the reward \"of\" which")
		}
		r, err := Parse(v.Of, classifiers)
		if err != nil {
			return nil, err
		}
		return Scaled(r, *v.Factor), nil
	default:
		return parseClasses(kind, raw, classifiers)
	}
}

// parseBox reads a [Box], of which null leaves a side open.
func parseBox(raw []byte) (Reward, error) {
	var v struct {
		Low   []*float64 `json:"low"`
		High  []*float64 `json:"high"`
		Width float64    `json:"width"`
	}
	if err := decode(raw, &v); err != nil {
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

func parseClasses(kind string, raw []byte, classifiers Classifiers) (Reward, error) {
	var v struct {
		Classifier string    `json:"classifier"`
		Weights    []float64 `json:"weights"`
		Class      *int      `json:"class"`
	}
	if err := decode(raw, &v); err != nil {
		return nil, err
	}
	if classifiers == nil {
		return nil, fmt.Errorf("there is no classifier %q here: this reward is for images", v.Classifier)
	}
	logits, classes, err := classifiers(v.Classifier)
	if err != nil {
		return nil, err
	}
	if kind == "log_probability" {
		if v.Class == nil || v.Weights != nil {
			return nil, fmt.Errorf("give it a class, and no weights")
		}
		return LogProbability(logits, *v.Class, classes)
	}
	if len(v.Weights) != classes || v.Class != nil {
		return nil, fmt.Errorf("%d weights for a classifier of %d classes: give it one each, and no class", len(v.Weights), classes)
	}
	if kind == "class_mixture" {
		return ClassMixture(logits, v.Weights)
	}
	return ClassProbability(logits, v.Weights)
}

// decode reads an object into v, which has all keys but "kind".
func decode(raw []byte, v any) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	delete(all, "kind")
	rest, err := json.Marshal(all)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(rest))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
