package points

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
)

// CheckConfig says how a map is checked on held-out points.
type CheckConfig struct {
	Times []float64 `json:"times"` // of the observations, in (0, 1)
	// Rows is the largest number of held-out points that are observed, and Samples that of posterior
	// samples given each.
	Rows    int `json:"rows"`
	Samples int `json:"samples"`
	// Contexts is the number of points at which samples of one step are compared with those of the
	// ODE in Steps steps of Heun's method, Each the number of samples at each.
	Contexts int   `json:"contexts"`
	Each     int   `json:"each"`
	Steps    int   `json:"steps"`
	Seed     int64 `json:"seed"`
}

// DefaultCheck observes 400 points at five times.
func DefaultCheck() CheckConfig {
	return CheckConfig{
		Times: []float64{0.1, 0.3, 0.5, 0.7, 0.9}, Rows: 400, Samples: 100, Contexts: 8, Each: 1024, Steps: 24,
	}
}

// Validate returns an error for the first value out of range.
func (c CheckConfig) Validate() error {
	if len(c.Times) == 0 {
		return fmt.Errorf("check has no times: give some in (0, 1)")
	}
	for _, t := range c.Times {
		if !(t > 0 && t < 1) {
			return fmt.Errorf("check at time %g: must lie in (0, 1)", t)
		}
	}
	for _, v := range []struct {
		name            string
		value, from, to int
	}{
		{"rows", c.Rows, 2, 1 << 16}, {"samples", c.Samples, 10, 1 << 12}, {"contexts", c.Contexts, 1, 1 << 10},
		{"each", c.Each, 2, 1 << 14}, {"steps", c.Steps, 2, 10_000},
	} {
		if v.value < v.from || v.value > v.to {
			return fmt.Errorf("check with %s = %d: must lie in [%d, %d]", v.name, v.value, v.from, v.to)
		}
	}
	return nil
}

// CheckResult is the quality of one-step samples at one time.
type CheckResult struct {
	T float64 `json:"t"`
	// Excess is the distance of one-step samples from those of the map's ODE, beyond that of samples
	// of one step from others, in standard deviations of the ODE's.
	Excess float64 `json:"excess"`
	// Half and Most are the shares of held-out values that lie within the central intervals of 50%
	// and of 90% of their posterior samples, over all columns.
	Half float64 `json:"half"`
	Most float64 `json:"most"`
}

// Check is the quality of a map on points that it was not trained on.
type Check struct {
	Rows    int           `json:"rows"` // held-out points that were observed
	Results []CheckResult `json:"results"`
	// NearestSamples is the median distance of one-step samples of the data to the nearest training
	// point, the root mean square over the columns in their standard deviations. NearestHeldOut is
	// that of held-out points. Memorized samples are closer.
	NearestSamples float64 `json:"nearest_samples"`
	NearestHeldOut float64 `json:"nearest_held_out"`
	Parts          []Part  `json:"prior,omitempty"` // the fits of the mixture prior
	// Groups are the columns of each part, if they are independent of those of the others.
	Groups [][]string `json:"groups,omitempty"`
}

// Check observes held-out points with noise and compares them with one-step posterior samples given
// the observations, and those with samples of the map's ODE. It returns an error if ctx ends, which
// it checks between two evaluations. Non-finite samples are [run.ErrNonFinite].
func (e *Experiment) Check(ctx context.Context, b compute.Backend, store *model.Store, data *Data, c CheckConfig) (
	*Check, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m, exact := e.Model(store), mfm.DefaultSamplerConfig()
	exact.Method, exact.Grid = mfm.ODESampling, interpolant.Grid{Steps: c.Steps, Power: 1}
	one, err := mfm.NewSampler(b, m, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, err
	}
	defer one.Finalize()
	ode, err := mfm.NewSampler(b, m, exact)
	if err != nil {
		return nil, err
	}
	defer ode.Finalize()

	held := data.HeldOut
	rng := rand.New(rand.NewPCG(uint64(c.Seed), 3))
	out := &Check{Rows: min(c.Rows, len(held.Rows))}
	if e.Prior != nil {
		out.Parts = e.Prior.Parts
		for _, group := range e.Prior.Groups {
			var names []string
			for _, column := range group {
				names = append(names, e.Columns[column])
			}
			out.Groups = append(out.Groups, names)
		}
	}
	z := e.Scale.Standardize(held.Rows[:out.Rows])
	near := min(c.Contexts, out.Rows)
	projections := metric.RandomProjections(rng, 128, len(e.Columns))
	for _, t := range c.Times {
		r := CheckResult{T: t}
		x := noised(rng, e.Map.Interpolant, t, z)
		var class []int32
		if held.Classes != nil {
			class = held.Classes[:out.Rows]
		}
		samples, err := e.draw(ctx, one, t, x, c.Samples, class, c.Seed)
		if err != nil {
			return nil, err
		}
		r.Half, r.Most = coverage(z, samples, 0.5), coverage(z, samples, 0.9)
		if r.Excess, err = e.excess(ctx, one, ode, t, x[:near], first(class, near), c, projections); err != nil {
			return nil, err
		}
		out.Results = append(out.Results, r)
	}
	return out, e.nearest(ctx, one, data, c.Seed, out)
}

// first returns the first n labels, or nil.
func first(class []int32, n int) []int32 {
	if class == nil {
		return nil
	}
	return class[:n]
}

// noised returns states x_t = α_t ε + β_t z.
func noised(rng *rand.Rand, ip interpolant.Schedule, t float64, z [][]float64) [][]float64 {
	alpha, beta, _, _ := ip.At(t)
	out := make([][]float64, len(z))
	for i, row := range z {
		out[i] = make([]float64, len(row))
		for j, v := range row {
			out[i][j] = alpha*rng.NormFloat64() + beta*v
		}
	}
	return out
}

// coverage returns the share of values in z, [n][columns], within the central interval of the given
// share of their samples, of which each row has as many. See [metric.Coverage].
func coverage(z, samples [][]float64, share float64) float64 {
	each := len(samples) / len(z)
	inside := 0.
	for i, row := range z {
		for j, v := range row {
			rank := 0
			for _, s := range samples[i*each : (i+1)*each] {
				if s[j] < v {
					rank++
				}
			}
			inside += metric.Coverage(rank, each, share)
		}
	}
	return inside / float64(len(z)*len(z[0]))
}

// excess returns that of one-step samples given states x over samples of the ODE.
func (e *Experiment) excess(ctx context.Context, one, ode *mfm.Sampler, t float64, x [][]float64, class []int32,
	c CheckConfig, projections [][]float64) (float64, error) {
	var all [3][][]float64
	for i, s := range []*mfm.Sampler{one, one, ode} {
		var err error
		if all[i], err = e.draw(ctx, s, t, x, c.Each, class, c.Seed+int64(i)+1); err != nil {
			return 0, err
		}
	}
	var distance, floor, variance float64
	for i := range x {
		part := func(k int) [][]float64 { return all[k][i*c.Each : (i+1)*c.Each] }
		d, err := metric.SlicedW2(part(0), part(2), projections)
		if err != nil {
			return 0, err
		}
		f, err := metric.SlicedW2(part(0), part(1), projections)
		if err != nil {
			return 0, err
		}
		s, err := metric.Std(part(2))
		if err != nil {
			return 0, err
		}
		distance, floor, variance = distance+d*d, floor+f*f, variance+s*s
	}
	return metric.Excess(math.Sqrt(distance), math.Sqrt(floor), math.Sqrt(variance)), nil
}

// nearest compares samples with held-out points by their distances to the training points.
func (e *Experiment) nearest(ctx context.Context, one *mfm.Sampler, data *Data, seed int64, out *Check) error {
	held := e.Scale.Standardize(data.HeldOut.Rows[:min(len(data.HeldOut.Rows), 1000)])
	x := make([][]float64, len(held))
	for i := range x {
		x[i] = make([]float64, len(e.Columns))
	}
	samples, err := e.draw(ctx, one, 0, x, 1, first(data.HeldOut.Classes, len(held)), seed)
	if err != nil {
		return err
	}
	reference := e.Scale.Standardize(data.Train.Rows)
	if _, out.NearestSamples, err = metric.MedianNearest(ctx, reference, samples); err != nil {
		return err
	}
	_, out.NearestHeldOut, err = metric.MedianNearest(ctx, reference, held)
	return err
}

// The limits of a good map.
const (
	goodExcess   = 0.1  // of one step from the ODE, on the average; 1.5 times that at one time
	goodCoverage = 0.05 // of a coverage from its share, beyond two standard errors, as in a diagnosis
	goodNearest  = 0.8  // of the distances of samples and held-out points, for data without many repetitions

	// leastChecked held-out rows are needed for a verdict: they give a coverage to ±0.1.
	leastChecked = 100
)

// Findings says in plain words what is wrong with the map and what to try, a sentence each. A good
// map has none.
func (c *Check) Findings() (all []string) {
	mean, worst := 0., CheckResult{}
	for _, r := range c.Results {
		mean += r.Excess / float64(len(c.Results))
		if r.Excess > worst.Excess {
			worst = r
		}
	}
	if mean > goodExcess || worst.Excess > 1.5*goodExcess {
		all = append(all, fmt.Sprintf("Samples of one step differ from those of the ODE by %.2f standard deviations "+
			"at t = %g: train longer (--steps), or sample by the ODE (--method ode --steps 24).", worst.Excess, worst.T))
	}
	error := c.coverageError()
	narrow, wide := 0., 0.
	for _, r := range c.Results {
		narrow = max(narrow, 0.5-r.Half, 0.9-r.Most)
		wide = max(wide, r.Half-0.5, r.Most-0.9)
	}
	if narrow > goodCoverage+error {
		all = append(all, "Posterior samples are too narrow: held-out values lie outside of their intervals too often. "+
			"Give more rows, or fewer --steps.")
	}
	if wide > goodCoverage+error {
		all = append(all, "Posterior samples are too wide: held-out values lie inside of their intervals too often. "+
			"Train longer (--steps).")
	}
	if c.NearestSamples < goodNearest*c.NearestHeldOut {
		all = append(all, fmt.Sprintf("Samples lie at %.2f of the distance of held-out points from the training points: "+
			"they are partly memorized. Give more rows, or fewer --steps.", c.NearestSamples/c.NearestHeldOut))
	}
	return all
}

// coverageError returns two standard errors of a coverage, as if the columns of a row were one
// value.
func (c *Check) coverageError() float64 { return 2 * math.Sqrt(0.25/float64(c.Rows)) }
