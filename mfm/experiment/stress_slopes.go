package experiment

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
)

// BaseMeasure is one of the errors in a [BaseRow].
type BaseMeasure struct {
	Name string
	Of   func(r BaseRow) float64
}

// BaseMeasures lists the errors of what is made of a base.
func BaseMeasures() []BaseMeasure {
	return []BaseMeasure{
		{"drift", func(r BaseRow) float64 { return r.Map }},
		{"samples", func(r BaseRow) float64 { return r.Samples }},
		{"posteriors", func(r BaseRow) float64 { return r.Posterior }},
		{"value", func(r BaseRow) float64 { return r.Value }},
		{"steering", func(r BaseRow) float64 { return r.Steering }},
		{"tuning", func(r BaseRow) float64 { return r.Tuning }},
	}
}

// BaseCurve is how an error grows with that of the base, for one perturbation and distillation: a point for each size, from the smallest.
type BaseCurve struct {
	// Base is the base's error. Error is the root mean square, over seeds, of what is made of it, SE its standard error, 0 of a single seed.
	Base, Error, SE []float64
	// Plain is the same error of maps of the true base: what training, sampling and estimating cost by themselves.
	Plain float64
	// Beyond is what the error is beyond Plain, √(Error² - Plain²) as if the two were independent; NaN where it does not stand out, being less than Plain.
	Beyond []float64
	// BeyondSE is its standard error by those of Error and Plain over seeds, 0 of a single seed.
	BeyondSE []float64
	// Slope is that of log Beyond by log Base, by least squares over the points that stand out; NaN for fewer than two. At 1 an error is passed on in proportion. SlopeSE is its standard error: the larger of what those of
	// Error and Plain make and what the points scatter by about the line, which two points do not; NaN where there is neither.
	Slope, SlopeSE float64
}

// NewBaseCurve returns the curve of a measure from the rows of the stress test, but for those that diverged.
func NewBaseCurve(rows []BaseRow, p Perturbation, d mfm.Distillation, m BaseMeasure) BaseCurve {
	bySize := make(map[float64][]BaseRow)
	var plain []BaseRow
	for _, r := range rows {
		switch {
		case r.Distillation != d || r.Diverged != "":
		case r.Size == 0:
			plain = append(plain, r)
		case r.Perturbation == p:
			bySize[r.Size] = append(bySize[r.Size], r)
		}
	}
	// rms returns the root mean square and its standard error, by that of the mean square.
	rms := func(rows []BaseRow, of func(r BaseRow) float64) (float64, float64) {
		squares := make([]float64, len(rows))
		for i, r := range rows {
			squares[i] = of(r) * of(r)
		}
		mean, se := meanSE(squares)
		root := math.Sqrt(mean)
		return root, se / (2 * root)
	}
	c := BaseCurve{Slope: math.NaN(), SlopeSE: math.NaN()}
	var plainSE float64
	c.Plain, plainSE = rms(plain, m.Of)
	var x, y, own, shared []float64 // relative errors of Beyond: by each point's own error, and by that of Plain, which they share
	sizes := make([]float64, 0, len(bySize))
	for size := range bySize {
		sizes = append(sizes, size)
	}
	slices.SortFunc(sizes, func(a, b float64) int { return cmp.Compare(a, b) })
	for _, size := range sizes {
		base, _ := rms(bySize[size], func(r BaseRow) float64 { return r.Base })
		e, se := rms(bySize[size], m.Of)
		beyond, beyondSE := math.NaN(), math.NaN()
		if e*e >= 2*c.Plain*c.Plain {
			beyond = math.Sqrt(e*e - c.Plain*c.Plain)
			beyondSE = math.Hypot(e*se, c.Plain*plainSE) / beyond
			x, y = append(x, math.Log(base)), append(y, math.Log(beyond))
			own, shared = append(own, e*se/(beyond*beyond)), append(shared, c.Plain*plainSE/(beyond*beyond))
		}
		c.Base, c.Error, c.SE = append(c.Base, base), append(c.Error, e), append(c.SE, se)
		c.Beyond, c.BeyondSE = append(c.Beyond, beyond), append(c.BeyondSE, beyondSE)
	}
	if n := len(x); n >= 2 {
		var at float64
		at, c.Slope = stat.LinearRegression(x, y, nil, false)
		center, square := stat.Mean(x, nil), stat.Variance(x, nil)*float64(n-1)
		var residual, common float64
		c.SlopeSE = 0
		for i := range x {
			residual += math.Pow(y[i]-at-c.Slope*x[i], 2)
			c.SlopeSE = math.Hypot(c.SlopeSE, own[i]*(x[i]-center)/square)
			common += shared[i] * (x[i] - center) / square
		}
		c.SlopeSE = math.Hypot(c.SlopeSE, common)
		if n > 2 {
			c.SlopeSE = max(c.SlopeSE, math.Sqrt(residual/float64(n-2)/square))
		} else if c.SlopeSE == 0 {
			c.SlopeSE = math.NaN()
		}
	}
	return c
}
