package points

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/data/tabular"
	"github.com/gomfm/gomfm/mfm/experiment/internal/classname"
)

// leastRows is the least number of rows of a data set, and leastOfClass that of each class, of
// which leastTrained must be left to train on. A data set also needs ten rows for each column.
const leastRows, leastOfClass, leastTrained = 100, 20, 15

// Data are points to train on and others that the map does not see.
type Data struct {
	Train, HeldOut *tabular.Table
}

// Load reads a table, see [tabular.Read], and splits it by [Split].
func Load(path, classes string) (*Data, error) {
	t, err := tabular.Read(path, classes)
	if err != nil {
		return nil, err
	}
	d, err := Split(t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Split returns a random tenth of the rows of a table, at most 10,000, as the held-out data, and
// the others to train on. The same table gives the same parts. It returns an error for too few
// rows, a column that is constant, also if only in the rows to train on, a column that is a
// multiple of another plus a constant, and a class with too few rows.
func Split(t *tabular.Table) (*Data, error) {
	n, dim := len(t.Rows), len(t.Columns)
	if least := max(leastRows, 10*dim); n < least {
		return nil, fmt.Errorf("has %d rows of %d columns: give at least %d", n, dim, least)
	}
	if err := checkColumns(t); err != nil {
		return nil, err
	}
	counts := classCounts(t)
	for c, count := range counts {
		if count < leastOfClass {
			return nil, fmt.Errorf("class %s has %d rows: give at least %d, or join it with another", classPlace(t, c),
				count, leastOfClass)
		}
	}
	if len(t.Names) == 1 {
		return nil, fmt.Errorf("all rows have the class %q: train without classes", t.Names[0])
	}
	order := rand.New(rand.NewPCG(uint64(n), uint64(dim))).Perm(n)
	held := min(n/10, 10_000)
	d := &Data{Train: t.Part(order[held:]), HeldOut: t.Part(order[:held])}
	if err := checkColumns(d.Train); err != nil {
		return nil, fmt.Errorf("rows to train on: %w", err)
	}
	for c, count := range classCounts(d.Train) {
		if count < leastTrained {
			return nil, fmt.Errorf("class %s has %d rows, of which only %d are left to train on: give more, so that "+
				"at least %d are left, or join it with another", classPlace(t, c), counts[c], count, leastTrained)
		}
	}
	return d, nil
}

// classCounts returns the number of rows of each class.
func classCounts(t *tabular.Table) []int {
	counts := make([]int, len(t.Names))
	for _, c := range t.Classes {
		counts[c]++
	}
	return counts
}

// classPlace returns the name of a class, with the place of its first row in the file if it is
// known.
func classPlace(t *tabular.Table, class int) string {
	name := strconv.Quote(t.Names[class])
	if len(t.Places) > class {
		name += ", first in " + t.Places[class] + ","
	}
	return name
}

// checkColumns returns an error for a constant column and for one that is a multiple of another
// plus a constant.
func checkColumns(t *tabular.Table) error {
	columns := make([][]float64, len(t.Columns)) // standardized
	for j, name := range t.Columns {
		column := make([]float64, len(t.Rows))
		for i, row := range t.Rows {
			column[i] = row[j]
		}
		mean, std := stat.MeanStdDev(column, nil)
		if math.IsInf(std, 0) || math.IsNaN(std) {
			return fmt.Errorf("column %q has values up to %g, too large for a variance: divide them", name,
				max(slices.Max(column), -slices.Min(column)))
		}
		if !(std > 1e-12*math.Abs(mean)) || slices.Min(column) == slices.Max(column) {
			return fmt.Errorf("column %q is constant, %g in all rows: remove it", name, column[0])
		}
		for i, v := range column {
			column[i] = (v - mean) / std
		}
		for k, other := range columns[:j] {
			if same(column, other) {
				return fmt.Errorf("columns %q and %q have the same values, up to a factor and a constant: remove one",
					t.Columns[k], name)
			}
		}
		columns[j] = column
	}
	return nil
}

// same reports whether standardized columns are equal, or equal up to the sign.
func same(a, b []float64) bool {
	equal, opposite := true, true
	for i := range a {
		equal = equal && math.Abs(a[i]-b[i]) <= 1e-6
		opposite = opposite && math.Abs(a[i]+b[i]) <= 1e-6
	}
	return equal || opposite
}

// Scale standardizes the columns of points.
type Scale struct {
	Mean []float64 `json:"mean"`
	Std  []float64 `json:"std"` // positive
}

// FitScale returns the mean and the standard deviation of each column.
func FitScale(rows [][]float64) Scale {
	var s Scale
	column := make([]float64, len(rows))
	for j := range rows[0] {
		for i, row := range rows {
			column[i] = row[j]
		}
		mean, std := stat.MeanStdDev(column, nil)
		s.Mean, s.Std = append(s.Mean, mean), append(s.Std, std)
	}
	return s
}

// Standardize returns (x - mean)/std of each column.
func (s Scale) Standardize(rows [][]float64) [][]float64 {
	return s.each(rows, func(v, mean, std float64) float64 { return (v - mean) / std })
}

// Restore is the inverse of Standardize.
func (s Scale) Restore(rows [][]float64) [][]float64 {
	return s.each(rows, func(v, mean, std float64) float64 { return mean + std*v })
}

func (s Scale) each(rows [][]float64, f func(v, mean, std float64) float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(row))
		for j, v := range row {
			out[i][j] = f(v, s.Mean[j], s.Std[j])
		}
	}
	return out
}

// validate returns an error unless there is a finite mean and a positive deviation of each column.
func (s Scale) validate(columns int) error {
	if len(s.Mean) != columns || len(s.Std) != columns {
		return fmt.Errorf("%d means and %d standard deviations for %d columns", len(s.Mean), len(s.Std), columns)
	}
	for j := range s.Mean {
		if !(s.Std[j] > 0) || math.IsInf(s.Std[j], 0) || s.Mean[j]-s.Mean[j] != 0 {
			return fmt.Errorf("column %d has mean %g and standard deviation %g: must be finite, and positive", j, s.Mean[j],
				s.Std[j])
		}
	}
	return nil
}

// ClassIndex returns the index of a class in names. text is its name, or its index if no class has
// that name. Other texts are errors.
func ClassIndex(names []string, text string) (int32, error) { return classname.Index(names, text) }
