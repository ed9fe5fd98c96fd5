package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/experiment/gaussian"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// whenFile has the results of the experiment on when steering pays, of several tests.
const whenFile = "when_steering_pays.json"

// mostCandidates is the largest number of candidates that the cost of Best-of-N is computed for.
const mostCandidates = 1000

// steered is a result of the mixture, of the digits or of pictures: what all have, and the
// distances of each.
type steered struct {
	steering.Result
	Reward       metric.Optional `json:"reward"`
	RewardSE     metric.Optional `json:"reward_se"`
	RewardTarget metric.Optional `json:"reward_target"` // mean over the target
	SW2          metric.Optional `json:"sw2"`           // of the mixture
	Floor        metric.Optional `json:"floor"`
	MMD          metric.Optional `json:"mmd"`
	GaussianKL   metric.Optional `json:"target_kl_gaussian"` // of the digits, like those below
	L2           metric.Optional `json:"l2"`
	Distance     metric.Optional `json:"distance"`
	FromBase     metric.Optional `json:"base_distance"`

	DistanceFloor metric.Optional `json:"distance_floor"`
	Nearest       metric.Optional `json:"nearest"` // distance to the nearest training digit

	Diversity     metric.Optional `json:"diversity"`
	Confident     metric.Optional `json:"confident"`
	Second        []float64       `json:"classes_second"`
	HeldOut       metric.Optional `json:"held_out"` // of pictures, like those below
	HeldOutSE     metric.Optional `json:"held_out_se"`
	HeldOutBase   metric.Optional `json:"held_out_base"`
	HeldOutBaseSE metric.Optional `json:"held_out_base_se"`
	Kernel        metric.Optional `json:"kernel"`

	SecondEvaluator *alignment.Comparison `json:"second_evaluator"`

	Monitors     *alignment.Monitors `json:"monitors"`
	MonitorsBase *alignment.Monitors `json:"monitors_base"`
}

// excess is the sliced W2 beyond its sampling floor, √max(SW2² - floor², 0). It compares runs of
// different numbers of samples.
func (r steered) excess() metric.Optional {
	if r.SW2.IsZero() {
		return metric.Optional{}
	}
	floor := 0.0
	if !r.Floor.IsZero() {
		floor = r.Floor.Float()
	}
	return metric.Some(metric.Excess(r.SW2.Float(), floor, 1))
}

// runs are the results of one setting with all seeds that did not diverge. variant is the option of
// the method that tells settings with the same number of samples apart, empty for most methods.
type runs struct {
	method, variant, renormalization string
	n, steps, diverged               int
	results                          []steered
}

// mean returns the mean of a number over the results that have it, and its standard error over
// them; NaN for none, and for the error of one.
func (g runs) mean(of func(r steered) metric.Optional) (mean, se float64) {
	var all []float64
	for _, r := range g.results {
		if v := of(r); !v.IsZero() {
			all = append(all, v.Float())
		}
	}
	switch len(all) {
	case 0:
		return math.NaN(), math.NaN()
	case 1:
		return all[0], math.NaN()
	}
	return metric.MeanSE(all)
}

// reward returns the mean reward and its standard error: that of independent samples, or, for a
// filter, whose particles share ancestors, that over the seeds.
func (g runs) reward() (mean, se float64) {
	return g.pooled(func(r steered) (mean, se metric.Optional) { return r.Reward, r.RewardSE })
}

// heldOut is reward of the held-out reward.
func (g runs) heldOut() (mean, se float64) {
	return g.pooled(func(r steered) (mean, se metric.Optional) { return r.HeldOut, r.HeldOutSE })
}

// pooled returns the mean of a number and its standard error, see reward.
func (g runs) pooled(of func(r steered) (mean, se metric.Optional)) (mean, se float64) {
	m, seeds := g.mean(func(r steered) metric.Optional { v, _ := of(r); return v })
	if filters(g.method) {
		return m, seeds
	}
	square := 0.0
	for _, r := range g.results {
		_, se := of(r)
		square += math.Pow(se.Float()/float64(len(g.results)), 2)
	}
	return m, math.Sqrt(square)
}

func (g runs) nfe() float64 {
	v, _ := g.mean(func(r steered) metric.Optional { return metric.Some(r.NFE) })
	return v
}

// name is that of the method, with its variant, in tables.
func (g runs) name() string {
	name := cmp.Or(methodNames[g.method], g.method)
	if g.variant != "" {
		name += ", " + g.variant
	}
	return name
}

// variantOf is the number of particles of a search and the factor of the signal-to-noise ratio of
// weighted Diamond.
func variantOf(r steered) string {
	entry, err := steer.Lookup(r.Method)
	switch {
	case err != nil:
	case entry.Search:
		return fmt.Sprintf("M = %d", max(r.Particles, 1))
	case entry.SNR:
		return fmt.Sprintf("SNR %g", cmp.Or(r.SNR, steer.DefaultSNR))
	}
	return ""
}

var methodNames = map[string]string{
	"mfm-g": "MFM-G", "mfm-gf": "MFM-GF", "dps": "DPS", "best-of-n": "Best-of-N", "exact": "exact ∇V",
	"best-of-n-one-step": "Best-of-N, one-step samples", "smc-dps": "SMC, twist DPS", "smc-mfm-g": "SMC, twist MFM-G",
	"smc-mfm-gf": "SMC, twist MFM-GF", "weighted-diamond": "weighted Diamond", "fmrg-e": "flow-map guidance, Euclidean",
	"fmrg-j":                "flow-map guidance, Jacobian",
	"search-greedy-renoise": "search, greedy", "search-max-overall-renoise": "search, max overall",
}

// tilt is a target with the runs that steer to it and the pool that Best-of-N is computed from.
type tilt struct {
	name  string
	kl    float64
	exact bool // kl is a closed form
	bound bool // kl is a lower bound
	// effective is the effective number of pictures whose weights kl is estimated from.
	effective float64
	// target is the mean reward of the target of pictures, by the same weights.
	target float64
	pool   []float64
	each   float64 // evaluations of a candidate with its reward
	// unsteered is the result of the pool.
	unsteered steered
	runs      []runs // in the order of their methods, numbers of samples and steps
}

// tilts returns the targets of a test, in the order of their divergence, none if the file has no
// results of the test. A target without a pool or without other runs is left out.
func (s *store) tilts(test string) []tilt { return tiltsOf(filter(s.rows(whenFile), "test="+test)) }

// tiltsOf returns the targets of results with λ = 1, see tilts.
func tiltsOf(rows []row) []tilt { return tiltsWith(rows, 1) }

// tiltsWith is tiltsOf for the runs with another λ.
func tiltsWith(rows []row, lambda float64) (all []tilt) {
	for _, group := range groupBy(rows, "reward_name") {
		t := tilt{name: group[0].Text("reward_name")}
		index := map[string]int{}
		results := decode[steered](group)
		for _, r := range results {
			if r.PoolRewards != nil {
				t.addPool(r)
				continue
			}
			if r.Config == nil || r.Config.Lambda != lambda {
				continue
			}
			g := runs{method: r.Method, variant: variantOf(r), n: r.N, steps: r.Steps, renormalization: "none"}
			if r.Config.Renormalization != steer.NoRenormalization {
				g.renormalization = fmt.Sprintf("%s %g", r.Config.Renormalization, r.Config.Ratio)
			}
			key := fmt.Sprintf("%s|%s|%d|%d|%s", g.method, g.variant, g.n, g.steps, g.renormalization)
			i, found := index[key]
			if !found {
				i, index[key] = len(t.runs), len(t.runs)
				t.runs = append(t.runs, g)
			}
			if r.Diverged || r.Reward.IsZero() {
				t.runs[i].diverged++
			} else {
				t.runs[i].results = append(t.runs[i].results, r)
			}
		}
		if t.pool == nil || t.runs == nil {
			continue
		}
		slices.SortStableFunc(t.runs, func(a, b runs) int {
			return cmp.Or(methodIndex(a.method)-methodIndex(b.method), a.n-b.n, a.steps-b.steps, cmp.Compare(a.nfe(), b.nfe()))
		})
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b tilt) int { return cmp.Compare(a.kl, b.kl) })
	return all
}

// methodIndex is the place of a method in the list of all methods.
func methodIndex(name string) int {
	return slices.IndexFunc(steer.Methods(), func(e steer.Entry) bool { return e.Name == name })
}

// usableNumber is the effective number of weighted samples from which on a divergence is estimated
// by their weights alone. Fewer underestimate it.
const usableNumber = 100

// addPool sets what the result of a pool says of the target: the pool and the divergence. Of images
// that is the estimate by weights. With an effective number below usableNumber it is the larger one
// of it and that of a Gaussian, and a lower bound if there is none.
func (t *tilt) addPool(r steered) {
	for _, v := range r.PoolRewards {
		t.pool = append(t.pool, float64(v))
	}
	t.unsteered = r
	t.each, t.kl, t.exact = r.NFE+1, r.TargetKL.Float(), r.TargetEffective.IsZero()
	if r.TargetEffective.Float() >= usableNumber {
		return
	}
	if t.bound = !t.exact && r.GaussianKL.IsZero(); !r.GaussianKL.IsZero() {
		t.kl, t.exact = max(t.kl, r.GaussianKL.Float()), false
	}
}

// nats formats the divergence of a target.
func (t tilt) nats(decimals int) string {
	text := fmt.Sprintf("%.*f nats", decimals, t.kl)
	if t.bound {
		return "at least " + text
	}
	return text
}

// ofUnsteered is [runs.mean] of the unsteered runs, or else of the pool.
func (t tilt) ofUnsteered(of func(r steered) metric.Optional) (mean, se float64) {
	for _, g := range t.runs {
		if g.method == steering.Unsteered && len(g.results) > 0 {
			return g.mean(of)
		}
	}
	return runs{results: []steered{t.unsteered}}.mean(of)
}

// isSteered reports whether a method steers: all but unsteered samples and Best-of-N do.
func isSteered(method string) bool {
	return method != steering.Unsteered && !strings.HasPrefix(method, "best-of-n")
}

// hasSteered reports whether the target has runs that are steered to it.
func (t tilt) hasSteered() bool {
	return slices.ContainsFunc(t.runs, func(g runs) bool { return isSteered(g.method) })
}

// of returns the runs of a method and a number of posterior samples, by their steps and
// renormalization.
func (t tilt) of(method string, n int) (found []runs) {
	for _, g := range t.runs {
		if g.method == method && g.n == n && len(g.results) > 0 {
			found = append(found, g)
		}
	}
	return found
}

// best returns the runs with the largest mean reward.
func best(all []runs) runs {
	return slices.MaxFunc(all, func(a, b runs) int {
		x, _ := a.reward()
		y, _ := b.reward()
		return cmp.Compare(x, y)
	})
}

// nearest returns the runs with the smallest mean of a distance, and whether any has it.
func nearest(all []runs, distance func(r steered) metric.Optional) (found runs, any bool) {
	least := math.Inf(1)
	for _, g := range all {
		if d, _ := g.mean(distance); d < least {
			found, any, least = g, true, d
		}
	}
	return found, any
}

// memo keeps intervals, of which each takes 0.1 s, for renderings of the same results.
var memo sync.Map

// candidates is [metric.CandidatesFor] of the pool, up to mostCandidates.
func (t tilt) candidates(mean, se float64) metric.Candidates {
	key := fmt.Sprint(len(t.pool), stat.Mean(t.pool, nil), t.pool[0], t.pool[len(t.pool)-1], mean, se)
	if c, found := memo.Load(key); found {
		return c.(metric.Candidates)
	}
	c, err := metric.CandidatesFor(t.pool, mean, se, min(mostCandidates, len(t.pool)), rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		panic(fmt.Errorf("%s: %s: %w", whenFile, t.name, err))
	}
	memo.Store(key, c)
	return c
}

// factor returns how many times the evaluations of the runs Best-of-N needs for their reward, with
// its 95 % interval. +Inf means more than mostCandidates candidates, whose factor is bound.
func (t tilt) factor(g runs) (f metric.Candidates, bound float64) {
	mean, se := g.reward()
	unknown := math.IsNaN(se)
	if unknown {
		se = 0
	}
	c, cost := t.candidates(mean, se), t.each/g.nfe()
	if unknown { // no interval
		c.Low, c.High = math.NaN(), math.NaN()
	}
	return metric.Candidates{N: c.N * cost, Low: c.Low * cost, High: c.High * cost}, float64(min(mostCandidates, len(t.pool))) * cost
}

// factorText formats a factor as in 31 [25, 40], or > 202 [150, > 202].
func factorText(f metric.Candidates, bound float64) string {
	text := func(v float64) string {
		if math.IsInf(v, 1) {
			return "> " + short(bound)
		}
		return short(v)
	}
	if math.IsInf(f.Low, 1) || math.IsNaN(f.Low) {
		return text(f.N)
	}
	return fmt.Sprintf("%s [%s, %s]", text(f.N), text(f.Low), text(f.High))
}

// short formats a number with three digits.
func short(x float64) string {
	switch {
	case x < 0:
		return "-" + short(-x)
	case x >= 99.95:
		return comma(x)
	case x > 0 && x < 9.95e-5:
		return power(1, x)
	}
	return fmt.Sprintf("%#.3g", x)
}

// pair formats a number and its standard error, which may be undefined.
func pair(x, se float64) string {
	if math.IsNaN(x) {
		return ""
	}
	if math.IsNaN(se) {
		return short(x)
	}
	if se >= 99.5 {
		return short(x) + " ± " + comma(se)
	}
	if se > 0 && se < 1e-4 {
		return short(x) + " ± " + power(1, se)
	}
	return fmt.Sprintf("%s ± %.2g", short(x), se)
}

// ceiling is e^(κ+1)/(1 + 4N), the expected factor at an equal divergence.
func ceiling(kl float64, n int) string {
	if c := gaussian.Ceiling(kl, n); c >= 1e5 {
		return "about " + power(1, c)
	}
	return short(gaussian.Ceiling(kl, n))
}
