package nn

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	. "github.com/gomlx/gomlx/support/exceptions"

	"github.com/gomfm/gomfm/mfm/nn/layer"
)

// ClassifierConfig describes a classifier of images. Start from [DefaultClassifier].
type ClassifierConfig struct {
	Classes   int   `json:"classes"`   // at least 2
	Patch     int   `json:"patch"`     // side of the pixel squares folded into channels; 1: none
	Channels  []int `json:"channels"`  // channels per level, finest first; sides halve per level
	Blocks    int   `json:"blocks"`    // residual blocks per level
	Groups    int   `json:"groups"`    // groups of the group norms; must divide all channels
	Embedding int   `json:"embedding"` // width of the embedding of the time
}

// DefaultClassifier returns a classifier for digits of 28x28 pixels, with ten classes.
func DefaultClassifier() ClassifierConfig {
	return ClassifierConfig{Classes: 10, Patch: 2, Channels: []int{16, 64}, Blocks: 1, Groups: 8, Embedding: 64}
}

// Validate returns an error that names the first invalid field.
func (c ClassifierConfig) Validate() error {
	if c.Classes < 2 {
		return fmt.Errorf("classifier: want at least 2 classes, got %d", c.Classes)
	}
	u := UNetConfig{
		Patch: c.Patch, Channels: c.Channels, Blocks: c.Blocks, Heads: 1, Groups: c.Groups, Embedding: c.Embedding,
	}
	if err := u.Validate(); err != nil {
		return fmt.Errorf("classifier: %w", err)
	}
	return nil
}

// CheckImage returns an error unless the network, which is valid, takes images of this size.
func (c ClassifierConfig) CheckImage(height, width int) error {
	return layer.SidesError("Classifier", height, width, c.Patch, len(c.Channels))
}

// Classifier returns a function that builds a residual network from images x [batch, height, width,
// channels] to logits [batch, Classes]. With times t [batch] it is a classifier p(class | x_t) of
// noised images; with nil t it is a classifier of clean images. The two cannot share weights. The
// function panics with Validate's error, and unless Patch·2^(levels-1) divides height and width.
func Classifier(cfg ClassifierConfig) func(scope *model.Scope, x, t *Node) *Node {
	return func(scope *model.Scope, x, t *Node) *Node {
		logits, _ := ClassifierFeatures(cfg)(scope, x, t)
		return logits
	}
}

// ClassifierFeatures is [Classifier] that also returns the features, [batch, last of Channels], of
// which the logits are a linear function.
func ClassifierFeatures(cfg ClassifierConfig) func(scope *model.Scope, x, t *Node) (logits, features *Node) {
	return func(scope *model.Scope, x, t *Node) (logits, features *Node) {
		must(cfg.Validate())
		layer.CheckSides("Classifier", x, cfg.Patch, len(cfg.Channels))
		var condition *Node
		if t != nil {
			if t.Rank() != 1 || t.Shape().Dimensions[0] != x.Shape().Dimensions[0] {
				Panicf("nn.Classifier: times must be [%d], got %s", x.Shape().Dimensions[0], t.Shape())
			}
			condition = layer.SiLU(layer.TimeEmbedding(scope.In("times"), cfg.Embedding, t))
		}
		h := layer.Conv(scope.In("input"), layer.DepthFromSpace(x, cfg.Patch), cfg.Channels[0], 3, 1, 1)
		for level, channels := range cfg.Channels {
			if level > 0 {
				h = layer.Conv(scope.In("down_%d", level), h, channels, 3, 2, 1)
			}
			for i := range cfg.Blocks {
				h = layer.Residual(scope.In("block_%d_%d", level, i), h, condition, channels, cfg.Groups)
			}
		}
		h = layer.SiLU(layer.GroupNorm(h, cfg.Groups, nil, nil))
		features = ReduceMean(h, 1, 2)
		return layer.Dense(scope.In("output"), features, cfg.Classes, 1), features
	}
}
