package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// whenGaussian returns the results on the Gaussian that meet the conditions.
func (s *store) whenGaussian(conditions ...string) []gaussian.Result {
	return decode[gaussian.Result](s.rows(whenFile, append(conditions, "test="+gaussian.Test)...))
}

// gaussianFactor is how many times the evaluations of a run Best-of-N needs for its divergence.
func gaussianFactor(r gaussian.Result) float64 {
	return gaussian.Factor(gaussian.CandidatesForKL(r.Reached), r.Steps, r.NFE)
}

// gaussianFactors formats the range over dimensions of the measured factors of MFM-G.
func (s *store) gaussianFactors(kl float64, n int) string {
	var all []float64
	for _, r := range s.whenGaussian("method=mfm-g", fmt.Sprintf("kl=%g", kl), fmt.Sprintf("n=%d", n)) {
		all = append(all, gaussianFactor(r))
	}
	return short(slices.Min(all)) + " to " + short(slices.Max(all))
}

// gaussianKLs are the divergences of the problems.
func (s *store) gaussianKLs() []float64 {
	var kls []float64
	for _, r := range s.whenGaussian("method=mfm-g") {
		kls = append(kls, r.KL)
	}
	slices.Sort(kls)
	return slices.Compact(kls)
}

// dimensionsOf returns the numbers of dimensions of results, in increasing order.
func dimensionsOf(all []gaussian.Result) []int {
	var dims []int
	for _, r := range all {
		dims = append(dims, r.Dim)
	}
	slices.Sort(dims)
	return slices.Compact(dims)
}

// gaussianDims formats the numbers of dimensions, as in 2, 8, 32.
func (s *store) gaussianDims() string {
	var parts []string
	for _, d := range dimensionsOf(s.whenGaussian("method=mfm-g")) {
		parts = append(parts, fmt.Sprint(d))
	}
	return strings.Join(parts, ", ")
}

// gaussianFactorTable compares measured factors with the ceiling.
func (s *store) gaussianFactorTable() string {
	header, lines := "κ, nats", [][]string{}
	for _, n := range []int{1, 2, 4} {
		header += fmt.Sprintf(" | N = %d: e^(κ+1)/%d | measured", n, 1+4*n)
	}
	for _, kl := range s.gaussianKLs() {
		line := []string{fmt.Sprint(kl)}
		for _, n := range []int{1, 2, 4} {
			line = append(line, ceiling(kl, n), s.gaussianFactors(kl, n))
		}
		lines = append(lines, line)
	}
	return table(header, lines)
}

// gaussianOff is the largest relative difference between a measured factor and its ceiling.
func (s *store) gaussianOff() float64 {
	off := 0.0
	for _, r := range s.whenGaussian("method=mfm-g") {
		off = max(off, math.Abs(gaussianFactor(r)/gaussian.Ceiling(r.KL, r.N)-1))
	}
	return off
}

// crossing returns the divergence at which the mean logarithm of measured factors of MFM-G crosses
// a factor, by interpolation between divergences; NaN if none does.
func (s *store) crossing(factor float64, n int) float64 {
	last, lastKL := math.NaN(), math.NaN()
	for _, kl := range s.gaussianKLs() {
		mean, all := 0.0, s.whenGaussian("method=mfm-g", fmt.Sprintf("kl=%g", kl), fmt.Sprintf("n=%d", n))
		for _, r := range all {
			mean += math.Log(gaussianFactor(r)/factor) / float64(len(all))
		}
		if mean >= 0 && last < 0 {
			return lastKL + (kl-lastKL)*last/(last-mean)
		}
		last, lastKL = mean, kl
	}
	return math.NaN()
}

// ceilingKL is the divergence at which the ceiling is a factor.
func ceilingKL(factor float64, n int) float64 { return math.Log(factor*float64(1+4*n)) - 1 }

// gaussianMethodTable compares the methods on the problem that all of them have.
func (s *store) gaussianMethodTable() string {
	all := s.whenGaussian("kl=6", "dim=32")
	slices.SortStableFunc(all, func(a, b gaussian.Result) int { return int(a.NFE - b.NFE) })
	var lines [][]string
	for _, r := range all {
		length := r.Problem.Length()
		line := []string{runs{method: r.Method}.name(), fmt.Sprint(r.N), comma(r.NFE),
			pair(r.Mean*length, length*independent(r.Method, r.MeanSE)), "", "", fmt.Sprintf("%.2f", r.Reached), "",
			fmt.Sprintf("%.3f (%.3f)", r.W2, r.Floor), short(r.MicrosPerNFE)}
		if q := r.RewardQuantiles; len(q) == 5 {
			line[4] = strings.Join([]string{short(q[0]), short(q[2]), short(q[4])}, ", ")
		}
		if r.Method != "best-of-n" {
			of := func(mean float64) float64 { return gaussian.Factor(gaussian.CandidatesForMean(mean), r.Steps, r.NFE) }
			f := metric.Candidates{N: of(r.Mean), Low: of(r.Mean - 1.96*r.MeanSE), High: of(r.Mean + 1.96*r.MeanSE)}
			if filters(r.Method) {
				f.Low = math.NaN()
			}
			line[5] = factorText(f, math.NaN())
			line[7] = short(gaussianFactor(r))
		}
		lines = append(lines, line)
	}
	return table("method | N | NFE | reward | 5, 50, 95 % | factor by reward | nats from the data | factor by divergence | "+
		"W₂ along the reward (floor) | µs/NFE", lines)
}

// gaussianDimTable compares the methods at 6 nats by the number of dimensions: reward, and distance
// along the reward.
func (s *store) gaussianDimTable() string {
	all := s.whenGaussian("kl=6")
	dims := dimensionsOf(all)
	slices.SortStableFunc(all, func(a, b gaussian.Result) int { return int(a.NFE - b.NFE) })
	header := "method | N | NFE"
	for _, d := range dims {
		header += fmt.Sprintf(" | d = %d", d)
	}
	lines, index := [][]string{}, map[string]int{}
	for _, r := range all {
		name := runs{method: r.Method}.name()
		key := fmt.Sprint(name, r.N)
		if _, found := index[key]; !found {
			index[key] = len(lines)
			lines = append(lines, append([]string{name, fmt.Sprint(r.N), comma(r.NFE)}, make([]string, len(dims))...))
		}
		cell := fmt.Sprintf("%s, %.3f", short(r.Mean*r.Problem.Length()), r.W2)
		lines[index[key]][3+slices.Index(dims, r.Dim)] = cell
	}
	return table(header, lines)
}

// filters reports whether a method is a particle filter, whose samples share ancestors.
func filters(method string) bool {
	entry, err := steer.Lookup(method)
	return err == nil && entry.Filter
}

// independent returns a standard error of independent samples, NaN for those of a filter.
func independent(method string, se float64) float64 {
	if filters(method) {
		return math.NaN()
	}
	return se
}
