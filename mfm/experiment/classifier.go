package experiment

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// ClassifierConfig is everything that a classifier of images depends on, but for the images.
type ClassifierConfig struct {
	Network nn.ClassifierConfig `json:"network"`
	// Noised trains p(class | x_t, t) on x_t = α_t noise + β_t image with t uniform on [0, 1]; otherwise p(class | image).
	Noised bool `json:"noised"`
	// Shift is the largest shift, in pixels along each axis, by which images are moved at random while training.
	Shift int          `json:"shift"`
	Train train.Config `json:"train"`
}

// DefaultClassifierConfig is a small convolutional network, trained in three to five minutes on two CPU cores, one of noised images in twelve (data/weights/classifier*/log.json).
func DefaultClassifierConfig(noised bool) ClassifierConfig {
	c := ClassifierConfig{Network: nn.DefaultClassifier(), Noised: noised, Shift: 2, Train: mfm.DefaultTrainConfig().Config}
	c.Train.Batch, c.Train.Steps = 128, 1500
	c.Train.Optimizer.Method, c.Train.Optimizer.Rate = "adam", 2e-3
	c.Train.EMA = []float64{0.995}
	if noised {
		c.Network.Channels = []int{32, 96}
		c.Shift, c.Train.Steps = 0, 8000
	}
	return c
}

// Validate returns an error that names the first value that makes no sense.
func (c ClassifierConfig) Validate() error {
	if err := c.Network.Validate(); err != nil {
		return err
	}
	if c.Shift < 0 || c.Shift > 8 {
		return fmt.Errorf("shift = %d: must lie in [0, 8] pixels", c.Shift)
	}
	return c.Train.Validate()
}

// CheckLabels returns an error unless every image has a label, and the network a class for it.
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
	return nil
}

// Classifier is a classifier of images with its weights.
type Classifier struct {
	Config ClassifierConfig
	store  *model.Store
	exec   *model.Exec
	shape  []int
}

// TrainClassifier trains a classifier on images with labels, all of them below Network.Classes; see [Run].
func TrainClassifier(ctx context.Context, b compute.Backend, config ClassifierConfig, images *data.Images, o RunOptions) (*Classifier, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := config.CheckLabels(images); err != nil {
		return nil, fmt.Errorf("training a classifier: %w", err)
	}
	source, err := train.DataSet(tensors.FromFlatDataAndDimensions(images.Float32(), images.N, images.Height, images.Width, images.Channels), classes(images))
	if err != nil {
		return nil, err
	}
	trainer, err := train.New(b, config.objective(source), config.Train, config)
	if err != nil {
		return nil, err
	}
	if err := Run(ctx, trainer, KindClassifier, config, o); err != nil {
		return nil, err
	}
	store, err := trained(trainer)
	if err != nil {
		return nil, err
	}
	return newClassifier(b, config, store, []int{images.Height, images.Width, images.Channels})
}

// OpenClassifier returns the classifier of the run in dir, for images of the given shape [height, width, channels].
func OpenClassifier(b compute.Backend, dir string, shape []int) (*Classifier, error) {
	manifest, err := readManifest(dir, KindClassifier)
	if err != nil {
		return nil, err
	}
	var config ClassifierConfig
	if err := decodeStrict(manifest.Config, &config); err != nil {
		return nil, fmt.Errorf("run %s: %s: %w", dir, configFile, err)
	}
	store := model.NewStore()
	if err := loadWeights(store, dir); err != nil {
		return nil, err
	}
	return newClassifier(b, config, store, shape)
}

// objective is the mean cross-entropy of a batch.
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
		loss := Neg(ReduceAllMean(likelihood))
		return train.Terms{Total: loss, Diagonal: loss, Consistency: ZerosLike(loss)}
	}
}

// shiftImages moves the whole batch, [n, height, width, channels], by up to most pixels along each axis; the background, -1, comes in at the edges.
func shiftImages(rng *solver.RNG, x *Node, most int) *Node {
	if most == 0 {
		return x
	}
	// Above the background, what comes in is zero, as from a row of the matrix of a shift without a one in it.
	height, width := x.Shape().Dim(1), x.Shape().Dim(2)
	above := Einsum("nhwc,yh->nywc", OnePlus(x), shiftMatrix(rng, x.DType(), height, most))
	return MinusOne(Einsum("nywc,xw->nyxc", above, shiftMatrix(rng, x.DType(), width, most)))
}

// shiftMatrix returns a matrix [n, n] with a one where the row is the column plus a random whole number in [-most, most].
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
	return &Classifier{Config: config, store: store, exec: exec, shape: shape}, nil
}

// Probabilities returns p(class | x_t) for flat images, [n, height, width, channels] with pixels as in training, as rows [n][classes]. t is the
// time of all of them, 1 for clean ones; a classifier that is not noised ignores it.
func (c *Classifier) Probabilities(images []float32, t float64) ([][]float64, error) {
	probabilities, _, err := c.Evaluate(images, t)
	return probabilities, err
}

// Evaluate is [Classifier.Probabilities] with the features of each image, [n][features], of which the classifier's logits are a linear function.
func (c *Classifier) Evaluate(images []float32, t float64) (probabilities, features [][]float64, err error) {
	size := c.shape[0] * c.shape[1] * c.shape[2]
	if len(images)%size != 0 {
		return nil, nil, fmt.Errorf("classifying: %d pixels are not a whole number of images of shape %v", len(images), c.shape)
	}
	const chunk = 500 // one compiled size; the last call is filled up
	n := len(images) / size
	times := make([]float32, chunk)
	for i := range times {
		times[i] = float32(t)
	}
	for from := 0; from < n; from += chunk {
		to := min(from+chunk, n)
		batch := make([]float32, chunk*size)
		copy(batch, images[from*size:to*size])
		out, err := c.exec.Call(tensors.FromFlatDataAndDimensions(times, chunk), tensors.FromFlatDataAndDimensions(batch, append([]int{chunk}, c.shape...)...))
		if err != nil {
			return nil, nil, fmt.Errorf("classifying: %w", err)
		}
		for i, rows := range []*[][]float64{&probabilities, &features} {
			flat, err := tensors.CopyFlatData[float32](out[i])
			if err != nil {
				return nil, nil, fmt.Errorf("classifying: %w", err)
			}
			*rows = append(*rows, mfm.Rows(flat, out[i].Shape().Dim(1))[:to-from]...)
		}
	}
	return probabilities, features, nil
}

// Logits returns the classifier's logits of clean images as a graph function for graphs of another store, such as a map's, into which the weights are copied below the scope called name.
func (c *Classifier) Logits(store *model.Store, name string) (reward.Logits, error) {
	if c.Config.Noised {
		return nil, fmt.Errorf("classifier %q is one of noised images: a reward looks at clean ones", name)
	}
	scope := model.JoinPath(model.RootScopePath, "classifier", name)
	for v := range c.store.IterVariables() {
		path, weight := strings.CutPrefix(v.Path(), train.WeightsScope)
		if !weight {
			continue
		}
		value, err := v.Value()
		if err == nil {
			value, err = value.LocalClone()
		}
		if err == nil {
			_, err = store.CreateVariable(scope+path, value)
		}
		if err != nil {
			return nil, fmt.Errorf("classifier %q: %w", name, err)
		}
	}
	return func(x *Node) *Node { return nn.Classifier(c.Config.Network)(store.Scope(scope).ResetVisited(), x, nil) }, nil
}

// Accuracy returns the share of clean images whose likeliest class is their label. Images without labels, or with one that the classifier does not know, are an error.
func (c *Classifier) Accuracy(images *data.Images) (float64, error) {
	if err := c.Config.CheckLabels(images); err != nil {
		return 0, fmt.Errorf("accuracy of a classifier: %w", err)
	}
	probabilities, err := c.Probabilities(images.Float32(), 1)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, p := range probabilities {
		if argmax(p) == int(images.Labels[i]) {
			right++
		}
	}
	return float64(right) / float64(images.N), nil
}

func argmax(p []float64) int {
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	return best
}
