// Package classifier has rewards of pictures by a classifier of ImageNet, an EfficientNet-Lite in
// its official file: the log-probability of a class, and the negative free energy, which is low for
// pictures that resemble none.
//
// [Kinds] extends the kinds of [reward.Parser]. Pictures are [n, height, width, 3] in [-1, 1] of
// any size. The graph resizes them to a square by [layer.Resize], and clips the result to [-1, 1];
// the network converts levels v from 0 to 255 to (v - 127)/128. All steered and stored rewards use
// this form, which sees the whole picture.
//
// TensorFlow's evaluation prepares pictures otherwise, see [preprocess.EfficientNet]: it cuts off
// their borders, and does not average where it reduces. For pictures that are only scored, each
// reward is also a [reward.Original], which does the same: [reward.NewScorer], and the kind
// "original" of package alignment. Of 100 pictures of ImageNet of 64x64 pixels, at 128 pixels,
// Lite0 names 42 right in the original's form and 35 in the graph's; the log-probability of the
// right class differs by 3.0 in the root mean square. At 224 pixels these are 43, 42 and 0.74.
package classifier

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"strconv"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/nn/layer"
	"github.com/gomfm/gomfm/mfm/nn/preprocess"
	"github.com/gomfm/gomfm/mfm/pretrained"
	"github.com/gomfm/gomfm/mfm/reward"
)

// DefaultSize is the side in pixels of the pictures that the network evaluates, unless a reward
// says another one. The networks were trained at 224 and more, which takes three times the time.
const DefaultSize = 128

// Classifier is a network with fixed weights.
type Classifier struct {
	// Network recomputes the activations of its blocks in the backward pass if its Checkpoint is set.
	Network nn.EfficientNet
	// Weights are the network's by their paths below its scope.
	Weights checkpoint.Tensors
	// Size is the side of its pictures in pixels.
	Size int
}

// Open opens the EfficientNet-Lite in a file, see [pretrained.OpenEfficientNet], with checkpoints.
// It returns an error unless size lies in [32, 1024].
func Open(path string, size int) (*Classifier, error) {
	if size < 32 || size > 1024 {
		return nil, fmt.Errorf("size = %d: must lie in [32, 1024] pixels", size)
	}
	network, weights, err := pretrained.OpenEfficientNet(path)
	if err != nil {
		return nil, err
	}
	network.Checkpoint = true
	return &Classifier{Network: network, Weights: weights, Size: size}, nil
}

// Logits builds the logits, [n, classes], of pictures [n, height, width, 3]; see [reward.Logits].
// It creates the weights in scope, and panics as [reward.SetWeights] does.
func (c *Classifier) Logits(scope *model.Scope, x *Node) *Node {
	return c.prepared(scope, ClipScalar(layer.Resize(x, c.Size, c.Size), -1, 1))
}

// prepared builds the logits of pictures of the network's size.
func (c *Classifier) prepared(scope *model.Scope, x *Node) *Node {
	reward.SetWeights(scope, c.Weights)
	_, logits := c.Network.Evaluate(scope, x)
	return logits
}

// LogProbability returns the reward log p(class|x). It returns an error for a class that the
// network does not have.
func (c *Classifier) LogProbability(class int) (reward.Original, error) {
	graph, err := reward.LogProbability(c.Logits, class, c.Network.Classes)
	if err != nil {
		return nil, err
	}
	prepared, err := reward.LogProbability(c.prepared, class, c.Network.Classes)
	return original{graph, c, prepared}, err
}

// Energy returns the reward log Σ_k e^{l_k(x)} with the logits l: the negative free energy, which
// is lower for pictures unlike those of the training (Liu et al., arXiv 2010.03759).
func (c *Classifier) Energy() reward.Original {
	return original{energy(c.Logits), c, energy(c.prepared)}
}

// energy is the negative free energy of logits.
type energy reward.Logits

// Build implements [reward.Reward].
func (e energy) Build(scope *model.Scope, x *Node, _ reward.Condition) *Node {
	logits := e(scope, x)
	most := StopGradient(ReduceAndKeep(logits, ReduceMax, 1))
	return Add(Reshape(most, -1), Log(ReduceSum(Exp(Sub(logits, most)), 1)))
}

// original is a reward of pictures of any size, and in the field prepared of prepared ones.
type original struct {
	reward.Reward
	classifier *Classifier
	prepared   reward.Reward
}

// Side implements [reward.Original].
func (o original) Side() int { return o.classifier.Size }

// Prepare implements [reward.Original], by [preprocess.EfficientNet].
func (o original) Prepare(picture *image.RGBA) []float32 {
	return preprocess.EfficientNet(picture, o.Side())
}

// BuildPrepared implements [reward.Original].
func (o original) BuildPrepared(scope *model.Scope, prepared *Node) *Node {
	return o.prepared.Build(scope, prepared, reward.Condition{})
}

// Kinds returns the kinds of this package by name. In JSON each has the keys "weights", the file of
// an EfficientNet-Lite such as that of mfm weights get efficientnet-lite0, and optionally "size",
// see [DefaultSize]. The kind classifier has "class", a number from 0 to 999; the file has no
// names.
func Kinds() map[string]reward.Kind {
	return map[string]reward.Kind{
		"classifier": {
			Example: `{"kind": "classifier", "class": 281, "weights": "FILE", "size": 128}`, Parse: parseClass,
		},
		"classifier_energy": {
			Example: `{"kind": "classifier_energy", "weights": "FILE", "size": 128}`, Parse: parseEnergy,
		},
	}
}

// keys are those of the rewards in JSON.
type keys struct {
	Weights string `json:"weights"`
	Size    int    `json:"size"`
}

func (k keys) open() (*Classifier, error) {
	if k.Weights == "" {
		return nil, errors.New(`no weights: name the file of an EfficientNet-Lite under "weights"`)
	}
	return Open(k.Weights, k.Size)
}

func parseClass(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := struct {
		keys
		Class json.RawMessage `json:"class"`
	}{keys: keys{Size: DefaultSize}}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	if v.Class == nil {
		return nil, errors.New(`no class: give a number under "class"`)
	}
	text := string(v.Class)
	_ = json.Unmarshal(v.Class, &text) // a number stays as it is
	class, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("class = %.40s: the file of an EfficientNet-Lite has no names of classes: give a number",
			v.Class)
	}
	c, err := v.open()
	if err != nil {
		return nil, err
	}
	return c.LogProbability(class)
}

func parseEnergy(_ reward.Parser, raw []byte) (reward.Reward, error) {
	v := keys{Size: DefaultSize}
	if err := reward.Decode(raw, &v); err != nil {
		return nil, err
	}
	c, err := v.open()
	if err != nil {
		return nil, err
	}
	return c.Energy(), nil
}
