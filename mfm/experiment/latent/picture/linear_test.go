package picture

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Two points at ±1 with weights w and -w have the loss log(1 + e^{-2w}) + λw², with its minimum
// where 1/(1 + e^{2w}) = λw.
func TestLinearFitClosedForm(t *testing.T) {
	var features [][]float64
	var labels []int32
	for i := range 10 {
		features = append(features, []float64{3 + 2*float64(1-i%2*2), 7}) // the second is constant
		labels = append(labels, int32(i%2))
	}
	for _, penalty := range []float64{1, 0.1, 0.001} {
		c := newLinear(features, 2)
		if err := c.fit(features, labels, penalty); err != nil {
			t.Fatal(err)
		}
		w := c.weights.At(0, 0)
		if d := 1/(1+math.Exp(2*w)) - penalty*w; math.Abs(d) > 2*linearGradient ||
			math.Abs(c.weights.At(0, 1)+w) > 1e-3 || c.weights.At(1, 0) != 0 || math.Abs(c.weights.At(2, 0)) > 1e-3 {
			t.Errorf("penalty %g: weights %v, derivative %g", penalty, c.weights.RawMatrix().Data, d)
		}
	}
	// Without features the biases are the logarithms of the frequencies up to a constant.
	for i := range features {
		features[i][0], labels[i] = 0, min(int32(i%3), 1)
	}
	c := newLinear(features, 2)
	if err := c.fit(features, labels, 1); err != nil {
		t.Fatal(err)
	}
	if got := c.weights.At(2, 1) - c.weights.At(2, 0); math.Abs(got-math.Log(6./4)) > 1e-4 {
		t.Errorf("difference of the biases is %g, want log 1.5", got)
	}
}

func TestLinearGradient(t *testing.T) {
	features, labels := clusters(20, 4, 1)
	c := newLinear(features, 3)
	loss := newLinearLoss(c.standardized(features), labels, 3, 0.7)
	w := make([]float64, 5*3)
	for i := range w {
		w[i] = math.Sin(float64(i))
	}
	gradient := slices.Clone(loss.gradient(w))
	for i := range w {
		const step = 1e-5
		w[i] += step
		above := loss.value(w)
		w[i] -= 2 * step
		below := loss.value(w)
		w[i] += step
		if d := (above - below) / (2 * step); math.Abs(d-gradient[i]) > 1e-8 {
			t.Errorf("derivative %d is %g, want %g", i, gradient[i], d)
		}
	}
}

// clusters returns examples of three classes: normal about 3 times the class's unit vector, times
// size.
func clusters(n, dim int, size float64) (features [][]float64, labels []int32) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		x := make([]float64, dim)
		for j := range x {
			x[j] = rng.NormFloat64()
		}
		x[i%3] += 3 * size
		features, labels = append(features, x), append(labels, int32(i%3))
	}
	return features, labels
}

// A classifier names new examples of distinct classes right, and takes a large penalty if labels do
// not depend on features.
func TestFitLinear(t *testing.T) {
	features, labels := clusters(600, 20, 1)
	c, err := fitLinear(features[:300], labels[:300], 3)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, class := range c.predict(features[300:]) {
		if class == labels[300+i] {
			right++
		}
	}
	// The best classifier is right if a normal number exceeds two others less 3: in 97.1 %.
	if right < 279 || right > 300 {
		t.Errorf("%d of 300 named right, want 291", right)
	}
	again, err := fitLinear(features[:300], labels[:300], 3)
	if err != nil || again.penalty != c.penalty ||
		!slices.Equal(again.weights.RawMatrix().Data, c.weights.RawMatrix().Data) {
		t.Errorf("another fit has other weights: %v", err)
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	if c, err = fitLinear(features, labels, 3); err != nil || c.penalty < 1 {
		t.Errorf("random labels: penalty %v, %v", c.penalty, err)
	}
}

func TestFitLinearErrors(t *testing.T) {
	for want, change := range map[string]func(x *[][]float64, labels *[]int32){
		"19 labels":      func(_ *[][]float64, labels *[]int32) { *labels = (*labels)[1:] },
		"at least 5":     func(x *[][]float64, labels *[]int32) { *x, *labels = (*x)[:4], (*labels)[:4] },
		"of 3 classes":   func(_ *[][]float64, labels *[]int32) { (*labels)[3] = 3 },
		"not finite":     func(x *[][]float64, _ *[]int32) { (*x)[3][0] = math.Inf(1) },
		"has 2 features": func(x *[][]float64, _ *[]int32) { (*x)[3] = (*x)[3][:2] },
	} {
		x, labels := clusters(20, 4, 1)
		change(&x, &labels)
		if _, err := fitLinear(x, labels, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
