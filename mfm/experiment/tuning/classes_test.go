package tuning_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/tuning"
)

// The shares are those of the labels, or all for the configured class.
func TestClassShares(t *testing.T) {
	labels := []int32{2, 0, 2, 2}
	class := 1
	for name, tc := range map[string]struct {
		classes int
		class   *int
		want    []float64
	}{
		"without classes": {0, nil, nil},
		"of the labels":   {3, nil, []float64{0.25, 0, 0.75}},
		"of one class":    {3, &class, []float64{0, 1, 0}},
	} {
		got := tuning.Config{Class: tc.class}.ClassShares(tc.classes, labels)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// Labels are drawn by their shares, within four standard errors, and equally with the same seed.
func TestDraws(t *testing.T) {
	config := tuning.EvalConfig{Samples: 20_000, Steps: 1, Seed: 3}
	if each, labels := config.Draws(nil); each != config.Samples || labels != nil {
		t.Errorf("without classes %d of %v", each, labels)
	}
	shares := []float64{0.1, 0, 0.9}
	each, labels := config.Draws(shares)
	counts := make([]float64, len(shares))
	for _, label := range labels {
		counts[label]++
	}
	n := float64(config.Samples)
	for class, share := range shares {
		if se := math.Sqrt(share * (1 - share) / n); !(math.Abs(counts[class]/n-share) <= 4*se) {
			t.Errorf("class %d has the share %g, want %g ± %g", class, counts[class]/n, share, se)
		}
	}
	_, again := config.Draws(shares)
	config.Seed++
	_, other := config.Draws(shares)
	if each != 1 || len(labels) != config.Samples || !slices.Equal(labels, again) || slices.Equal(labels, other) {
		t.Errorf("%d of each of %d labels, equal again %t", each, len(labels), slices.Equal(labels, again))
	}
}
