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

// A step whose data are infinite is not taken. The last good state is on disk, and sound data go on from there as if nothing had happened.
func TestNonFiniteStepIsNotTaken(t *testing.T) {
	sound := tinyObjective(func(_, x, _ *Node) *Node { return x })
	poisoned := newObjectiveTrainer(t, backendtest.New(t), tinyObjective(func(_, x, step *Node) *Node {
		return Where(GreaterOrEqual(step, Scalar(step.Graph(), dtypes.Float32, 4)), MulScalar(x, math.Inf(1)), x)
	}))
	dir := t.TempDir()
	var before map[string][]uint64
	err := train.Run(context.Background(), poisoned, train.Options{Dir: dir, Every: 5, Observe: func(m train.Metrics) error {
		if m.Step == 3 {
			before = bits(t, poisoned)
		}
		return nil
	}})
	var nonFinite *train.NonFiniteError
	if !errors.As(err, &nonFinite) || nonFinite.Step != 4 {
		t.Fatalf("error %v, want one of step 4", err)
	}
	if poisoned.Done() != 3 {
		t.Errorf("%d steps done, want 3", poisoned.Done())
	}
	compareBits(t, bits(t, poisoned), before)

	resumed, first := newObjectiveTrainer(t, backendtest.New(t), sound), int64(0)
	err = train.Run(context.Background(), resumed, train.Options{Dir: dir, Observe: func(m train.Metrics) error {
		if first == 0 {
			first = m.Step
		}
		return nil
	}})
	if err != nil || first != 4 {
		t.Errorf("resumed with step %d, error %v; want step 4", first, err)
	}
	whole := newObjectiveTrainer(t, backendtest.New(t), sound)
	if err := whole.Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	compareBits(t, bits(t, resumed), bits(t, whole))
}

// The first value that is not finite is named, whichever it is. (Interpreted: compiling would be all of the test.)
func TestNonFiniteValueIsNamed(t *testing.T) {
	// A softmax over the first number alone: infinite on purpose, harmless.
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
		{"data", func(_, x, _ *Node) *Node { return Log(Sub(Sin(x), OnesLike(x))) }, "(Float32)[32, 2] of Log at nonfinite_test.go:"},
		{"behind a mask", func(w, x, _ *Node) *Node { return Add(masked(w, func() *Node { return x }), Div(x, ZerosLike(x))) }, " of Div at nonfinite_test.go:"},
		{"in front of a mask", func(w, x, _ *Node) *Node {
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

// plainGradient makes steps of the gradient itself: RAdam whose moments forget at once never adapts.
func plainGradient(c mfm.TrainConfig, rate float64) mfm.TrainConfig {
	c.Optimizer = train.Optimizer{Method: "radam", Rate: rate, Epsilon: 1e-8}
	c.EMA, c.Loss.Consistency = nil, mfm.DiagonalOnly
	return c
}

// floatState returns the weights of a trainer, or another part of its state, by their name in it.
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
		t.Fatalf("no state in %s", scope)
	}
	return out
}
