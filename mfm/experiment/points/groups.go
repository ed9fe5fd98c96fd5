package points

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/metric"
)

// fitColumns returns the prior of rows without classes: that of all columns with at most a number
// of components, or the product of those of independentGroups, if its log density of the rows held
// back is larger by more than two standard errors and these are enough to tell.
func (c PriorConfig) fitColumns(ctx context.Context, rows [][]float64, most int) (*Prior, error) {
	whole, err := c.part(ctx, rows, most)
	if err != nil {
		return nil, err
	}
	p := &Prior{Mixture: whole.mixture, Parts: []Part{whole.Part}}
	groups, err := independentGroups(ctx, rows)
	if err != nil {
		return nil, err
	}
	groups = mergedGroups(groups, min(maxGroups, c.MaxComponents))
	if len(groups) == 1 || len(whole.held) < leastHeld {
		return p, nil
	}
	product := &Prior{Groups: groups}
	gains := floats.ScaleTo(make([]float64, len(whole.held)), -1, whole.held)
	for i, group := range groups {
		part, err := c.part(ctx, columnsOf(rows, group), c.share(groups, i))
		if err != nil {
			return nil, err
		}
		floats.Add(gains, part.held)
		product.Independent = append(product.Independent, part.mixture)
		product.Parts = append(product.Parts, part.Part)
	}
	product.Mixture, product.Independent = product.Independent[0], product.Independent[1:]
	if gain, se := metric.MeanSE(gains); gain > 2*se {
		return product, nil
	}
	return p, nil
}

// share returns the largest number of components of a group. All groups together have
// MaxComponents: one each, and the others in the ratio of the squares of their numbers of columns.
// The entries of covariances are bounded as those of a single mixture.
func (c PriorConfig) share(groups [][]int, of int) int {
	sum := 0
	for _, group := range groups {
		sum += len(group) * len(group)
	}
	square := len(groups[of]) * len(groups[of])
	return max(1, min((c.MaxComponents-len(groups))*square/sum+1, maxEntries/square))
}

// groups returns the columns of each mixture.
func (p *Prior) groups() [][]int {
	if p.Groups != nil {
		return p.Groups
	}
	all := make([]int, p.Mixture.Dim())
	for i := range all {
		all[i] = i
	}
	return [][]int{all}
}

// validate returns an error unless the prior is one of points of a number of columns and classes.
func (p *Prior) validate(columns, classes int) error {
	if p == nil || p.Mixture == nil {
		return fmt.Errorf("the mixture is missing")
	}
	if labels := p.Labels; (labels != nil) != (classes > 0) {
		return fmt.Errorf("the mixture has %d labels, the points have %d classes", len(labels), classes)
	}
	mixtures := append([]*gmm.Mixture{p.Mixture}, p.Independent...)
	groups := p.groups()
	if len(mixtures) != len(groups) {
		return fmt.Errorf("%d mixtures for %d groups of columns", len(mixtures), len(groups))
	}
	var all []int
	for i, group := range groups {
		if m := mixtures[i]; m == nil || m.Dim() != len(group) {
			return fmt.Errorf("the mixture of columns %v is missing or of another dimension", group)
		}
		all = append(all, group...)
	}
	slices.Sort(all)
	for i, column := range all {
		if column != i || len(all) != columns {
			return fmt.Errorf("mixtures of columns %v, the points have %d columns: want each once", groups, columns)
		}
	}
	return nil
}

// independentGroups returns the finest partition of the columns of rows in which columns of
// different groups show no dependence in pairs: groups are the connected components of the graph of
// dependent pairs. Each group and the groups are in ascending order. A pair is dependent if a
// χ² test of its counts in cells of equal shares rejects independence at the level 0.001 for all
// pairs together. It sees neither dependence of three columns that no pair of them has, nor one
// finer than the cells, so the caller must compare the densities. It is an error if ctx ends.
func independentGroups(ctx context.Context, rows [][]float64) ([][]int, error) {
	rows = rows[:min(len(rows), maxTested)]
	columns := len(rows[0])
	bins := max(1, min(maxBins, int(math.Sqrt(float64(len(rows))/leastInCell))))
	root := make([]int, columns) // of a tree of each group
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	cells := make([][]int, columns)
	for i := range cells {
		cells[i] = binned(rows, i, bins)
	}
	level := 0.001 / max(1, float64(columns*(columns-1)/2))
	for i := range columns {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("prior: stopped: %w", context.Cause(ctx))
		}
		for j := range i {
			if a, b := find(i), find(j); a != b && dependence(cells[i], cells[j], bins) < level {
				root[max(a, b)] = min(a, b)
			}
		}
	}
	var groups [][]int
	at := make(map[int]int) // from roots to groups
	for i := range columns {
		r := find(i)
		if _, known := at[r]; !known {
			at[r] = len(groups)
			groups = append(groups, nil)
		}
		groups[at[r]] = append(groups[at[r]], i)
	}
	return groups, nil
}

// mergedGroups merges the smallest groups, which are then fitted together, until there are at most
// a number.
func mergedGroups(groups [][]int, most int) [][]int {
	groups = slices.Clone(groups)
	for len(groups) > most {
		slices.SortStableFunc(groups, func(a, b []int) int { return cmp.Compare(len(b), len(a)) })
		last := len(groups) - 1
		groups[last-1] = slices.Sorted(slices.Values(slices.Concat(groups[last-1], groups[last])))
		groups = groups[:last]
	}
	slices.SortFunc(groups, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return groups
}

const (
	maxGroups   = 8    // the graph of a step grows with their number
	leastHeld   = 30   // rows held back by which a product is chosen
	maxTested   = 5000 // rows of the tests
	maxBins     = 10   // cells along a column
	leastInCell = 5    // expected rows in a cell of a pair of columns
)

// binned returns the cell, in [0, bins), of each row's value in a column. Cells have about equal
// shares; equal values are in the same cell.
func binned(rows [][]float64, column, bins int) []int {
	sorted := make([]float64, len(rows))
	for i, row := range rows {
		sorted[i] = row[column]
	}
	slices.Sort(sorted)
	out := make([]int, len(rows))
	for i, row := range rows {
		out[i] = sort.SearchFloat64s(sorted, row[column]) * bins / len(rows)
	}
	return out
}

// dependence returns the p-value of the χ² test of independence for two columns of cells.
func dependence(a, b []int, bins int) float64 {
	counts, sumsA, sumsB := make([]float64, bins*bins), make([]float64, bins), make([]float64, bins)
	for i := range a {
		counts[a[i]*bins+b[i]]++
		sumsA[a[i]]++
		sumsB[b[i]]++
	}
	square, usedA, usedB := 0., 0, 0
	for i, s := range sumsA {
		if s == 0 {
			continue
		}
		usedA, usedB = usedA+1, 0
		for j, t := range sumsB {
			if t == 0 {
				continue
			}
			usedB++
			expected := s * t / float64(len(a))
			deviation := counts[i*bins+j] - expected
			square += deviation * deviation / expected
		}
	}
	freedom := float64((usedA - 1) * (usedB - 1))
	if freedom <= 0 {
		return 1
	}
	return distuv.ChiSquared{K: freedom}.Survival(square)
}

// columnsOf returns the given columns of rows.
func columnsOf(rows [][]float64, columns []int) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = make([]float64, len(columns))
		for j, column := range columns {
			out[i][j] = row[column]
		}
	}
	return out
}
