package experiment

import (
	"math"
	"strings"
	"testing"
)

// Weights are e^{λ r} whatever the sign of λ, and a sample without weight has none of either.
func TestTilt(t *testing.T) {
	rewards := []float64{0, 1, 2, -1e30}
	for _, lambda := range []float64{1.5, -1.5, 300, -300} {
		w, err := tilt(rewards, lambda, 0)
		if err != nil {
			t.Fatal(err)
		}
		total := 0.0
		for i, r := range rewards[:3] {
			total += w[i]
			if want := math.Exp(lambda * (r - 1)); lambda*lambda < 100 && math.Abs(w[i]/w[1]-want) > 1e-12*want {
				t.Errorf("λ = %g: weights %v, want %g times the second's for the reward %g", lambda, w, want, r)
			}
		}
		if w[3] != 0 || math.Abs(total-1) > 1e-12 {
			t.Errorf("λ = %g: weights %v, want none for the last and a sum of one", lambda, w)
		}
	}
	if _, err := tilt(rewards, 300, 2); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("one sample counts of two wanted: error %v", err)
	}
}
