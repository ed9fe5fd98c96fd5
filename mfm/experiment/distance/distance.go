// Package distance compares sets of pictures by the features of a network, as the FID and the KID
// do.
//
// [OpenPictures] reads 8-bit pictures, [Extraction] computes their features, in shards and so that
// a stopped run resumes, and [ReadStatistics] and [ReadFeatures] read what others have published or
// stored. [OfMoments] and [OfFeatures] are the distances.
//
// The protocol is that of the Python package pytorch-fid: pictures have 8-bit levels, as in a PNG,
// those of a generator rounded before; the network resizes them to 299x299 pixels without
// antialiasing; the features are those of "pool3"; mean and covariance, with n-1, are in float64.
// The FID of few pictures is too large: it is to be quoted with their numbers, 50,000 in papers,
// and only for the features of the published weights ([Network.Name]).
package distance

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/gomfm/gomfm/mfm/metric"
)

// The names of the distance.
const (
	FID     = "FID" // for the features of the published weights, see [Network.Name]
	Frechet = "Fréchet distance"
)

// Result is the distance of samples from a reference.
type Result struct {
	Name     string `json:"name"`     // [FID] or [Frechet]
	Features string `json:"features"` // where they are from
	Dim      int    `json:"dim"`      // of a feature
	Samples  int    `json:"samples"`
	// Reference is the number of pictures of the reference, 0 for statistics that do not report it.
	Reference int `json:"reference,omitempty"`
	// Frechet is the squared Fréchet distance of Gaussians with the moments of the features, see
	// [metric.Frechet].
	Frechet float64 `json:"frechet"`
	// Kernel and Manifolds need all features. They are nil without those of the reference, or if the
	// configuration leaves them out.
	*Kernel
	*Manifolds
}

// Kernel is the mean and the standard deviation of the kernel distance over random subsets, see
// [metric.KernelSubsets]: the KID if the Fréchet distance is the FID.
type Kernel struct {
	Mean float64 `json:"kernel"`
	Std  float64 `json:"kernel_std"`
	metric.KernelSubsets
}

// Manifolds are precision and recall, see [metric.PrecisionRecall].
type Manifolds struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	Neighbors int     `json:"neighbors"`
}

// Config says how sets of features are compared.
type Config struct {
	// Of fewer features the size is that of the smaller set. 0 subsets mean no kernel distance.
	metric.KernelSubsets
	Neighbors int    `json:"neighbors"` // 0 means no precision and recall
	Seed      uint64 `json:"seed"`      // of the subsets
}

// DefaultConfig has 100 subsets of 1,000 features and 3 neighbors.
func DefaultConfig() Config {
	return Config{KernelSubsets: metric.DefaultKernelSubsets(), Neighbors: 3}
}

// Validate returns an error that names the first value out of range.
func (c Config) Validate() error {
	if c.Subsets < 0 || c.Size < 2 || c.Neighbors < 0 {
		return fmt.Errorf("subsets = %d, size = %d, neighbors = %d: must be at least 0, 2 and 0", c.Subsets, c.Size, c.Neighbors)
	}
	return nil
}

// OfMoments returns the Fréchet distance of samples from a reference, by their statistics. It
// returns an error if they have features of different numbers.
func OfMoments(samples, reference Statistics) (Result, error) {
	r := Result{Name: Frechet, Dim: len(samples.Mean), Samples: samples.N, Reference: reference.N}
	if d := len(reference.Mean); d != r.Dim {
		return r, fmt.Errorf("samples with %d features, the reference has %d: use features of one network", r.Dim, d)
	}
	var err error
	r.Frechet, err = metric.Frechet(samples.Moments, reference.Moments)
	return r, err
}

// OfFeatures returns all distances of samples, [n][dim], from a reference, [m][dim]. It returns an
// error unless both have more rows than c.Neighbors, at least two, and finite values. An ended ctx
// is an error.
func OfFeatures(ctx context.Context, samples, reference [][]float64, c Config) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	var both [2]Statistics
	for i, rows := range [][][]float64{samples, reference} {
		if err := CheckRows(rows, max(c.Neighbors+1, 2)); err != nil {
			return Result{}, fmt.Errorf("%s: %w", [2]string{"samples", "reference"}[i], err)
		}
		if len(rows[0]) != len(samples[0]) {
			return Result{}, fmt.Errorf("samples with %d features, the reference has %d: use features of one network",
				len(samples[0]), len(rows[0]))
		}
		m, err := metric.NewMoments(rows, nil)
		if err != nil {
			return Result{}, err
		}
		both[i] = Statistics{m, len(rows)}
	}
	r, err := OfMoments(both[0], both[1])
	if err != nil {
		return r, err
	}
	if c.Subsets > 0 {
		k := &Kernel{KernelSubsets: c.KernelSubsets}
		k.Size = min(k.Size, len(samples), len(reference))
		if k.Size == len(samples) && k.Size == len(reference) {
			k.Subsets = 1 // all others are the same
		}
		if k.Mean, k.Std, err = k.Distance(ctx, samples, reference, rand.New(rand.NewPCG(c.Seed, 0))); err != nil {
			return r, err
		}
		r.Kernel = k
	}
	if c.Neighbors > 0 {
		m := &Manifolds{Neighbors: c.Neighbors}
		if m.Precision, m.Recall, err = metric.PrecisionRecall(ctx, samples, reference, c.Neighbors); err != nil {
			return r, err
		}
		r.Manifolds = m
	}
	return r, nil
}

// String returns the distances as lines of text.
func (r Result) String() string {
	reference := "statistics that do not report the number of pictures"
	if r.Reference > 0 {
		reference = fmt.Sprintf("%d of the reference", r.Reference)
	}
	text := fmt.Sprintf("%s %.6g of %d samples from %s, by %d features of %s\n", r.Name, r.Frechet, r.Samples, reference, r.Dim,
		r.Features)
	if k := r.Kernel; k != nil {
		name := "kernel distance"
		if r.Name == FID {
			name = "KID"
		}
		if k.Subsets == 1 {
			text += fmt.Sprintf("%s %.6g, of one subset of %d\n", name, k.Mean, k.Size)
		} else {
			text += fmt.Sprintf("%s %.6g ± %.2g, mean and standard deviation over %d subsets of %d\n", name, k.Mean, k.Std,
				k.Subsets, k.Size)
		}
	}
	if m := r.Manifolds; m != nil {
		text += fmt.Sprintf("precision %.4f, recall %.4f, by %d neighbors\n", m.Precision, m.Recall, m.Neighbors)
	}
	return text
}
