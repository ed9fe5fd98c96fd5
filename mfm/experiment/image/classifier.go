package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// KindClassifier is the kind of a run that trained a classifier of images.
const KindClassifier = "classifier"

// ClassifierConfig is everything that a classifier of images depends on besides the images.
type ClassifierConfig struct {
	Network nn.ClassifierConfig `json:"network"`
	// Noised trains p(class | x_t, t) at x_t = α_t noise + β_t image of the linear interpolant,
	// with t uniform on [0, 1]; otherwise p(class | image).
	Noised bool `json:"noised"`
	// Shift is the largest random shift of the training images along each axis, in [0, 8] pixels.
	Shift int          `json:"shift"`
	Train train.Config `json:"train"`
}

// DefaultClassifierConfig is a small convolutional network. On two CPU cores it trains in three to
// five minutes, for noised images in twelve (data/weights/classifier*/log.json).
func DefaultClassifierConfig(noised bool) ClassifierConfig {
	c := ClassifierConfig{
		Network: nn.DefaultClassifier(), Noised: noised, Shift: 2, Train: mfm.DefaultTrainConfig().Config,
	}
	c.Train.Batch, c.Train.Steps = 128, 1500
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate = train.Adam, 2e-3
	c.Train.EMA = []float64{0.995}
	if noised {
		c.Network.Channels = []int{32, 96}
		c.Shift, c.Train.Steps = 0, 8000
	}
	return c
}

// Validate returns an error that names the first invalid value.
func (c ClassifierConfig) Validate() error {
	if err := c.Network.Validate(); err != nil {
		return err
	}
	if c.Shift < 0 || c.Shift > 8 {
		return fmt.Errorf("shift = %d: must lie in [0, 8] pixels", c.Shift)
	}
	return c.Train.Validate()
}

// CheckLabels returns an error unless every image has a label for which the network has a class,
// and a size that the network takes.
func (c ClassifierConfig) CheckLabels(images *data.Images) error {
	if images.Labels == nil {
		return fmt.Errorf("the %d images have no labels: load them together with their labels", images.N)
	}
	if err := images.Validate(); err != nil {
		return err
	}
	if _, err := images.ClassCounts(c.Network.Classes); err != nil {
		return fmt.Errorf("%w: network.classes = %d, these images need %d", err, c.Network.Classes, images.Classes())
	}
	if err := c.Network.CheckImage(images.Height, images.Width); err != nil {
		return fmt.Errorf("%w: %w", data.ErrSize, err)
	}
	return nil
}

// Classifier is a trained classifier of images.
type Classifier struct {
	Config ClassifierConfig
	Store  *model.Store
	exec   *model.Exec
	shape  []int
}

// TrainClassifier trains a classifier on images with labels, all of them below Network.Classes; see
// [run.Train].
func TrainClassifier(ctx context.Context, b compute.Backend, config ClassifierConfig, images *data.Images,
	o run.Options) (*Classifier, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := config.CheckLabels(images); err != nil {
		return nil, fmt.Errorf("training a classifier: %w", err)
	}
	source, err := train.DataSet(pixels(images), classes(images))
	if err != nil {
		return nil, err
	}
	trainer, err := train.New(b, config.objective(source), config.Train, config)
	if err != nil {
		return nil, err
	}
	shape := []int{images.Height, images.Width, images.Channels}
	o.DataHash, o.Shape = images.Hash(), shape
	store, err := run.TrainedStore(ctx, trainer, KindClassifier, config, o)
	if err != nil {
		return nil, err
	}
	return newClassifier(b, config, store, shape)
}

// OpenClassifier returns the classifier of the run in dir, for images of the given shape [height,
// width, channels]. A classifier of images of another shape is an error: its network takes them,
// but was not trained on them.
func OpenClassifier(b compute.Backend, dir string, shape []int) (*Classifier, error) {
	var config ClassifierConfig
	m, err := run.ReadConfig(dir, &config, KindClassifier)
	if err != nil {
		return nil, err
	}
	if m.Shape != nil && !slices.Equal(m.Shape, shape) {
		return nil, fmt.Errorf("run %s is a classifier of images of shape %v, these have %v: use one that was trained "+
			"on images of their size", dir, m.Shape, shape)
	}
	store, err := run.Open(dir, func() (map[string]shapes.Shape, error) {
		return train.Shapes(func(weights *model.Scope, g *Graph) {
			var t *Node
			if config.Noised {
				t = Zeros(g, shapes.Make(dtypes.Float32, 1))
			}
			x := Zeros(g, shapes.Make(dtypes.Float32, append([]int{1}, shape...)...))
			nn.Classifier(config.Network)(weights, x, t)
		})
	})
	if err != nil {
		return nil, err
	}
	return newClassifier(b, config, store, shape)
}

// objective returns the mean cross-entropy of a batch.
func (c ClassifierConfig) objective(source train.Source) train.Objective {
	return func(weights, data *model.Scope, rng *solver.RNG, step *Node) train.Terms {
		x, class := source(data, step.Graph(), rng, c.Train.Batch)
		x = shiftImages(rng, x, c.Shift)
		var t *Node
		if c.Noised {
			t = rng.Uniform(shapes.Make(x.DType(), c.Train.Batch))
			x = interpolant.StateAt(interpolant.Linear{}, t, rng.Normal(x.Shape()), x)
		}
		logits := LogSoftmax(nn.Classifier(c.Network)(weights.ResetVisited(), x, t), -1)
		likelihood := ReduceSum(Mul(logits, OneHot(class, c.Network.Classes, x.DType())), -1)
		return train.Terms{Total: Neg(ReduceAllMean(likelihood))}
	}
}

// shiftImages shifts a whole batch, [n, height, width, channels], by at most most pixels along each
// axis and fills the edges with the background, -1.
func shiftImages(rng *solver.RNG, x *Node, most int) *Node {
	if most == 0 {
		return x
	}
	// Relative to the background the new pixels are 0, as a matrix row without a one gives them.
	height, width := x.Shape().Dim(1), x.Shape().Dim(2)
	above := Einsum("nhwc,yh->nywc", OnePlus(x), shiftMatrix(rng, x.DType(), height, most))
	return MinusOne(Einsum("nywc,xw->nyxc", above, shiftMatrix(rng, x.DType(), width, most)))
}

// shiftMatrix returns a matrix [n, n] with a one where the row is the column plus a random whole
// number in [-most, most].
func shiftMatrix(rng *solver.RNG, dtype dtypes.DType, n, most int) *Node {
	shift := AddScalar(rng.Below(2*most+1), -float64(most))
	g, square := shift.Graph(), shapes.Make(dtypes.Int32, n, n)
	return ConvertDType(Equal(Iota(g, square, 0), Add(Iota(g, square, 1), shift)), dtype)
}

func newClassifier(b compute.Backend, config ClassifierConfig, store *model.Store, shape []int) (*Classifier, error) {
	exec, err := model.NewExec(b, store, func(root *model.Scope, t, x *Node) []*Node {
		if !config.Noised {
			t = nil
		}
		logits, features := nn.ClassifierFeatures(config.Network)(root.Store().Scope(train.WeightsScope), x, t)
		return []*Node{Softmax(logits, -1), features}
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the classifier: %w", err)
	}
	return &Classifier{Config: config, Store: store, exec: exec, shape: shape}, nil
}

// Probabilities returns p(class | x_t), [n][classes], for images [n, height, width, channels],
// flat, with pixels as in training. t is the time of all images, 1 for clean ones; a classifier of
// clean images ignores it.
func (c *Classifier) Probabilities(images []float32, t float64) ([][]float64, error) {
	probabilities, _, err := c.Evaluate(images, t)
	return probabilities, err
}

// Evaluate is [Classifier.Probabilities] with the features of each image, [n][features]. The logits
// are a linear function of the features.
func (c *Classifier) Evaluate(images []float32, t float64) (probabilities, features [][]float64, err error) {
	size := c.shape[0] * c.shape[1] * c.shape[2]
	if len(images)%size != 0 {
		return nil, nil, fmt.Errorf("classifying: %d pixels are not a whole number of images of shape %v",
			len(images), c.shape)
	}
	const chunk = 500 // images of a call; the last call is padded
	n := len(images) / size
	times := slices.Repeat([]float32{float32(t)}, chunk)
	for from := 0; from < n; from += chunk {
		to := min(from+chunk, n)
		batch := make([]float32, chunk*size)
		copy(batch, images[from*size:to*size])
		x := tensors.FromFlatDataAndDimensions(batch, append([]int{chunk}, c.shape...)...)
		out, err := c.exec.Call(tensors.FromFlatDataAndDimensions(times, chunk), x)
		if err != nil {
			return nil, nil, fmt.Errorf("classifying: %w", err)
		}
		for i, rows := range []*[][]float64{&probabilities, &features} {
			flat, err := tensors.CopyFlatData[float32](out[i])
			if err != nil {
				return nil, nil, fmt.Errorf("classifying: %w", err)
			}
			width := out[i].Shape().Dim(1)
			if k := slices.IndexFunc(flat[:(to-from)*width], func(v float32) bool { return v-v != 0 }); k >= 0 {
				return nil, nil, fmt.Errorf("classifying: image %d has a probability or feature that is not finite, %g: "+
					"check the image and the weights of the classifier", from+k/width, flat[k])
			}
			*rows = append(*rows, mfm.Rows(flat, width)[:to-from]...)
		}
	}
	return probabilities, features, nil
}

// Logits returns the logits of clean images as a graph function, for rewards. It passes a copy of
// the weights to the graph, in the scope that it receives. A classifier of noised images is an
// error.
func (c *Classifier) Logits() (reward.Logits, error) {
	if c.Config.Noised {
		return nil, errors.New("the classifier is for noised images: a reward needs one for clean images")
	}
	weights, err := run.Weights(c.Store)
	if err != nil {
		return nil, fmt.Errorf("classifier: %w", err)
	}
	hash, err := run.HashTensors(weights) // classifiers in one scope do not mix
	if err != nil {
		return nil, err
	}
	return func(scope *model.Scope, x *Node) *Node {
		if scope == nil {
			panic(errors.New("classifier: its weights need a graph with a store: use model.NewExec"))
		}
		scope = scope.In("classifier_%s", hash)
		store := scope.Store()
		for path, value := range weights {
			path = model.JoinPath(scope.Scope(), path)
			if store.GetVariable(path) == nil {
				own, err := value.LocalClone()
				if err == nil {
					_, err = store.CreateVariable(path, own)
				}
				if err != nil {
					panic(fmt.Errorf("classifier: weight %s: %w", path, err))
				}
			}
		}
		return nn.Classifier(c.Config.Network)(scope.ResetVisited(), x, nil)
	}, nil
}

// Accuracy returns the share of clean images whose most likely class is their label. A missing
// label, or one for which the classifier has no class, is an error.
func (c *Classifier) Accuracy(images *data.Images) (float64, error) {
	if err := c.Config.CheckLabels(images); err != nil {
		return 0, fmt.Errorf("accuracy of a classifier: %w", err)
	}
	probabilities, err := c.Probabilities(images.Float32(), 1)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, class := range stats.ArgMax(probabilities) {
		if class == int(images.Labels[i]) {
			right++
		}
	}
	return float64(right) / float64(images.N), nil
}

// ClassifierPreset returns the configuration of a classifier at a scale of [config.Presets]: quick
// is [DefaultClassifierConfig], full has three times the steps. Another name is an error.
func ClassifierPreset(name string, noised bool) (ClassifierConfig, error) {
	c := DefaultClassifierConfig(noised)
	full, err := config.Full(name)
	if full {
		c.Train.Steps *= 3
	}
	return c, err
}
