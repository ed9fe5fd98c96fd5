package stress

import (
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// BaseMeasure is one of the errors in a [BaseResult], by name.
type BaseMeasure struct {
	Name string
	Of   func(r BaseResult) float64
}

// BaseMeasures lists the errors of what builds on a base.
func BaseMeasures() []BaseMeasure {
	return []BaseMeasure{
		{"drift", func(r BaseResult) float64 { return r.Map }},
		{"samples", func(r BaseResult) float64 { return r.Samples }},
		{"posteriors", func(r BaseResult) float64 { return r.Posterior }},
		{"value", func(r BaseResult) float64 { return r.Value }},
		{"steering", func(r BaseResult) float64 { return r.Steering }},
		{"tuning", func(r BaseResult) float64 { return r.Tuning }},
	}
}

// BaseCurve is how an error grows with the error of the base, for one perturbation and
// distillation. It has a point for each size, from the smallest.
type BaseCurve struct {
	// Base is the base's error. Error is the root mean square over seeds of the measured error, SE
	// its standard error, 0 for a single seed.
	Base, Error, SE []float64
	// Plain is the error with the true base: what training, sampling and estimation contribute by
	// themselves.
	Plain float64
	// Beyond is the part of the error beyond Plain, √(Error² - Plain²), as if the two were
	// independent. It is NaN where it is less than Plain and so does not stand out.
	Beyond []float64
	// BeyondSE is the standard error of Beyond from those of Error and Plain over seeds, 0 for a
	// single seed.
	BeyondSE []float64
	// Slope is that of log Beyond against log Base, by least squares over the points that stand
	// out; NaN for fewer than two. A slope of 1 means that errors grow in proportion. SlopeSE is
	// its standard error: the larger of two estimates, from the standard errors of Error and Plain
	// and from the scatter of at least three points about the line; NaN without either.
	Slope, SlopeSE float64
}

// NewBaseCurve returns the curve of a measure from the results of the stress test. It ignores
// results that diverged.
func NewBaseCurve(results []BaseResult, p Perturbation, d mfm.Distillation, m BaseMeasure) BaseCurve {
	bySize := make(map[float64][]BaseResult)
	var plain []BaseResult
	for _, r := range results {
		switch {
		case r.Distillation != d || r.Diverged != "":
		case r.Size == 0:
			plain = append(plain, r)
		case r.Perturbation == p:
			bySize[r.Size] = append(bySize[r.Size], r)
		}
	}
	// rms returns the root mean square and its standard error, from that of the mean square.
	rms := func(results []BaseResult, of func(r BaseResult) float64) (float64, float64) {
		squares := make([]float64, len(results))
		for i, r := range results {
			squares[i] = of(r) * of(r)
		}
		mean, se := metric.MeanSE(squares)
		root := math.Sqrt(mean)
		return root, se / (2 * root)
	}
	c := BaseCurve{Slope: math.NaN(), SlopeSE: math.NaN()}
	var plainSE float64
	c.Plain, plainSE = rms(plain, m.Of)
	// own and shared are relative errors of Beyond: from each point's own error, and from the error
	// of Plain, which all points share.
	var x, y, own, shared []float64
	for _, size := range slices.Sorted(maps.Keys(bySize)) {
		base, _ := rms(bySize[size], func(r BaseResult) float64 { return r.Base })
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
