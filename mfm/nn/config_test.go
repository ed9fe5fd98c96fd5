package nn_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/internal/nntest"
)

func mlpConfig(change func(c *nn.MLPConfig)) nn.MLPConfig {
	c := nn.DefaultMLP()
	change(&c)
	return c
}

func unetConfig(change func(c *nn.UNetConfig)) nn.UNetConfig {
	c := nn.DefaultUNet()
	change(&c)
	return c
}

func classifierConfig(change func(c *nn.ClassifierConfig)) nn.ClassifierConfig {
	c := nn.DefaultClassifier()
	change(&c)
	return c
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		config interface{ Validate() error }
		want   string // part of the error; empty: no error
	}{
		{nn.DefaultMLP(), ""},
		{nn.DefaultUNet(), ""},
		{nn.DefaultClassifier(), ""},
		{mlpConfig(func(c *nn.MLPConfig) { c.Width = 0 }), "at most 16384, got 0"},
		{mlpConfig(func(c *nn.MLPConfig) { c.Depth = -1 }), "at most 1000, got -1"},
		{mlpConfig(func(c *nn.MLPConfig) { c.Classes = -2 }), "classes must not be negative, got -2"},
		{mlpConfig(func(c *nn.MLPConfig) { c.Width = 1 << 40 }), "width must be positive and at most"},
		{mlpConfig(func(c *nn.MLPConfig) { c.Depth = 5000 }), "depth must be positive and at most"},
		{mlpConfig(func(c *nn.MLPConfig) { c.Activation = "sillu" }), `unknown activation "sillu"`},
		{mlpConfig(func(c *nn.MLPConfig) { c.Activation = "" }), `unknown activation ""`},
		{mlpConfig(func(c *nn.MLPConfig) { c.OutputGain = math.NaN() }), "output gain must be finite"},
		{unetConfig(func(c *nn.UNetConfig) { c.Patch = 0 }), "patch must be positive"},
		{unetConfig(func(c *nn.UNetConfig) { c.Channels = nil }), "number of levels must be positive"},
		{unetConfig(func(c *nn.UNetConfig) { c.Blocks = 0 }), "blocks must be positive"},
		{unetConfig(func(c *nn.UNetConfig) { c.Groups = 0 }), "groups must be positive"},
		{unetConfig(func(c *nn.UNetConfig) { c.Embedding = 0 }), "embedding must be positive"},
		{unetConfig(func(c *nn.UNetConfig) { c.Classes = -1 }), "classes must not be negative"},
		{unetConfig(func(c *nn.UNetConfig) { c.Channels = []int{32, 60} }), "8 groups do not divide 60 channels"},
		{unetConfig(func(c *nn.UNetConfig) { c.Attention = []int{2} }), "attention at level 2, want 0 to 1"},
		{unetConfig(func(c *nn.UNetConfig) { c.Heads = 5 }), "5 heads do not divide 64 channels at level 1"},
		{classifierConfig(func(c *nn.ClassifierConfig) { c.Classes = 1 }), "at least 2 classes"},
		{classifierConfig(func(c *nn.ClassifierConfig) { c.Groups = 7 }), "7 groups do not divide 16 channels"},
	} {
		err := c.config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.config, err, c.want)
		}
	}
}

func TestConfigsPanic(t *testing.T) {
	build := func(b nn.Backbone, dims ...int) func(*model.Scope, *Graph) *Node {
		return func(scope *model.Scope, g *Graph) *Node {
			return b(scope, nntest.ConstantInputs(g, dtypes.Float32, dims...))
		}
	}
	classify := func(c nn.ClassifierConfig, times int, dims ...int) func(*model.Scope, *Graph) *Node {
		return func(scope *model.Scope, g *Graph) *Node {
			x, t := nntest.WaveNode(g, dtypes.Float32, 0, dims...), nntest.WaveNode(g, dtypes.Float32, 0, times)
			return nn.Classifier(c)(scope, x, t)
		}
	}
	nntest.Fails(t, build(nn.MLP(nn.MLPConfig{}), 4, 2), "MLP: width must be positive")
	nntest.Fails(t, build(nn.UNet(nn.UNetConfig{}), 4, 8, 8, 1), "UNet: patch must be positive")
	nntest.Fails(t, build(nn.UNet(nn.DefaultUNet()), 4, 28, 30, 1), "28x30 pixels", "multiples of 4")
	nntest.Fails(t, build(nn.UNet(nn.DefaultUNet()), 4, 28), "nn.UNet: want images")
	nntest.Fails(t, classify(nn.ClassifierConfig{}, 2, 2, 28, 28, 1), "classifier: want at least 2 classes, got 0")
	nntest.Fails(t, classify(nn.DefaultClassifier(), 2, 2, 28, 27, 1), "28x27 pixels")
	nntest.Fails(t, classify(nn.DefaultClassifier(), 3, 2, 28, 28, 1), "times must be [2], got")
}

func TestConfigJSON(t *testing.T) {
	for _, c := range []any{nn.DefaultMLP(), nn.DefaultUNet(), nn.DefaultClassifier()} {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(c))
		if err := json.Unmarshal(text, back.Interface()); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back.Elem().Interface(), c) {
			t.Errorf("%s is decoded as %+v", text, back.Elem())
		}
	}
}
