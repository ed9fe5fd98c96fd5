package classifier_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/reward/classifier"
)

// tiny returns a small network in float64 with random weights, for squares of 12 pixels.
func tiny(t *testing.T) *classifier.Classifier {
	t.Helper()
	network := nn.EfficientNet{EfficientNetConfig: nn.EfficientNetConfig{
		Stem: 4, Features: 6, Classes: 3,
		Stages: []nn.EfficientNetStage{{Blocks: 2, Kernel: 3, Stride: 2, Expand: 2, Channels: 4}},
	}}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		t.Fatal(err)
	}
	model.MustNewExec(backendtest.New(t), store, func(scope *model.Scope, g *Graph) *Node {
		_, logits := network.Evaluate(scope, Zeros(g, shapes.Make(dtypes.Float64, 1, 12, 12, 3)))
		return logits
	}).MustCall1()
	weights := make(checkpoint.Tensors)
	for v := range store.IterVariables() {
		if v.DType() == dtypes.Float64 {
			weights[strings.TrimPrefix(v.Path(), "/")] = v.MustValue()
		}
	}
	return &classifier.Classifier{Network: network, Weights: weights, Size: 12}
}

// pictures returns n smooth random pictures of 9x7 pixels in [-0.9, 0.9].
func pictures(n int) []float64 {
	rng := rand.New(rand.NewPCG(3, 0))
	x := make([]float64, n*9*7*3)
	for i := range x {
		x[i] = 1.8*rng.Float64() - 0.9
	}
	return x
}

// The log-probability and the energy are those of the network's logits of the resized picture,
// their gradients those of finite differences, and checkpoints do not change them.
func TestRewards(t *testing.T) {
	c, x := tiny(t), pictures(2)
	checkpointed := *c
	checkpointed.Network.Checkpoint = true
	var rewards []reward.Reward
	for _, c := range []*classifier.Classifier{c, &checkpointed} {
		r, err := c.LogProbability(1)
		if err != nil {
			t.Fatal(err)
		}
		rewards = append(rewards, r, c.Energy())
	}
	exec, err := model.NewExec(backendtest.New(t), model.NewStore(), func(scope *model.Scope, x *Node) (out []*Node) {
		for _, r := range rewards[:3] {
			v := reward.Values(r, x, reward.Condition{})
			out = append(out, v, Gradient(ReduceAllSum(v), x)[0])
		}
		reward.SetWeights(scope, c.Weights)
		_, l := c.Network.Evaluate(scope, ClipScalar(layer.Resize(x, 12, 12), -1, 1))
		return append(out, l)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	values := func(x []float64) (out [][]float64) {
		for _, v := range exec.MustCall(tensors.FromFlatDataAndDimensions(x, len(x)/(9*7*3), 9, 7, 3)) {
			out = append(out, tensors.MustCopyFlatData[float64](v))
		}
		return out
	}
	at := values(x)
	l := at[6]
	direction, moved := make([]float64, len(x)), [2][]float64{}
	rng := rand.New(rand.NewPCG(4, 0))
	const h = 1e-6
	for i := range direction {
		direction[i] = rng.NormFloat64()
		moved[0], moved[1] = append(moved[0], x[i]+h*direction[i]), append(moved[1], x[i]-h*direction[i])
	}
	up, down := values(moved[0]), values(moved[1])
	for k, name := range []string{"log-probability", "energy"} {
		for i, v := range at[2*k] {
			want := math.Log(math.Exp(l[3*i]) + math.Exp(l[3*i+1]) + math.Exp(l[3*i+2]))
			if k == 0 {
				want = l[3*i+1] - want
			}
			if math.Abs(v-want) > 1e-9 {
				t.Errorf("%s of picture %d is %g, want %g", name, i, v, want)
			}
		}
		finite := (up[2*k][0] + up[2*k][1] - down[2*k][0] - down[2*k][1]) / (2 * h)
		var slope float64
		for j, g := range at[2*k+1] {
			slope += g * direction[j]
		}
		if !(math.Abs(slope-finite) <= 1e-5*(1+math.Abs(finite))) || slope == 0 {
			t.Errorf("%s: the slope is %g, by finite differences %g", name, slope, finite)
		}
	}
	for j, g := range at[1] {
		if math.Abs(at[5][j]-g) > 1e-12 {
			t.Fatalf("element %d of the gradient is %g, with checkpoints %g", j, g, at[5][j])
		}
	}
	if _, err := c.LogProbability(3); err == nil {
		t.Error("the network has a fourth class")
	}
}

// A file of zeros is a network whose classes are equally probable. Rewards need it, and a number.
func TestKinds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zeros.safetensors")
	zeros := make(checkpoint.Tensors)
	for _, w := range pretrained.EfficientNetWeights(nn.EfficientNetLite(0)) {
		zeros[w.File] = tensors.FromShape(shapes.Make(dtypes.Float32, w.Shape...))
	}
	f, err := os.Create(file)
	if err == nil {
		err = cmp.Or(checkpoint.Write(f, zeros, nil), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	parser := reward.Parser{Kinds: classifier.Kinds()}
	parse := func(name string) reward.Reward {
		text := strings.Replace(classifier.Kinds()[name].Example, "128", "32", 1)
		r, err := parser.Parse([]byte(strings.ReplaceAll(text, "FILE", file)))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	class, energy := parse("classifier"), parse("classifier_energy")
	exec := model.MustNewExec(backendtest.New(t), model.NewStore(), func(_ *model.Scope, x *Node) []*Node {
		return []*Node{reward.Values(class, x, reward.Condition{}), reward.Values(energy, x, reward.Condition{})}
	})
	defer exec.Finalize()
	for i, out := range exec.MustCall(tensors.FromShape(shapes.Make(dtypes.Float32, 2, 8, 8, 3))) {
		want := []float64{-math.Log(1000), math.Log(1000)}[i]
		if got := tensors.MustCopyFlatData[float32](out); len(got) != 2 || math.Abs(float64(got[0])-want) > 1e-5 {
			t.Errorf("rewards %v, want %g", got, want)
		}
	}
	if _, err := parser.Parse([]byte(`{"kind": "classifier", "class": "7", "weights": "` + file + `"}`)); err != nil {
		t.Errorf("a number as text: %v", err)
	}
	for text, want := range map[string]string{
		`{"kind": "classifier", "class": "tabby", "weights": "` + file + `"}`:  "no names of classes",
		`{"kind": "classifier", "class": 1000, "weights": "` + file + `"}`:     "[0, 1000)",
		`{"kind": "classifier", "class": 1}`:                                   "no weights",
		`{"kind": "classifier", "weights": "` + file + `"}`:                    "no class",
		`{"kind": "classifier_energy", "weights": "` + file + `", "size": 16}`: "size = 16",
		`{"kind": "classifier_energy", "weights": "` + file + `x"}`:            "no such file",
		`{"kind": "classifier_energy", "class": 1, "weights": "` + file + `"}`: "class",
	} {
		if _, err := parser.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}
