package points

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/experiment/internal/classname"
	"github.com/gomfm/gomfm/mfm/reward"
)

// RewardKinds returns the kinds of rewards of points, by name with examples. They are in the units
// of the data. Three kinds name columns:
//
//	column       r = -((x_j - target)/width)²/2, a measurement of one column
//	measurement  r = -((Σ_j w_j x_j - target)/width)²/2, a measurement of several columns together
//	linear       r = Σ_j w_j x_j, with any sign of the weights
//
// The kinds box, half_plane, linear_gaussian, log_mixture and quadratic of package reward take a
// point as the vector of its columns in their order, in float32: a column whose mean is large
// compared with its deviation needs one of the three above. The kinds sum and scaled combine
// rewards.
func (e *Experiment) RewardKinds() map[string]reward.Kind {
	known := reward.Kinds()
	kinds := map[string]reward.Kind{
		"column": {Example: `{"kind": "column", "column": "y", "target": 0.5, "width": 0.1}`, Parse: e.column},
		"measurement": {Example: `{"kind": "measurement", "weights": {"x": 1, "y": -1}, "target": 0.2, "width": 0.1}`,
			Parse: e.measurement},
		"linear": {Example: `{"kind": "linear", "weights": {"y": 2}}`, Parse: e.linear},
		"sum":    known["sum"], "scaled": known["scaled"],
	}
	for _, name := range []string{"box", "half_plane", "linear_gaussian", "log_mixture", "quadratic"} {
		kind := known[name]
		parse := kind.Parse
		kind.Parse = func(p reward.Parser, raw []byte) (reward.Reward, error) {
			r, err := parse(p, raw)
			if err != nil {
				return nil, err
			}
			return reward.Transformed(r, e.restore), nil
		}
		kinds[name] = kind
	}
	return kinds
}

// ParseReward returns the reward that raw, a JSON object of one of [Experiment.RewardKinds],
// describes, as a function of standardized points.
func (e *Experiment) ParseReward(raw []byte) (reward.Reward, error) {
	return reward.Parser{Kinds: e.RewardKinds()}.Parse(raw)
}

// restore builds points in the units of the data, [n][columns], from standardized ones.
func (e *Experiment) restore(_ *model.Scope, z *graph.Node) *graph.Node {
	row := func(v []float64) *graph.Node { return graph.ConstAsDType(z.Graph(), z.DType(), [][]float64{v}) }
	return graph.Add(graph.Mul(z, row(e.Scale.Std)), row(e.Scale.Mean))
}

// combination is Σ_j Weights_j z_j + Offset for standardized points z.
type combination struct {
	weights []float64 // [columns]
	offset  float64
}

// combination returns (Σ_j w_j x_j - target)/width for weights of columns by their names.
func (e *Experiment) combination(weights map[string]float64, target, width float64) (c combination, err error) {
	if len(weights) == 0 {
		return c, errors.New(`no weights: give one for each column that counts, such as "weights": {"y": 2}`)
	}
	if !(width > 0) || math.IsInf(width, 0) {
		return c, fmt.Errorf(`width = %g: "width" is missing, or not positive and finite`, width)
	}
	c.weights, c.offset = make([]float64, len(e.Columns)), -target/width
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		j := slices.Index(e.Columns, name)
		if j < 0 {
			return c, fmt.Errorf("column %q is unknown: use %s", name, classname.Listed(e.Columns))
		}
		c.weights[j] = weights[name] * e.Scale.Std[j] / width
		c.offset += weights[name] * e.Scale.Mean[j] / width
	}
	for _, v := range append(slices.Clone(c.weights), c.offset) {
		if math.Abs(v) > math.MaxFloat32 || v-v != 0 {
			return c, fmt.Errorf("weights %v, target %g and width %g give a value of %g, too large for float32",
				weights, target, width, v)
		}
	}
	return c, nil
}

// of builds the combination of standardized points, [n].
func (c combination) of(z *graph.Node) *graph.Node {
	weights := graph.ConstAsDType(z.Graph(), z.DType(), [][]float64{c.weights})
	return graph.AddScalar(graph.ReduceSum(graph.Mul(z, weights), 1), c.offset)
}

// likelihood returns -c²/2.
func (c combination) likelihood() reward.Reward {
	return reward.Func(func(z *graph.Node) *graph.Node { return graph.MulScalar(graph.Square(c.of(z)), -0.5) })
}

func (e *Experiment) column(_ reward.Parser, raw []byte) (reward.Reward, error) {
	var v struct {
		Column *string  `json:"column"`
		Target *float64 `json:"target"`
		Width  float64  `json:"width"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Column == nil || v.Target == nil {
		return nil, errors.New(`want "column", "target" and "width"`)
	}
	c, err := e.combination(map[string]float64{*v.Column: 1}, *v.Target, v.Width)
	return c.likelihood(), err
}

func (e *Experiment) measurement(_ reward.Parser, raw []byte) (reward.Reward, error) {
	var v struct {
		Weights map[string]float64 `json:"weights"`
		Target  *float64           `json:"target"`
		Width   float64            `json:"width"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Target == nil {
		return nil, errors.New(`want "weights", "target" and "width"`)
	}
	c, err := e.combination(v.Weights, *v.Target, v.Width)
	return c.likelihood(), err
}

func (e *Experiment) linear(_ reward.Parser, raw []byte) (reward.Reward, error) {
	var v struct {
		Weights map[string]float64 `json:"weights"`
	}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	c, err := e.combination(v.Weights, 0, 1)
	return reward.Func(c.of), err
}

// canonical returns JSON with sorted keys, which stands for a reward in fingerprints.
func canonical(raw json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", fmt.Errorf("reward: %w", err)
	}
	text, err := json.Marshal(v)
	return string(text), err
}
