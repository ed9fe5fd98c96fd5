package tuning

import (
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
)

// ClassShares returns the shares of the classes among paths and samples of a tuning, which sum to
// 1: those among labels, or all for the configured class. It returns nil for a map without classes.
// labels are in [0, classes).
func (c Config) ClassShares(classes int, labels []int32) []float64 {
	if classes > 0 && c.Class != nil {
		labels = []int32{int32(*c.Class)}
	}
	return stats.ClassShares(classes, labels)
}

// Draws returns the arguments each and labels of a sampler's Unconditional for the samples of an
// evaluation: c.Samples without labels if shares is nil, else one sample for each of c.Samples
// labels, drawn by their shares with the seed c.Seed.
func (c EvalConfig) Draws(shares []float64) (each int, labels []int32) {
	if shares == nil {
		return c.Samples, nil
	}
	return 1, stats.Labels(c.Seed, c.Samples, shares)
}
