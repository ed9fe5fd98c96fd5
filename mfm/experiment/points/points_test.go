package points

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// gaussians returns n points of a Gaussian of two columns with different units, or of one for each
// of two classes, with means 100 ± 30 and 1 ± 0.02 and standard deviations 10 and 0.01.
func gaussians(n int, classes bool) *tabular.Table {
	rng := rand.New(rand.NewPCG(3, 1))
	t := &tabular.Table{Columns: []string{"mass", "ratio"}}
	if classes {
		t.Names = []string{"light", "heavy"}
	}
	for i := range n {
		a, b := rng.NormFloat64(), rng.NormFloat64()
		mass, ratio := 100+10*a, 1+0.01*(0.6*a+0.8*b)
		if classes {
			t.Classes = append(t.Classes, int32(i%2))
			sign := float64(2*(i%2) - 1)
			mass, ratio = mass+30*sign, ratio+0.02*sign
		}
		t.Rows = append(t.Rows, []float64{mass, ratio})
	}
	return t
}

// small is a configuration that trains in a second.
func small() Config {
	c := DefaultConfig()
	network := nn.DefaultMLP()
	network.Width, network.Depth = 8, 1
	c.Network = nn.NewNetwork(network)
	c.Prior.MaxComponents, c.Prior.Steps = 4, 4
	c.Train.Steps, c.Train.Batch, c.Train.EMA = 4, 16, nil
	return c
}

// bare returns an experiment whose map has no network, and an empty store.
func bare(t *testing.T, config Config, data *Data) (*Experiment, *model.Store) {
	t.Helper()
	e, err := New(t.Context(), config, data)
	if err != nil {
		t.Fatal(err)
	}
	e.Map.Backbone = none
	return e, model.NewStore()
}

func split(t *testing.T, table *tabular.Table) *Data {
	t.Helper()
	data, err := Split(table)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Posterior samples of Gaussian points have the mean and the covariance of the closed form, in the
// units of the data: a noisy measurement y of x ~ N(m, C) with noise of covariance N gives
// N(m + G (y - m), C - G C) with G = C (C + N)⁻¹.
func TestSampleOfAGaussian(t *testing.T) {
	e, store := bare(t, small(), split(t, gaussians(20_000, false)))
	sampler, err := mfm.NewSampler(backendtest.New(t), e.Model(store), mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	const at, n = 0.6, 40_000
	y := []float64{115, 1.005}
	got, err := e.Sample(t.Context(), sampler, Observation{T: at, X: y}, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	noise := e.Noise(at)
	for j, want := range []float64{10 * 0.4 / 0.6, 0.01 * 0.4 / 0.6} {
		if math.Abs(noise[j]/want-1) > 0.02 {
			t.Errorf("noise of column %d is %g, want %g", j, noise[j], want)
		}
	}
	c := [2][2]float64{{100, 0.06}, {0.06, 1e-4}}
	s := [2][2]float64{{c[0][0] + noise[0]*noise[0], c[0][1]}, {c[1][0], c[1][1] + noise[1]*noise[1]}}
	det := s[0][0]*s[1][1] - s[0][1]*s[1][0]
	inverse := [2][2]float64{{s[1][1] / det, -s[0][1] / det}, {-s[1][0] / det, s[0][0] / det}}
	var gain [2][2]float64
	for i := range 2 {
		for j := range 2 {
			gain[i][j] = c[i][0]*inverse[0][j] + c[i][1]*inverse[1][j]
		}
	}
	for i, m := range []float64{100, 1} {
		column := make([]float64, n)
		for k, row := range got {
			column[k] = row[i]
		}
		mean, std := stat.MeanStdDev(column, nil)
		want := m + gain[i][0]*(y[0]-100) + gain[i][1]*(y[1]-1)
		deviation := math.Sqrt(c[i][i] - gain[i][0]*c[0][i] - gain[i][1]*c[1][i])
		// 20,000 points determine the moments to 1%.
		if math.Abs(mean-want) > 0.04*deviation || math.Abs(std/deviation-1) > 0.03 {
			t.Errorf("column %d: mean %g ± %g, want %g ± %g", i, mean, std, want, deviation)
		}
	}
}

// A figure of one column or of more than six is refused, before any sampling.
func TestCheckFile(t *testing.T) {
	e := &Experiment{Fitted: Fitted{Columns: []string{"a", "b", "c", "d", "e", "f", "g"}}}
	for path, want := range map[string]string{
		"x.png": "a figure shows two to 6 columns, the points have 7", "x.txt": "name a .csv",
		"none/x.csv": "there is no folder",
	} {
		for _, err := range []error{e.CheckFile(path), e.WriteSamples(path, Samples{Rows: [][]float64{{1, 2, 3, 4, 5, 6, 7}}})} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one with %q", path, err, want)
			}
		}
	}
	if err := e.CheckFile("x.csv"); err != nil {
		t.Error(err)
	}
}

// Given a class, samples are those of the class; without one, of both.
func TestSampleOfAClass(t *testing.T) {
	config := small()
	config.SetClasses("kind", 2)
	e, store := bare(t, config, split(t, gaussians(4000, true)))
	m := e.Model(store)
	sampler, err := mfm.NewSampler(backendtest.New(t), m, mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	for class, want := range map[string][2]float64{"light": {70, 10}, "heavy": {130, 10}, "": {100, math.Hypot(30, 10)}} {
		got, err := e.Sample(t.Context(), sampler, Observation{Class: class}, 4000, 2)
		if err != nil {
			t.Fatal(err)
		}
		var mass []float64
		for _, row := range got {
			mass = append(mass, row[0])
		}
		mean, std := stat.MeanStdDev(mass, nil)
		if math.Abs(mean-want[0]) > 2 || math.Abs(std/want[1]-1) > 0.08 {
			t.Errorf("class %q has mean %g and deviation %g, want %v", class, mean, std, want)
		}
	}
	// Those of all classes have their class each, by the shares of the rows.
	all, err := e.Draw(t.Context(), sampler, Observation{}, 4000, 2)
	if err != nil {
		t.Fatal(err)
	}
	var mass [2][]float64
	for i, row := range all.Rows {
		mass[all.Classes[i]] = append(mass[all.Classes[i]], row[0])
	}
	for k, name := range e.Names {
		want := map[string]float64{"light": 70, "heavy": 130}[name]
		mean, std := stat.MeanStdDev(mass[k], nil)
		se := math.Sqrt(4000 * e.Shares[k] * (1 - e.Shares[k]))
		if math.Abs(mean-want) > 2 || math.Abs(std/10-1) > 0.08 || math.Abs(float64(len(mass[k]))-4000*e.Shares[k]) > 4*se {
			t.Errorf("%d samples of the class %q, share %g, have mean %g and deviation %g", len(mass[k]), name, e.Shares[k],
				mean, std)
		}
	}
	_, err = e.Sample(t.Context(), sampler, Observation{Class: "dark"}, 1, 0)
	if err == nil || !strings.Contains(err.Error(), `class "dark" is unknown: use "light", "heavy"`) {
		t.Errorf("an unknown class: %v", err)
	}
}

// A column whose only other value is held out is constant in training.
func TestSplitRefusesRareValues(t *testing.T) {
	refused := 0
	for rare := range 200 {
		table, rng := &tabular.Table{Columns: []string{"a", "b"}}, rand.New(rand.NewPCG(1, 1))
		for i := range 200 {
			row := []float64{rng.NormFloat64(), 0}
			if i == rare {
				row[1] = 1
			}
			table.Rows = append(table.Rows, row)
		}
		if _, err := Split(table); err != nil {
			if refused++; !strings.Contains(err.Error(), `rows to train on: column "b"`) {
				t.Error(err)
			}
		}
	}
	if refused != 20 {
		t.Errorf("%d of 200 tables are refused, want the 20 whose rare row is held out", refused)
	}
}

// A table that cannot be trained on is an error that says why.
func TestSplitRefuses(t *testing.T) {
	change := func(f func(t *tabular.Table)) *tabular.Table {
		table := gaussians(200, true)
		f(table)
		return table
	}
	for want, table := range map[string]*tabular.Table{
		"has 99 rows of 2 columns: give at least 100": gaussians(99, false),
		`column "ratio" is constant, 7 in all rows: remove it`: change(func(t *tabular.Table) {
			for _, row := range t.Rows {
				row[1] = 7
			}
		}),
		`columns "mass" and "ratio" have the same values, up to a factor`: change(func(t *tabular.Table) {
			for _, row := range t.Rows {
				row[1] = 3 - 2*row[0]
			}
		}),
		`columns "mass" and "ratio" have the same`: change(func(t *tabular.Table) { // and a first row that is the mean
			t.Rows = append([][]float64{{0, 0}}, t.Rows...)
			t.Classes = append([]int32{t.Classes[0]}, t.Classes...)
			for i, row := range t.Rows[1:] {
				row[0] = float64(1 - i%2*2)
				row[1] = -row[0]
			}
			t.Rows = append(t.Rows, []float64{0, 0})
			t.Classes = append(t.Classes, t.Classes[0])
		}),
		`column "mass" has values up to 1e+300, too large for a variance`: change(func(t *tabular.Table) {
			t.Rows[0][0] = 1e300
		}),
		`class "heavy" has 10 rows: give at least 20`: change(func(t *tabular.Table) {
			for i := range t.Classes {
				t.Classes[i] = 0
				if i < 10 {
					t.Classes[i] = 1
				}
			}
		}),
		`all rows have the class "light": train without classes`: change(func(t *tabular.Table) {
			t.Classes, t.Names = make([]int32, 200), []string{"light"}
		}),
	} {
		if _, err := Split(table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	data := split(t, gaussians(200, true))
	if len(data.Train.Rows) != 180 || len(data.HeldOut.Rows) != 20 {
		t.Errorf("200 rows are split into %d and %d", len(data.Train.Rows), len(data.HeldOut.Rows))
	}
}

// The prior chooses the number of components of the data.
func TestPriorChooses(t *testing.T) {
	set, err := sets.Lookup("eight-gaussians")
	if err != nil {
		t.Fatal(err)
	}
	rows := FitScale(set.Table(4000, 1).Rows).Standardize(set.Table(4000, 1).Rows)
	p, err := DefaultPrior().fit(t.Context(), rows, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Parts[0].Components; n != 8 {
		t.Errorf("%d components of eight Gaussians: %+v", n, p.Parts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := DefaultPrior().fit(ctx, rows, nil, 0); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("a fit in an ended context: %v", err)
	}
}

// The prior sees all rows, also those that chose it: one component has their mean and covariance,
// with the variance of the noise added.
func TestPriorSeesAllRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	rows, x := make([][]float64, 40), mat.NewDense(40, 2, nil)
	for i := range rows {
		rows[i] = []float64{rng.NormFloat64(), 2 * rng.NormFloat64()}
		x.SetRow(i, rows[i])
	}
	p, err := PriorConfig{MaxComponents: 1, Fit: 3, Steps: 1}.fit(t.Context(), rows, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	mean, covariance := p.Mixture.Component(0)
	var want mat.SymDense
	stat.CovarianceMatrix(&want, x, nil)
	for i := range 2 {
		if m := stat.Mean(mat.Col(nil, i, x), nil); math.Abs(mean[i]-m) > 1e-6 {
			t.Errorf("mean %d is %g, that of all rows %g", i, mean[i], m)
		}
		for j := range 2 {
			c := want.At(i, j) * 39 / 40
			if i == j {
				c += p.Parts[0].Bandwidth * p.Parts[0].Bandwidth
			}
			if math.Abs(covariance[i][j]-c) > 1e-4 {
				t.Errorf("covariance %d, %d is %g, that of all rows %g", i, j, covariance[i][j], c)
			}
		}
	}
}

// The prior is the mean of as many fits as its part says, and a fit that did not help is not in it.
func TestPriorAveragesFits(t *testing.T) {
	averaged := false
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rows := make([][]float64, 300)
		for i := range rows {
			sin, cos := math.Sincos(2 * math.Pi * rng.Float64())
			rows[i] = []float64{cos + 0.05*rng.NormFloat64(), sin + 0.05*rng.NormFloat64()}
		}
		p, err := PriorConfig{MaxComponents: 64, Fit: 10, Steps: 1}.fit(t.Context(), rows, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		part := p.Parts[0]
		if p.Mixture.Len() != part.Components || part.Components > 32 && part.Fits > 1 {
			t.Errorf("seed %d: %d components, and the part %+v; fits are averaged up to 32 components", seed,
				p.Mixture.Len(), part)
		}
		averaged = averaged || part.Fits > 1
	}
	if !averaged {
		t.Error("no prior is the mean of several fits")
	}
}

// Half of exact values lie within their 50% interval, nine tenths within that of 90%. Samples that
// are too narrow cover less.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	draw := func(n int, std float64) [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = []float64{std * rng.NormFloat64(), 3 + std*rng.NormFloat64()}
		}
		return out
	}
	const n = 4000
	for _, tc := range []struct{ std, share, want float64 }{
		// P(|Z| < 0.8 q) with q the quantile of the interval.
		{1, 0.5, 0.5}, {1, 0.9, 0.9},
		{0.8, 0.5, math.Erf(0.8 * 0.6745 / math.Sqrt2)}, {0.8, 0.9, math.Erf(0.8 * 1.6449 / math.Sqrt2)},
	} {
		got := coverage(draw(n, 1), draw(n*60, tc.std), tc.share)
		if se := math.Sqrt(tc.want * (1 - tc.want) / (2 * n)); math.Abs(got-tc.want) > 4*se+0.004 {
			t.Errorf("coverage of %g by samples of deviation %g is %.4f, want %.4f", tc.share, tc.std, got, tc.want)
		}
	}
}

// With few samples coverages are those of their shares, too, and never above one.
func TestCoverageOfFewSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	const n = 20_000
	for _, each := range []int{10, 11, 13} {
		z, samples, wide := make([][]float64, n), make([][]float64, n*each), make([][]float64, n*each)
		for i := range z {
			z[i] = []float64{rng.NormFloat64()}
		}
		for i := range samples {
			v := rng.NormFloat64()
			samples[i], wide[i] = []float64{v}, []float64{1e6 * v}
		}
		for _, share := range []float64{0.5, 0.9} {
			if got := coverage(z, samples, share); math.Abs(got-share) > 4*math.Sqrt(share*(1-share)/n) {
				t.Errorf("%d samples: coverage of %g is %.4f", each, share, got)
			}
			if got := coverage(z, wide, share); got > 1 || got < share+0.08 {
				t.Errorf("%d samples that are too wide: coverage of %g is %.4f", each, share, got)
			}
		}
	}
}

// The components of all classes are bounded together.
func TestPriorBoundsAllClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	var rows [][]float64
	var classes []int32
	for i := range 1200 {
		rows = append(rows, []float64{rng.Float64(), rng.Float64()})
		classes = append(classes, int32(i%3))
	}
	c := PriorConfig{MaxComponents: 8, Fit: 3, Steps: 1}
	p, err := c.fit(t.Context(), rows, classes, 3)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Mixture.Len(); n > 8 || len(p.Parts) != 3 {
		t.Errorf("%d components of three classes, want at most 8: %+v", n, p.Parts)
	}
	for want, of := range map[string][2]int{
		"9 classes of 2 columns need a component each, and there may be only 8":    {2, 9},
		"2 classes of 1024 columns need a component each, and there may be only 1": {1024, 2},
	} {
		if _, err := c.most(of[0], of[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	config := small()
	config.SetClasses("kind", 9)
	if err := config.Validate(2, 9); err == nil || !strings.Contains(err.Error(), "9 classes of 2 columns") {
		t.Errorf("nine classes with four components: %v", err)
	}
}

// A class of which few rows are left to train on is refused, with its name, line and numbers.
func TestSplitRefusesSmallClass(t *testing.T) {
	refused := 0
	for first := range 60 {
		table := gaussians(100, true)
		table.Places = []string{"line 2", "line 7"}
		for i := range table.Classes {
			table.Classes[i] = 0
			if i >= first && i < first+20 {
				table.Classes[i] = 1
			}
		}
		if _, err := Split(table); err != nil {
			refused++
			want := `class "heavy", first in line 7, has 20 rows, of which only 14 are left to train on: give more`
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	}
	if refused == 0 || refused == 60 {
		t.Errorf("%d of 60 tables are refused", refused)
	}
}

// A run is trained, and read again with the same numbers, and checked on held-out points.
func TestRun(t *testing.T) {
	b, data, dir := backendtest.New(t), split(t, gaussians(2000, false)), filepath.Join(t.TempDir(), "run")
	config, o := small(), run.Options{Dir: dir, Every: 1}
	config.Prior.Steps = 2
	first, err := NewRun(t.Context(), config, data, o)
	if err == nil {
		_, err = first.Train(t.Context(), b, data, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewRun(t.Context(), config, data, o)
	if err != nil {
		t.Fatal(err)
	}
	longer := config
	longer.Train.Steps++
	changed, err := NewRun(t.Context(), longer, data, o)
	if err == nil {
		_, err = changed.Train(t.Context(), b, data, o)
	}
	if !errors.Is(err, run.ErrOtherRun) {
		t.Errorf("resumed with another number of steps: %v, want %v", err, run.ErrOtherRun)
	}
	opened, store, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Experiment{again, opened} {
		if !reflect.DeepEqual(e.Map.Parametrization, first.Map.Parametrization) || !reflect.DeepEqual(e.Scale, first.Scale) {
			t.Error("a run that is read again has another prior or scale")
		}
	}
	c := DefaultCheck()
	c.Times, c.Contexts, c.Each, c.Steps = []float64{0.3, 0.8}, 2, 512, 16
	check, err := opened.Check(t.Context(), b, store, data, c)
	if err != nil {
		t.Fatal(err)
	}
	if all := check.Findings(); len(all) > 0 {
		t.Errorf("the map of a Gaussian has findings %q: %s", all, check.Text())
	}
	if _, err := json.Marshal(check); err != nil {
		t.Error(err)
	}

	other := split(t, gaussians(2100, false))
	e, err := New(t.Context(), config, other)
	if err == nil {
		_, err = e.Train(t.Context(), b, other, run.Options{Dir: dir})
	}
	if err == nil || !strings.Contains(err.Error(), "the data have changed") {
		t.Errorf("other data in the folder of a run: %v", err)
	}
}

// Each kind of bad figure has its sentence.
func TestFindings(t *testing.T) {
	good := func() *Check {
		return &Check{Rows: 400, NearestSamples: 0.1, NearestHeldOut: 0.1, Results: []CheckResult{
			{T: 0.1, Excess: 0.03, Half: 0.5, Most: 0.9}, {T: 0.9, Excess: 0.05, Half: 0.52, Most: 0.88},
		}}
	}
	for want, change := range map[string]func(c *Check){
		"good. One step":                     func(*Check) {},
		"differ from those of the ODE":       func(c *Check) { c.Results[1].Excess = 0.2 },
		"are too narrow":                     func(c *Check) { c.Results[0].Most = 0.7 },
		"are too wide":                       func(c *Check) { c.Results[0].Half = 0.65 },
		"Samples lie at 0.50 of the distanc": func(c *Check) { c.NearestSamples = 0.05 },
		"good. One step is":                  func(c *Check) { c.Rows = leastChecked },
		"20 held-out rows show little: they determine the shares above to ±22 %": func(c *Check) { c.Rows = 20 },
	} {
		c := good()
		change(c)
		if text := c.Text(); !strings.Contains(text, want) || strings.Count(text, "Verdict") != 1 {
			t.Errorf("text %q, want one with %q", text, want)
		}
		found, good := len(c.Findings()) > 0, strings.HasPrefix(want, "good") || strings.HasPrefix(want, "20 held-out")
		if found == good {
			t.Errorf("findings %q for %q", c.Findings(), want)
		}
	}
}

// The text of a check names the fitted prior, with ranges where classes differ.
func TestPriorText(t *testing.T) {
	parts := []Part{
		{Components: 8, Bandwidth: 0.04, LogDensity: -1.25}, {Components: 4, Bandwidth: 0.04}, {Components: 16, Bandwidth: 0.1},
	}
	for i, want := range []string{
		"prior: 8 components of bandwidth 0.04, chosen by the density of rows held back (-1.250 nats)\n",
		"prior: 4 to 8 components of bandwidth 0.04 for each of 2 classes, chosen by the density of rows " +
			"held back\n",
		"prior: 4 to 16 components of bandwidth 0.04 to 0.1 for each of 3 classes, chosen",
	} {
		c := &Check{Rows: 400, Parts: parts[:i+1]}
		if text := c.Text(); !strings.Contains(text, want) {
			t.Errorf("text %q, want one with %q", text, want)
		}
	}
	groups := &Check{Rows: 400, Parts: parts[:2], Groups: [][]string{{"a"}, {"b", "c"}}}
	if text := groups.Text(); !strings.Contains(text, "prior: 4 to 8 components of bandwidth 0.04 for each of 2 groups of "+
		"columns that look independent, chosen by the density of rows held back (-1.250 nats)\n") {
		t.Errorf("text %q of groups", text)
	}
	one := &Check{Rows: 400, Parts: []Part{{Components: 1, Bandwidth: 0.04}}}
	if text := one.Text(); !strings.Contains(text, "prior: 1 component of bandwidth 0.04, chosen") {
		t.Errorf("text %q of one component", text)
	}
}

// A configuration that cannot be trained is refused.
func TestConfigRefuses(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"points have no drift to learn from":            func(c *Config) { c.Train.Loss.Distillation = mfm.Teacher },
		`parametrization "cubic" is unknown for points`: func(c *Config) { c.Parametrization = "cubic" },
		"needs a prior":         func(c *Config) { c.Prior = nil },
		"max_components = 0":    func(c *Config) { c.Prior = &PriorConfig{Fit: 1, Steps: 1} },
		"the points have 0 cla": func(c *Config) { c.Train.Loss.Guidance.Classes = 3 },
	} {
		c := small()
		change(&c)
		if err := c.Validate(2, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	for _, trial := range TrialGrid() {
		if err := trial.Validate(); err != nil {
			t.Errorf("%s: %v", trial.Set, err)
		}
	}
	err := (Trial{Set: "moons"}).Validate()
	if err == nil || !strings.Contains(err.Error(), `set "moons" is unknown`) {
		t.Errorf("an unknown set: %v", err)
	}
}
