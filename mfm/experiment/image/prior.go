package image

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/train"
)

// PriorConfig says how the mixture of a [mfm.MixturePrior] is fitted to images.
type PriorConfig struct {
	// Components is their number. With classes each class has the same part of it, rounded down, at
	// least one component and at most as many as it has rows.
	Components int `json:"components"`
	Rank       int `json:"rank"`  // dimension of the subspace that the mixture lies in
	Fit        int `json:"fit"`   // steps of expectation-maximization
	Steps      int `json:"steps"` // of the prior's flow, for each evaluation of the network
	// Moved is the number of copies of each image, shifted by at most a pixel, that the mixture is
	// also fitted to. A mixture fitted to the images alone is more accurate on them than on other
	// images.
	Moved int `json:"moved"`
}

// DefaultPrior is a mixture of 64 components in 60 dimensions, whose samples a classifier takes for
// digits.
func DefaultPrior() PriorConfig {
	return PriorConfig{Components: 64, Rank: 60, Fit: 15, Steps: 6, Moved: 4}
}

// validate returns an error unless the images are enough, of enough pixels.
func (c PriorConfig) validate(images *data.Images) error {
	if c.Fit < 1 || c.Steps < 1 || c.Moved < 0 {
		return fmt.Errorf("prior with fit = %d, steps = %d, moved = %d: must be at least 1, 1 and 0",
			c.Fit, c.Steps, c.Moved)
	}
	if images.Dim() > maxPixels {
		return fmt.Errorf("prior for images of %d values: a mixture is fitted to at most %d: "+
			"use the parametrization gaussian, or smaller images", images.Dim(), maxPixels)
	}
	if c.Rank < 1 || c.Rank >= images.Dim() {
		return fmt.Errorf("prior of rank %d for images of %d values: set prior.rank from 1 to %d, or use the "+
			"parametrization gaussian", c.Rank, images.Dim(), images.Dim()-1)
	}
	if n := images.N * (1 + c.Moved); n <= images.Dim() {
		return fmt.Errorf("%d images to train on, of %d values each: a mixture is fitted to them and %d shifted copies of "+
			"each, which must be more than the values: use the parametrization gaussian, or at least %d images to train on, "+
			"or smaller ones", images.N, images.Dim(), c.Moved, images.Dim()/(1+c.Moved)+1)
	}
	if c.Components < 1 || c.Components > images.N*(1+c.Moved) {
		return fmt.Errorf("prior of %d components for %d images and %d shifted copies of each: set prior.components from 1 "+
			"to their number", c.Components, images.N, c.Moved)
	}
	return nil
}

// fit returns the prior, with its numbers rounded to float32 as in the run's folder. With classes,
// 0 for none, an equal number of components is fitted to each, at most the number of its rows. The
// same images give the same prior. It is an error if ctx ends.
func (c PriorConfig) fit(ctx context.Context, images *data.Images, classes int) (*mfm.MixturePrior, error) {
	rng := rand.New(rand.NewPCG(0, 0))
	rows, of, err := c.rows(images, maxFitted, rng)
	if err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	var labels []int32
	p, err := mfm.FitMixturePrior(rows, c.Rank, c.Steps, func(z [][]float64, floor float64) (*gmm.Mixture, error) {
		config := gmm.FitConfig{Components: c.Components, Steps: c.Fit, Floor: floor}
		if classes == 0 {
			return gmm.Fit(ctx, z, config, rng)
		}
		counts, err := images.ClassCounts(classes)
		if err != nil {
			return nil, err
		}
		config.Components = max(c.Components/classes, 1)
		var parts []*gmm.Mixture
		var shares []float64
		for class := range int32(classes) {
			var own [][]float64
			for i, row := range z {
				if images.Labels[of[i]] == class {
					own = append(own, row)
				}
			}
			config := config
			config.Components = min(config.Components, len(own))
			part, err := gmm.Fit(ctx, own, config, rng)
			if err != nil {
				return nil, fmt.Errorf("class %d: %w", class, err)
			}
			parts, shares = append(parts, part), append(shares, float64(counts[class]))
			labels = append(labels, slices.Repeat([]int32{class}, part.Len())...)
		}
		return gmm.Join(parts, shares)
	})
	if err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	p.Labels = labels
	return priorOf(priorTensors(p), c.Steps)
}

// rows returns the rows that the mixture is fitted to, and for each the index of its image: all
// images and their shifted copies, or most of these at random, with a row of each class.
func (c PriorConfig) rows(images *data.Images, most int, rng *rand.Rand) (rows [][]float64, of []int, err error) {
	var chosen [][]int // images of each copy
	if total := images.N * (1 + c.Moved); total > most {
		chosen = make([][]int, 1+c.Moved)
		for _, k := range someOfEach(images, rng.Perm(total), most) {
			chosen[k/images.N] = append(chosen[k/images.N], k%images.N)
		}
	}
	for copied := range 1 + c.Moved {
		part := images
		if copied > 0 {
			part = images.Moved(rng, 1)
		}
		if chosen == nil {
			rows = append(rows, mfm.Rows(part.Float32(), part.Dim())...)
			for i := range images.N {
				of = append(of, i)
			}
			continue
		}
		if part, err = part.Subset(chosen[copied]); err != nil {
			return nil, nil, err
		}
		rows, of = append(rows, mfm.Rows(part.Float32(), part.Dim())...), append(of, chosen[copied]...)
	}
	return rows, of, nil
}

// someOfEach returns the first most rows of an order, the first one of each class before the
// others. The image of row k is k modulo the number of images.
func someOfEach(images *data.Images, order []int, most int) []int {
	if images.Labels == nil {
		return order[:most]
	}
	var first, rest []int
	seen := make(map[int32]bool)
	for _, k := range order {
		if label := images.Labels[k%images.N]; !seen[label] {
			seen[label], first = true, append(first, k)
		} else {
			rest = append(rest, k)
		}
	}
	return append(first, rest...)[:most]
}

// refit returns p, the prior of the images, after one step of expectation-maximization with the
// images weighted. The components of a class see the images of the class alone.
func (c PriorConfig) refit(p *mfm.MixturePrior, images *data.Images, weights []float64) (*mfm.MixturePrior, error) {
	rows, of, err := c.rows(images, maxFitted, rand.New(rand.NewPCG(0, 0)))
	if err != nil {
		return nil, err
	}
	weight := make([]float64, len(rows))
	for i, image := range of {
		weight[i] = weights[image]
	}
	if p.Labels == nil {
		return p.Refit(rows, weight)
	}
	total := floats.Sum(weight)
	var parts []*gmm.Mixture
	var shares []float64
	var labels []int32
	for class := range slices.Max(p.Labels) + 1 {
		part, err := partOf(p, class)
		if err != nil {
			return nil, err
		}
		own := make([]float64, len(weight))
		for i, image := range of {
			if images.Labels[image] == class {
				own[i] = weight[i]
			}
		}
		share := floats.Sum(own)
		if share > 0 { // a class without weight keeps its components
			if part, err = part.Refit(rows, own); err != nil {
				return nil, fmt.Errorf("class %d: %w", class, err)
			}
		}
		parts, shares = append(parts, part.Mixture), append(shares, max(share, 1e-6*total))
		labels = append(labels, slices.Repeat([]int32{class}, part.Mixture.Len())...)
	}
	refitted := *p
	refitted.Labels = labels
	refitted.Mixture, err = gmm.Join(parts, shares)
	return &refitted, err
}

// partOf returns the prior with the components of one class alone, without labels.
func partOf(p *mfm.MixturePrior, class int32) (*mfm.MixturePrior, error) {
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	for k, label := range p.Labels {
		if label == class {
			mean, covariance := p.Mixture.Component(k)
			weights = append(weights, p.Mixture.Weights()[k])
			means, covariances = append(means, mean), append(covariances, covariance)
		}
	}
	part := *p
	part.Labels = nil
	var err error
	part.Mixture, err = gmm.New(weights, means, covariances)
	return &part, err
}

// maxPixels is the largest number of values of an image that a mixture is fitted to: time grows
// with its third power.
const maxPixels = 4096

// maxFitted is the largest number of rows that a mixture is fitted to, a random part of more; it
// bounds time and memory.
const maxFitted = 50_000

// priorFile keeps the prior of a run whose parametrization is a mixture.
const priorFile = "prior.safetensors"

// priorRun returns the folder of the run whose kept prior a training with options o uses: its own
// if that has begun, else that of the run whose weights it starts with. The rounding of another
// machine then does not change the prior of a network. It is empty if there is no such run.
func priorRun(o run.Options) string {
	if o.Dir != "" && run.Begun(o.Dir) {
		return o.Dir
	}
	return o.Init
}

// keepPrior writes the prior, if the map has one, to a run's folder.
func (e *Experiment) keepPrior(dir string) error {
	p, mixture := e.Map.Parametrization.(*mfm.MixturePrior)
	if !mixture {
		return nil
	}
	return checkpoint.WriteWeights(filepath.Join(dir, priorFile), priorTensors(p), nil)
}

// readPrior returns the prior that the run in dir keeps, for images of dim pixels. Tensors that are
// not exactly those of the configured prior are a [train.FitError], wrapped.
func readPrior(dir string, c PriorConfig, dim, classes int) (*mfm.MixturePrior, error) {
	var p *mfm.MixturePrior
	_, _, err := checkpoint.ReadFitting(filepath.Join(dir, priorFile), func(kept checkpoint.Tensors) (err error) {
		if p, err = fittingPrior(kept, c, dim, classes); err != nil {
			return fmt.Errorf("run %s: %s: %w", dir, priorFile, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// fittingPrior returns the prior that tensors are, or a [train.FitError]. Its components may be
// those of a number of classes.
func fittingPrior(kept checkpoint.Tensors, c PriorConfig, dim, classes int) (*mfm.MixturePrior, error) {
	n := c.Components
	if kept[priorLabels] != nil && classes > 0 { // the prior of a map of classes
		n = classes * max(n/classes, 1)
	}
	if w := kept["weights"]; w != nil && w.Shape().Rank() == 1 {
		n = min(n, w.Shape().Dim(0)) // the fit drops components that lose their samples
	}
	want := make(map[string]shapes.Shape)
	for name, dims := range map[string][]int{
		"mean": {dim}, "variance": {1}, "basis": {dim, c.Rank}, "rest": {1},
		"weights": {n}, "means": {n, c.Rank}, "covariances": {n, c.Rank, c.Rank},
	} {
		want[name] = shapes.Make(dtypes.Float32, dims...)
	}
	if kept[priorLabels] != nil {
		want[priorLabels] = shapes.Make(dtypes.Float32, n)
	}
	if err := train.Fit(kept, want); err != nil {
		return nil, err
	}
	return priorOf(kept, c.Steps)
}

// priorLabels names the classes of the components.
const priorLabels = "labels"

func priorTensors(p *mfm.MixturePrior) checkpoint.Tensors {
	rank, n := p.Mixture.Dim(), p.Mixture.Len()
	flat := func(rows [][]float64) (out []float64) {
		for _, row := range rows {
			out = append(out, row...)
		}
		return out
	}
	var means, covariances []float64
	for k := range n {
		mean, covariance := p.Mixture.Component(k)
		means, covariances = append(means, mean...), append(covariances, flat(covariance)...)
	}
	dim := len(p.Basis)
	kept := checkpoint.Tensors{
		"mean":        float32s(p.Gaussian.Mean, dim),
		"variance":    float32s(p.Gaussian.Variance, 1),
		"basis":       float32s(flat(p.Basis), dim, rank),
		"rest":        float32s([]float64{p.Rest}, 1),
		"weights":     float32s(p.Mixture.Weights(), n),
		"means":       float32s(means, n, rank),
		"covariances": float32s(covariances, n, rank, rank),
	}
	if p.Labels != nil {
		labels := make([]float64, n)
		for i, label := range p.Labels {
			labels[i] = float64(label)
		}
		kept[priorLabels] = float32s(labels, n)
	}
	return kept
}

func float32s(values []float64, dims ...int) *tensors.Tensor {
	flat := make([]float32, len(values))
	for i, v := range values {
		flat[i] = float32(v)
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}

// priorOf is the inverse of priorTensors and validates the numbers.
func priorOf(kept checkpoint.Tensors, steps int) (*mfm.MixturePrior, error) {
	values := make(map[string][]float64)
	for name, t := range kept {
		flat, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, fmt.Errorf("prior: %s: %w", name, err)
		}
		for _, v := range flat {
			values[name] = append(values[name], float64(v))
		}
	}
	rank, n := kept["basis"].Shape().Dim(1), len(values["weights"])
	means, covariances := make([][]float64, n), make([][][]float64, n)
	for k := range n {
		means[k] = values["means"][k*rank:][:rank]
		covariances[k] = rowsOf(values["covariances"][k*rank*rank:][:rank*rank], rank)
	}
	mixture, err := gmm.New(values["weights"], means, covariances)
	if err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	p := &mfm.MixturePrior{
		Gaussian: &mfm.Gaussian{Mean: values["mean"], Variance: values["variance"]},
		Basis:    rowsOf(values["basis"], rank), Mixture: mixture, Rest: values["rest"][0], Steps: steps,
	}
	for _, label := range values[priorLabels] {
		if label != math.Trunc(label) || math.Abs(label) > 1<<20 {
			return nil, fmt.Errorf("prior: label %g: must be a class", label)
		}
		p.Labels = append(p.Labels, int32(label))
	}
	return p, p.Validate()
}

func rowsOf(flat []float64, columns int) [][]float64 {
	out := make([][]float64, len(flat)/columns)
	for i := range out {
		out[i] = flat[i*columns:][:columns]
	}
	return out
}
