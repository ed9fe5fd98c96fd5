package points

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// PriorConfig says how the mixture of a [mfm.MixturePrior] is fitted to points.
type PriorConfig struct {
	// MaxComponents is the largest number of components of all fits, classes and groups of columns
	// together. Powers of two up to it are tried, and of classes and groups up to the share of each.
	MaxComponents int `json:"max_components"`
	Fit           int `json:"fit"`   // steps of expectation-maximization, before the last five
	Steps         int `json:"steps"` // of the prior's flow, for each evaluation of the network
	// Order is that of the rule of a step, and Power shortens the steps toward the data; see
	// [mfm.MixturePrior], also for 0.
	Order int     `json:"order,omitempty"`
	Power float64 `json:"power,omitempty"`
}

// DefaultPrior has up to 256 components. In one step from noise to data its steps give a component
// whose standard deviation is from a fiftieth to twice that of the data about 0.97 of its width or
// more, and one of a hundredth about 0.9.
func DefaultPrior() PriorConfig {
	return PriorConfig{MaxComponents: 256, Fit: 30, Steps: 5, Order: 3, Power: 2.5}
}

// Validate returns an error for the first value out of range.
func (c PriorConfig) Validate() error {
	if c.MaxComponents < 1 || c.MaxComponents > 4096 || c.Fit < 1 || c.Steps < 1 {
		return fmt.Errorf("prior with max_components = %d, fit = %d, steps = %d: must be 1 to 4096, and at least 1",
			c.MaxComponents, c.Fit, c.Steps)
	}
	if c.Order != 0 && c.Order != 2 && c.Order != 3 || c.Power != 0 && !(c.Power >= 1 && c.Power <= 5) {
		return fmt.Errorf("prior with order = %d and power = %g: must be 2 or 3, and lie in [1, 5]", c.Order, c.Power)
	}
	return nil
}

// most returns the largest number of components for points of a number of columns and classes, 0
// for none, or an error if that is less than one for each class.
func (c PriorConfig) most(columns, classes int) (int, error) {
	most := min(c.MaxComponents, maxEntries/(columns*columns))
	if most < classes {
		return 0, fmt.Errorf("%d classes of %d columns need a component each, and there may be only %d "+
			"(max_components = %d, and %d entries of covariances): use fewer classes or columns, more components, or "+
			"the parametrization %s", classes, columns, most, c.MaxComponents, maxEntries, mfm.GaussianName)
	}
	return most, nil
}

// Prior is a mixture fitted to standardized points, or one for each group of columns that are
// independent of the others.
type Prior struct {
	// Mixture is that of all columns, or of the first of Groups.
	Mixture *gmm.Mixture `json:"mixture"`
	// Labels are the classes of the components, nil without classes.
	Labels []int32 `json:"labels,omitempty"`
	// Groups are the columns of each mixture, Mixture and then those of Independent; nil if Mixture
	// is that of all columns.
	Groups      [][]int        `json:"groups,omitempty"`
	Independent []*gmm.Mixture `json:"independent,omitempty"`
	// Parts describe the fits: one of each class, or of each group, or a single one.
	Parts []Part `json:"parts"`
}

// Part is the fit to the points of one class, to a group of columns, or to all points.
type Part struct {
	// Components is their number, and Fits that of the fits from different random starts whose mean
	// they are.
	Components int `json:"components"`
	Fits       int `json:"fits"`
	// Bandwidth is the standard deviation of the noise that smooths the mixture, in standard
	// deviations of the columns.
	Bandwidth float64 `json:"bandwidth"`
	// LogDensity is the mean log density of the points held back, before the last steps of the fit
	// see them too, in nats, in units of the standardized columns.
	LogDensity float64 `json:"log_density"`
}

// bandwidths are those that are tried. The smallest one is the floor of the fit.
var bandwidths = []float64{0.01, 0.02, 0.04, 0.06, 0.1, 0.15}

const (
	maxFitted    = 50_000  // rows of the fits that choose, a random part of more
	maxValidated = 2_000   // rows by which its size is chosen
	maxEntries   = 1 << 20 // of all covariances
	maxAveraged  = 1 << 12 // of all covariances of averaged fits: time grows with their number
	maxColumns   = 1 << 10 // with which one component has as many
	refits       = 5       // last steps of expectation-maximization, on all of these rows
)

// fit returns the prior of standardized rows: for each class the mixture whose bandwidth gives the
// largest density of a tenth of the rows, which are held back. More components must raise the mean
// log density by more than its standard error, and two failures end the search. The errors of
// further fits of that size differ, so they are averaged with it while that density grows, and
// while they have at most half of the components together and few entries: a training takes longer
// with more. The last steps, [gmm.Mixture.Refit], see the rows held back as well. Without classes,
// mixtures of groups of columns that look independent replace that of all columns if they give a
// larger density, see fitColumns. The same rows give the same prior. It is an error if ctx ends.
func (c PriorConfig) fit(ctx context.Context, rows [][]float64, classes []int32, count int) (*Prior, error) {
	most, err := c.most(len(rows[0]), count)
	if err != nil {
		return nil, err
	}
	if count == 0 {
		return c.fitColumns(ctx, rows, most)
	}
	p := new(Prior)
	var all []*gmm.Mixture
	var shares []float64
	for class := range int32(count) {
		var own [][]float64
		for i, row := range rows {
			if classes[i] == class {
				own = append(own, row)
			}
		}
		part, err := c.part(ctx, own, most/count)
		if err != nil {
			return nil, fmt.Errorf("class %d: %w", class, err)
		}
		all, shares = append(all, part.mixture), append(shares, float64(len(own)))
		p.Parts = append(p.Parts, part.Part)
		p.Labels = append(p.Labels, slices.Repeat([]int32{class}, part.mixture.Len())...)
	}
	p.Mixture, err = gmm.Join(all, shares)
	return p, err
}

// fittedPart is the fit that a [Part] describes.
type fittedPart struct {
	Part
	mixture *gmm.Mixture
	held    []float64 // log density of each row that was held back
}

// part fits a mixture of at most a number of components to rows. The rows that it holds back depend
// on their number alone.
func (c PriorConfig) part(ctx context.Context, rows [][]float64, most int) (*fittedPart, error) {
	rng := rand.New(rand.NewPCG(0, 0))
	rows = slices.Clone(rows)
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	validated := min(max(len(rows)/10, min(5, len(rows)/2), 1), maxValidated)
	held, fitted := rows[:validated], rows[validated:min(len(rows), validated+maxFitted)]
	out := new(fittedPart)
	// try chooses a bandwidth for the mean of fits, and keeps it if it is better by more than a
	// number of nats, and of standard errors of the difference.
	try := func(least, errors float64, fits ...*gmm.Mixture) (better bool, err error) {
		m, err := gmm.Join(fits, slices.Repeat([]float64{1}, len(fits)))
		if err != nil {
			return false, err
		}
		var at []float64
		tried := Part{LogDensity: math.Inf(-1)}
		for _, h := range bandwidths {
			smooth, err := smoothed(m, h*h-bandwidths[0]*bandwidths[0])
			if err != nil {
				return false, err
			}
			all := logDensities(smooth, held)
			if mean := stat.Mean(all, nil); mean > tried.LogDensity {
				at, tried = all, Part{smooth.Len(), len(fits), h, mean}
			}
		}
		if out.held != nil {
			gain, se := metric.MeanSE(floats.SubTo(make([]float64, len(at)), at, out.held))
			if !(gain > least) || !(gain > errors*se) {
				return false, nil
			}
		}
		out.Part, out.held = tried, at
		return true, nil
	}
	floor := bandwidths[0] * bandwidths[0]
	var fits []*gmm.Mixture
	size, worse := 0, 0
	for n := 1; n <= min(most, len(fitted)) && worse < 2; n *= 2 {
		m, err := gmm.Fit(ctx, fitted, gmm.FitConfig{Components: n, Steps: c.Fit, Floor: floor}, rng)
		if err != nil {
			return nil, fmt.Errorf("prior: %w", err)
		}
		better, err := try(0, 1, m)
		if err != nil {
			return nil, fmt.Errorf("prior: %w", err)
		}
		worse++
		if better {
			size, worse, fits = n, 0, []*gmm.Mixture{m}
		}
	}
	averaged := min(most/2, maxAveraged/(len(rows[0])*len(rows[0])))
	for better := true; better && size > 1 && (len(fits)+1)*size <= averaged; {
		m, err := gmm.Fit(ctx, fitted, gmm.FitConfig{Components: size, Steps: c.Fit, Floor: floor}, rng)
		if err != nil {
			return nil, fmt.Errorf("prior: %w", err)
		}
		fits = append(fits, m)
		if better, err = try(leastGain, 0, fits...); err != nil {
			return nil, fmt.Errorf("prior: %w", err)
		}
	}
	var err error
	out.mixture, err = refitted(ctx, fits[:out.Fits], rows[:validated+len(fitted)], out.Bandwidth)
	return out, err
}

// refitted returns the mean of fits after more steps of expectation-maximization on rows, smoothed
// to a bandwidth.
func refitted(ctx context.Context, fits []*gmm.Mixture, rows [][]float64, bandwidth float64) (*gmm.Mixture, error) {
	floor := bandwidths[0] * bandwidths[0]
	again, equal := slices.Clone(fits), slices.Repeat([]float64{1}, max(len(fits), len(rows)))
	for i := range again {
		for range refits {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("prior: stopped: %w", context.Cause(ctx))
			}
			var err error
			if again[i], err = again[i].Refit(rows, equal[:len(rows)], floor); err != nil {
				return nil, fmt.Errorf("prior: %w", err)
			}
		}
	}
	m, err := gmm.Join(again, equal[:len(fits)])
	if err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	return smoothed(m, bandwidth*bandwidth-floor)
}

// leastGain is the growth of the mean log density, in nats, that is worth another fit.
const leastGain = 0.005

// logDensities returns the log density of each row.
func logDensities(m *gmm.Mixture, rows [][]float64) []float64 {
	all := make([]float64, len(rows))
	for i, row := range rows {
		all[i] = m.LogDensity(row)
	}
	return all
}

// smoothed returns the mixture of X + √variance ε.
func smoothed(m *gmm.Mixture, variance float64) (*gmm.Mixture, error) {
	means, covariances := make([][]float64, m.Len()), make([][][]float64, m.Len())
	for k := range means {
		means[k], covariances[k] = m.Component(k)
		for i := range covariances[k] {
			covariances[k][i][i] += variance
		}
	}
	return gmm.New(m.Weights(), means, covariances)
}

// parametrization returns the prior of points of a number of columns, of zero mean and unit
// variance. Its span is the whole space, with the columns in the order of the groups.
func (p *Prior) parametrization(columns int, c PriorConfig) *mfm.MixturePrior {
	basis := make([][]float64, columns)
	for i := range basis {
		basis[i] = make([]float64, columns)
	}
	at := 0
	for _, group := range p.groups() {
		for _, column := range group {
			basis[column][at] = 1
			at++
		}
	}
	return &mfm.MixturePrior{
		Gaussian: standard(columns), Basis: basis, Mixture: p.Mixture, Independent: p.Independent, Rest: 1,
		Steps: c.Steps, Order: c.Order, Power: c.Power, Labels: p.Labels,
	}
}

// standard returns the Gaussian of standardized points.
func standard(columns int) *mfm.Gaussian {
	return &mfm.Gaussian{Mean: make([]float64, columns), Variance: []float64{1}}
}
