package steering

import (
	"math"
	"strings"
	"testing"
)

// Weights are e^{λ r} for any sign of λ. A sample that the reward gives no weight has none for
// either sign.
func TestTiltedWeights(t *testing.T) {
	rewards := []float64{0, 1, 2, -1e30}
	for _, lambda := range []float64{1.5, -1.5, 300, -300} {
		w, err := TiltedWeights(rewards, lambda, 0)
		if err != nil {
			t.Fatal(err)
		}
		total := 0.0
		for i, r := range rewards[:3] {
			total += w[i]
			if want := math.Exp(lambda * (r - 1)); lambda*lambda < 100 && math.Abs(w[i]/w[1]-want) > 1e-12*want {
				t.Errorf("λ = %g: weights %v, want %g times the second one for the reward %g", lambda, w, want, r)
			}
		}
		if w[3] != 0 || math.Abs(total-1) > 1e-12 {
			t.Errorf("λ = %g: weights %v, want zero for the last and a sum of one", lambda, w)
		}
	}
	if _, err := TiltedWeights(rewards, 300, 2); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("an effective number of one, with two required: error %v", err)
	}
}
