package metric

import (
	"context"
	"math/rand/v2"
	"testing"
)

// On a line everything is seen: with k = 1 the radius of a row is the distance to its neighbor.
func TestPrecisionRecall(t *testing.T) {
	reference := [][]float64{{0}, {1}, {3}, {10}}                // balls [-1, 1], [0, 2], [1, 5], [3, 17]
	samples := [][]float64{{2}, {2.5}, {-1}, {-1.5}, {17}, {18}} // radii 0.5, 0.5, 0.5, 0.5, 1, 1
	precision, recall, err := PrecisionRecall(t.Context(), samples, reference, 1)
	// 2, 2.5, -1 and 17 lie in balls of the reference, the last two on rims; 3 on that of 2.5.
	if err != nil || precision != 4./6 || recall != 1./4 {
		t.Errorf("precision %g, recall %g, error %v, want 2/3 and 1/4", precision, recall, err)
	}
	// With k = 3 the balls of the reference reach to 10, 9, 7 and 10.
	precision, recall, err = PrecisionRecall(t.Context(), samples, reference, 3)
	if err != nil || precision != 1 || recall != 1 {
		t.Errorf("k = 3: precision %g, recall %g, error %v, want 1", precision, recall, err)
	}
	// A set has both with itself, also of equal rows.
	rng := rand.New(rand.NewPCG(1, 2))
	x := normals(rng, 40, 300, 0)
	x = append(x, x[0], x[0], x[0])
	if precision, recall, err := PrecisionRecall(t.Context(), x, x, 2); err != nil || precision != 1 || recall != 1 {
		t.Errorf("precision %g and recall %g of a set with itself (%v)", precision, recall, err)
	}
	if precision, recall, err := PrecisionRecall(t.Context(), x, normals(rng, 40, 300, 1e3), 2); err != nil ||
		precision != 0 || recall != 0 {
		t.Errorf("precision %g and recall %g of a set far away (%v)", precision, recall, err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	for name, fails := range map[string]func() error{
		"k = 0":     func() error { _, _, err := PrecisionRecall(t.Context(), x, x, 0); return err },
		"few":       func() error { _, _, err := PrecisionRecall(t.Context(), x[:3], x, 3); return err },
		"dimension": func() error { _, _, err := PrecisionRecall(t.Context(), samples, x, 1); return err },
		"ended":     func() error { _, _, err := PrecisionRecall(ended, x, x, 1); return err },
	} {
		if fails() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
