package train_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/train"
)

// A step with infinite data is not taken. The last good state is saved, and a training with finite
// data resumes from it as if nothing had happened.
func TestNonFiniteStepIsNotTaken(t *testing.T) {
	finite := tinyObjective(func(_, x, _ *Node) *Node { return x })
	infinite := newObjectiveTrainer(t, backendtest.New(t), tinyObjective(func(_, x, step *Node) *Node {
		return Where(GreaterOrEqual(step, Scalar(step.Graph(), dtypes.Float32, 4)), MulScalar(x, math.Inf(1)), x)
	}))
	dir := t.TempDir()
	var before map[string][]uint64
	infinite.AddHook(afterStep(func(m train.Metrics) error {
		if m.Step == 3 {
			before = bits(t, infinite)
		}
		return nil
	}))
	err := train.Run(context.Background(), infinite, train.Options{Dir: dir, Every: 5})
	var nonFinite *train.NonFiniteError
	if !errors.As(err, &nonFinite) || nonFinite.Step != 4 {
		t.Fatalf("error %v, want one of step 4", err)
	}
	if infinite.Done() != 3 {
		t.Errorf("%d steps done, want 3", infinite.Done())
	}
	compareBits(t, bits(t, infinite), before)

	resumed, first := newObjectiveTrainer(t, backendtest.New(t), finite), int64(0)
	resumed.AddHook(firstStep(&first))
	err = train.Run(context.Background(), resumed, train.Options{Dir: dir})
	if err != nil || first != 4 {
		t.Errorf("resumed with step %d, error %v; want step 4", first, err)
	}
	whole := newObjectiveTrainer(t, backendtest.New(t), finite)
	if err := whole.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	compareBits(t, bits(t, resumed), bits(t, whole))
}

// The first non-finite value is named. (On the interpreter: compilation would dominate the time of
// the test.)
func TestNonFiniteValueIsNamed(t *testing.T) {
	// A softmax over the first number alone, with intended infinities.
	masked := func(w *Node, logits func() *Node) *Node {
		never := Infinity(w.Graph(), w.DType(), -1)
		mask := Const(w.Graph(), [][]bool{{true, false}})
		return Softmax(Where(BroadcastToShape(mask, shapes.Make(dtypes.Bool, 32, 2)), logits(), never))
	}
	cases := []struct {
		name   string
		change func(w, x, step *Node) *Node
		want   string
	}{
		{"data", func(_, x, _ *Node) *Node {
			return Log(Sub(Sin(x), OnesLike(x)))
		}, "(Float32)[32, 2] of Log at nonfinite_test.go:"},
		{"after a mask", func(w, x, _ *Node) *Node {
			return Add(masked(w, func() *Node { return x }), Div(x, ZerosLike(x)))
		}, " of Div at nonfinite_test.go:"},
		{"before a mask", func(w, x, _ *Node) *Node {
			return masked(w, func() *Node { return Exp(MulScalar(OnePlus(Square(x)), 1000)) })
		}, " of Exp at nonfinite_test.go:"},
		{"gradient", func(w, x, _ *Node) *Node { return Sqrt(Mul(w, ZerosLike(x))) }, "in the gradient"},
	}
	for _, c := range cases {
		_, err := newObjectiveTrainer(t, mfmtest.Interpreter(t), tinyObjective(c.change)).Step()
		var nonFinite *train.NonFiniteError
		if !errors.As(err, &nonFinite) || !strings.Contains(nonFinite.Tensor, c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}

	diagonal := mfmtest.SmallConfig()
	diagonal.Loss.Consistency, diagonal.Loss.Distillation, diagonal.Accumulate = mfm.DiagonalOnly, mfm.Teacher, 2
	zeroTeacher := func(_, x, _ *Node) *Node { return ZerosLike(x) }
	brokenTeacher := func(t, x, _ *Node) *Node { return Div(x, InsertAxes(Sub(t, t), -1)) }
	set, err := train.DataSet(tensors.FromValue([][]float32{{1, 2}, {float32(math.Inf(1)), 0}}), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		source  train.Source
		teacher interpolant.Drift
		want    string
	}{
		{"data set", set, zeroTeacher, "variable /data/samples"},
		{"teacher", mfmtest.NormalSource, brokenTeacher, " of Div at nonfinite_test.go:"},
	} {
		trainer, err := mfm.NewTrainer(mfmtest.Interpreter(t), mfmtest.SmallMap(), c.source, c.teacher, diagonal)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trainer.Step()
		var nonFinite *train.NonFiniteError
		if !errors.As(err, &nonFinite) || !strings.Contains(nonFinite.Tensor, c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// plainGradient makes each step the rate times the gradient: RAdam with zero decays never adapts.
func plainGradient(c mfm.TrainConfig, rate float64) mfm.TrainConfig {
	c.Optimizer = train.Optimizer{Method: "radam", Rate: rate, Epsilon: 1e-8}
	c.EMA, c.Loss.Consistency = nil, mfm.DiagonalOnly
	return c
}

// floatState returns the part of a trainer's state in a scope, by name in the scope.
func floatState(t *testing.T, trainer *train.Trainer, scope string) map[string][]float64 {
	t.Helper()
	state, err := trainer.State()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]float64)
	for path, value := range state {
		if name, ok := strings.CutPrefix(path, scope+"/"); ok {
			for _, v := range tensors.MustCopyFlatData[float32](value) {
				out[name] = append(out[name], float64(v))
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("the state has nothing in scope %s", scope)
	}
	return out
}
