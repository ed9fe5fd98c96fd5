package points

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/points/sets"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// standardRows returns standardized rows of a set.
func standardRows(t *testing.T, name string, n int, seed uint64) [][]float64 {
	t.Helper()
	set, err := sets.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	rows := set.Table(n, seed).Rows
	return FitScale(rows).Standardize(rows)
}

// Groups are the blocks of which sets are made, in any order of the columns. Few rows show no
// dependence where there is none.
func TestIndependentGroups(t *testing.T) {
	bananas := standardRows(t, "bananas-8d", 4000, 3)
	mixed := columnsOf(bananas, []int{0, 2, 4, 6, 1, 3, 5, 7})
	for name, tc := range map[string]struct {
		rows [][]float64
		want [][]int
	}{
		"bananas":       {bananas, [][]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}}},
		"mixed bananas": {mixed, [][]int{{0, 4}, {1, 5}, {2, 6}, {3, 7}}},
		"checkerboard":  {standardRows(t, "checkerboard", 4000, 3), [][]int{{0, 1}}},
		"one row":       {bananas[:1], [][]int{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}},
	} {
		got, err := independentGroups(t.Context(), tc.rows)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: groups %v, want %v", name, got, tc.want)
		}
	}
	merged := 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 9))
		rows := make([][]float64, 150)
		for i := range rows {
			rows[i] = []float64{rng.NormFloat64(), rng.ExpFloat64(), float64(rng.IntN(3)), rng.Float64()}
		}
		groups, err := independentGroups(t.Context(), rows)
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) < 4 {
			merged++
		}
	}
	if merged > 3 { // 0.2 on average, at the level 0.001
		t.Errorf("independent columns are in one group in %d of 200 tables", merged)
	}
}

// Independent parts of the columns have mixtures of their own, whose density is nearer to that of
// the set than that of one mixture of all columns. Where three columns depend on each other and no
// pair does, a single mixture stays.
func TestPriorOfGroups(t *testing.T) {
	rows := standardRows(t, "bananas-8d", 6000, 1)
	c := PriorConfig{MaxComponents: 64, Fit: 10, Steps: 1}
	p, err := c.fit(t.Context(), rows[:3000], nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Groups) != 4 || len(p.Independent) != 3 || len(p.Parts) != 4 {
		t.Fatalf("groups %v, %d and %d mixtures", p.Groups, len(p.Independent), len(p.Parts))
	}
	if err := p.validate(8, 0); err != nil {
		t.Error(err)
	}
	whole, err := c.part(t.Context(), rows[:3000], c.MaxComponents)
	if err != nil {
		t.Fatal(err)
	}
	gain := 0.
	for i, m := range append([]*gmm.Mixture{p.Mixture}, p.Independent...) {
		for _, row := range columnsOf(rows[3000:], p.Groups[i]) {
			gain += m.LogDensity(row) / 3000
		}
	}
	for _, row := range rows[3000:] {
		gain -= whole.mixture.LogDensity(row) / 3000
	}
	if gain < 0.2 {
		t.Errorf("mixtures of groups gain %.3f nats on fresh rows", gain)
	}

	rng := rand.New(rand.NewPCG(4, 9))
	signs := make([][]float64, 3000) // the product of the signs is positive
	for i := range signs {
		x := []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
		x[2] = math.Copysign(x[2], x[0]*x[1])
		signs[i] = x
	}
	correlated := make([][]float64, 100) // too few rows to show that columns are independent
	for i := range correlated {
		common := rng.NormFloat64()
		correlated[i] = []float64{common + 2*rng.NormFloat64(), common + 2*rng.NormFloat64(), rng.NormFloat64()}
	}
	if p, err = c.fit(t.Context(), correlated, nil, 0); err != nil || p.Groups != nil {
		t.Errorf("100 rows: groups %v, error %v", p.Groups, err)
	}
	if groups, err := independentGroups(t.Context(), signs); err != nil || len(groups) != 3 {
		t.Errorf("pairs of columns without dependence: groups %v, error %v", groups, err)
	}
	p, err = c.fit(t.Context(), signs, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.Groups != nil || p.Mixture.Dim() != 3 {
		t.Errorf("columns that depend on each other are in groups %v", p.Groups)
	}
}

// The components of all groups are at most MaxComponents, and their covariances have at most as
// many entries as those of a single mixture.
func TestShare(t *testing.T) {
	for _, groups := range [][][]int{{{0, 1}, {2}, {3}}, {{0}, {1}, {2}, {3}}, {slices.Repeat([]int{0}, 299), {299}}} {
		for _, most := range []int{4, 64, 256} {
			sum := 0
			for i, group := range groups {
				n := PriorConfig{MaxComponents: most}.share(groups, i)
				if sum += n; n < 1 || n*len(group)*len(group) > maxEntries {
					t.Errorf("%d components of a group of %d columns", n, len(group))
				}
			}
			if sum > most {
				t.Errorf("%d components of %d groups, want at most %d", sum, len(groups), most)
			}
		}
	}
}

// A run of a set with independent columns keeps its groups, and its map without a network samples
// posteriors that are products: here of columns of four modes, of which a single mixture of eight
// components cannot have all sixteen combinations.
func TestRunOfGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 9))
	modes := []float64{-12, -4, 4, 12} // of the standard deviation 1
	table := &tabular.Table{Columns: []string{"a", "b"}}
	for range 20_000 {
		table.Rows = append(table.Rows, []float64{
			modes[rng.IntN(4)] + rng.NormFloat64(), modes[rng.IntN(4)] + rng.NormFloat64(),
		})
	}
	b, data, config, dir := backendtest.New(t), split(t, table), small(), filepath.Join(t.TempDir(), "run")
	config.Prior.MaxComponents, config.Prior.Steps = 8, 8
	first, err := NewRun(t.Context(), config, data, run.Options{Dir: dir})
	if err == nil {
		_, err = first.Train(t.Context(), b, data, run.Options{Dir: dir})
	}
	if err != nil {
		t.Fatal(err)
	}
	opened, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := [][]int{{0}, {1}}; !reflect.DeepEqual(opened.Prior.Groups, want) ||
		!reflect.DeepEqual(opened.Map.Parametrization, first.Map.Parametrization) {
		t.Fatalf("groups %v, want %v and the prior of the training", opened.Prior.Groups, want)
	}
	opened.Map.Backbone = none
	sampler, err := mfm.NewSampler(b, opened.Model(model.NewStore()), mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	const at, n = 0.6, 20_000
	y := []float64{1, -7}
	samples, err := opened.Sample(t.Context(), sampler, Observation{T: at, X: y}, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	for j, noise := range opened.Noise(at) {
		variance := 1 + noise*noise // of an observation given the mode
		weights, means := make([]float64, 4), make([]float64, 4)
		for k, m := range modes {
			weights[k] = math.Exp(-(y[j] - m) * (y[j] - m) / (2 * variance))
			means[k] = m + (y[j]-m)/variance
		}
		floats.Scale(1/floats.Sum(weights), weights)
		shares := make([]float64, 4)
		for _, row := range samples {
			nearest := 0
			for k, m := range means {
				if math.Abs(row[j]-m) < math.Abs(row[j]-means[nearest]) {
					nearest = k
				}
			}
			shares[nearest] += 1. / n
		}
		for k := range modes {
			if math.Abs(shares[k]-weights[k]) > 0.02 {
				t.Errorf("column %d: shares %.3f of the modes, want %.3f", j, shares, weights)
				break
			}
		}
	}
}

// Of many groups the smallest ones are merged, and each column stays in one.
func TestMergedGroups(t *testing.T) {
	got := mergedGroups([][]int{{0, 3}, {1}, {2}, {4, 5, 6}, {7}}, 3)
	if want := [][]int{{0, 3}, {1, 2, 7}, {4, 5, 6}}; !reflect.DeepEqual(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	rng := rand.New(rand.NewPCG(5, 9))
	rows := make([][]float64, 400)
	for i := range rows {
		rows[i] = make([]float64, 20)
		for j := range rows[i] {
			rows[i][j] = rng.NormFloat64()
		}
	}
	p, err := PriorConfig{MaxComponents: 64, Fit: 3, Steps: 1}.fit(t.Context(), rows, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.validate(20, 0); err != nil || len(p.Groups) != maxGroups {
		t.Errorf("20 independent columns: groups %v, error %v", p.Groups, err)
	}
}

// The parametrization has each mixture at the columns of its group.
func TestPriorOfGroupsParametrization(t *testing.T) {
	p := &Prior{Groups: [][]int{{0, 2}, {1}}}
	var err error
	if p.Mixture, err = gmm.New([]float64{1}, [][]float64{{3, 5}}, [][][]float64{{{1, 0}, {0, 1}}}); err != nil {
		t.Fatal(err)
	}
	other, err := gmm.New([]float64{1}, [][]float64{{4}}, [][][]float64{{{1}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Independent = []*gmm.Mixture{other}
	if err := p.validate(3, 0); err != nil {
		t.Fatal(err)
	}
	m := p.parametrization(3, PriorConfig{Steps: 2})
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	z := append(p.Mixture.Mean(), other.Mean()...)
	for i, want := range []float64{3, 4, 5} {
		got := 0.
		for j, v := range m.Basis[i] {
			got += v * z[j]
		}
		if got != want {
			t.Errorf("column %d has the mean %g, want %g", i, got, want)
		}
	}
	for want, groups := range map[string][][]int{
		"want each once": {{0, 0}, {1}}, "1 groups": {{0, 1, 2}}, "another dimension": {{0}, {1, 2}},
		"the points have 3 columns": {{0, 3}, {1}},
	} {
		bad := *p
		bad.Groups = groups
		if err := bad.validate(3, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("groups %v: error %v, want %q", groups, err, want)
		}
	}
	if err := p.validate(4, 0); err == nil {
		t.Error("no error for a column without a mixture")
	}
	if err := p.validate(3, 2); err == nil || !strings.Contains(fmt.Sprint(err), "labels") {
		t.Errorf("classes without labels: %v", err)
	}
}
