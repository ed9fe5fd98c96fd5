package reward_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// scored is a user's reward with a weight of its own that depends on the class.
type scored struct {
	Gain float64 `json:"gain"`
}

func (s scored) Build(scope *model.Scope, x *Node, c reward.Condition) *Node {
	weight := scope.VariableWithValue("gain", s.Gain).SetTrainable(false).NodeValue(x.Graph())
	return Mul(Mul(ReduceSum(x, 1), weight), OnePlus(ConvertDType(c.Class, x.DType())))
}

// Two rewards in a sum and a transform have weights of their own, and the condition reaches them.
func TestRewardsWithWeights(t *testing.T) {
	double := func(scope *model.Scope, x *Node) *Node {
		return Mul(x, scope.VariableWithValue("gain", 2.0).SetTrainable(false).NodeValue(x.Graph()))
	}
	r := reward.Sum(scored{3}, reward.Scaled(reward.Transformed(scored{5}, double), 0.1))
	store := model.NewStore()
	exec, err := model.NewExec(backendtest.New(t), store, func(_ *model.Scope, x, class *Node) *Node {
		_, usable, _ := reward.Weighed(r, nil, x, reward.Condition{Class: class})
		return usable
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Call1([][]float64{{1, 2}, {0, 1}}, []int32{0, 3})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range tensors.MustCopyFlatData[float64](out) {
		if want := []float64{3*3 + 0.1*5*6, 4 * (3*1 + 0.1*5*2)}[i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("sample %d: %g, want %g", i, got, want)
		}
	}
	var paths []string
	for v := range store.IterVariables() {
		paths = append(paths, v.Path())
	}
	if len(paths) != 3 {
		t.Errorf("variables %v, want one for each reward and one for the transform", paths)
	}
}

// A program's own kind is parsed within the package's kinds.
func TestParserWithOwnKind(t *testing.T) {
	p := reward.Parser{Kinds: reward.Kinds()}
	p.Kinds["first"] = reward.Kind{Parse: func(_ reward.Parser, raw []byte) (reward.Reward, error) {
		var v scored
		err := reward.Decode(raw, &v)
		return reward.Func(func(x *Node) *Node {
			return MulScalar(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1), v.Gain)
		}), err
	}}
	r := need(t)(p.Parse([]byte(`{"kind": "scaled", "factor": -1, "of": {"kind": "first", "gain": 3}}`)))
	if v, _ := evaluate(t, r, [][]float64{{2, 7}}); v[0] != -6 {
		t.Errorf("reward %g, want -6", v[0])
	}
	if _, err := p.Parse([]byte(`{"kind": "first", "gains": 3}`)); err == nil {
		t.Error("an unknown key is no error")
	}
	if _, known := reward.Kinds()["first"]; known {
		t.Error("the package's kinds have changed")
	}
}
