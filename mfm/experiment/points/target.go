package points

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/gomlx/compute"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment/internal/classname"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
)

// Comparison compares samples with those of the map before steering or tuning, and with the target:
// the rows of the training data weighted by e^{λ r}. Rewards are means of r, of the samples that
// have one.
type Comparison struct {
	Reward       metric.Optional `json:"reward,omitzero"`
	RewardSE     metric.Optional `json:"reward_se,omitzero"` // of independent samples
	RewardBefore metric.Optional `json:"reward_before,omitzero"`
	// RewardTarget, and the target's moments of the columns, are undefined without data, and for
	// too few weighted rows.
	RewardTarget metric.Optional `json:"reward_target,omitzero"`
	// RewardTargetSE is the standard error of RewardTarget over the rows.
	RewardTargetSE metric.Optional `json:"reward_target_se,omitzero"`
	// SW2 is the sliced W2 between the samples and the target, in standard deviations of the
	// columns, and SW2Before that of the samples before steering. Floor is that of independent
	// samples of the target.
	SW2       metric.Optional `json:"sw2,omitzero"`
	SW2Before metric.Optional `json:"sw2_before,omitzero"`
	Floor     metric.Optional `json:"floor,omitzero"`
	// Columns has the moments of each column, in the units of the data.
	Columns []ColumnMoments `json:"columns,omitempty"`
	Lost    int             `json:"lost,omitempty"` // samples without a reward
}

// ColumnMoments are the mean and the standard deviation of a column.
type ColumnMoments struct {
	Name       string          `json:"name"`
	Mean       float64         `json:"mean"`
	Std        float64         `json:"std"`
	MeanBefore metric.Optional `json:"mean_before,omitzero"`
	StdBefore  metric.Optional `json:"std_before,omitzero"`
	MeanTarget metric.Optional `json:"mean_target,omitzero"`
	StdTarget  metric.Optional `json:"std_target,omitzero"`
}

// nearTarget is the multiple of the floor up to which samples count as near to the target. Distance
// and floor are random, so that also exact samples can have more than the floor.
const nearTarget = 1.6

// Verdict says in words whether the samples are near to the target: whether their distance is at
// most 1.6 times the floor, a rule of thumb. It says of the reward if it differs from that of the
// target by more than three standard errors. Without a target the text is empty, and near is true.
func (c Comparison) Verdict() (text string, near bool) {
	if c.SW2.IsZero() || c.Floor.IsZero() {
		return "", true
	}
	near = c.SW2.Float() <= nearTarget*c.Floor.Float()
	where := "the samples are near to the weighted rows"
	switch {
	case near:
	case c.SW2.Float() >= c.SW2Before.Float():
		where = "the samples are not nearer to the weighted rows than those before"
	default:
		where = "the samples are not yet near to the weighted rows"
	}
	text = fmt.Sprintf("%s: sliced W2 %.3g, %.3g between samples of the rows, %.3g before", where, c.SW2.Float(), c.Floor.Float(),
		c.SW2Before.Float())
	if by := c.Reward.Float() - c.RewardTarget.Float(); !c.RewardSE.IsZero() &&
		math.Abs(by) > 3*math.Hypot(c.RewardSE.Float(), c.RewardTargetSE.Float()) {
		side := "above"
		if by < 0 {
			side = "below"
		}
		text += fmt.Sprintf("; their mean reward, %.4g, is %s that of the rows, %.4g", c.Reward.Float(), side,
			c.RewardTarget.Float())
	}
	return text, near
}

// Text returns the moments of up to eight columns, with those before steering in brackets.
func (c Comparison) Text() string {
	var all []string
	for _, m := range c.Columns[:min(len(c.Columns), 8)] {
		all = append(all, fmt.Sprintf("%s %.4g ± %.3g [%.4g ± %.3g]", m.Name, m.Mean, m.Std, m.MeanBefore.Float(),
			m.StdBefore.Float()))
	}
	if len(c.Columns) > len(all) {
		all = append(all, "...")
	}
	return strings.Join(all, ", ")
}

// leastWeighted is the least effective number of weighted rows that samples are compared with.
const leastWeighted = 100

// task is a map of points with a reward, and the rows to train on with their rewards.
type task struct {
	steering.Base
	Experiment *Experiment

	reward  string      // canonical JSON
	data    *Data       // nil means none
	rows    [][]float64 // standardized, to train on
	rewards []float64   // of them; below [reward.Least] without a weight
}

// newTask sets all but the model.
func newTask(e *Experiment, base steering.Base, data *Data, raw []byte) (*task, error) {
	t := &task{Base: base, Experiment: e, data: data}
	var err error
	if t.Reward, err = e.ParseReward(raw); err != nil {
		return nil, err
	}
	if t.reward, err = canonical(raw); err != nil {
		return nil, err
	}
	b, err := backend.New("go")
	if err != nil {
		return nil, err
	}
	defer b.Finalize()
	if err := t.CheckReward(b, e.Shape()); err != nil {
		return nil, err
	}
	if data == nil {
		return t, nil
	}
	if rows := data.Train; !slices.Equal(rows.Columns, e.Columns) || !slices.Equal(rows.Names, e.Names) {
		return nil, fmt.Errorf("data of columns %s and classes %s, a map of columns %s and classes %s: give the data that "+
			"the map was trained on", classname.Listed(rows.Columns), classname.Listed(rows.Names), classname.Listed(e.Columns), classname.Listed(e.Names))
	}
	t.rows = e.Scale.Standardize(data.Train.Rows)
	t.rewards, err = t.rewarded(b, t.rows)
	return t, err
}

// rewarded returns the rewards of standardized points.
func (t *task) rewarded(b compute.Backend, rows [][]float64) ([]float64, error) {
	var flat []float32
	for _, row := range rows {
		for _, v := range row {
			flat = append(flat, float32(v))
		}
	}
	return steering.Rewards(b, t.Model.Store, t.Reward, flat, t.Experiment.Shape(), nil)
}

// dataHash returns a hash of the rows to train on, empty for none.
func (t *task) dataHash() string {
	if t.data == nil {
		return ""
	}
	return t.data.Train.Hash()
}

// weighted are the rows with weights w = e^{λ r}, which sum to 1. Nil without data, and if no row
// has a weight.
type weighted struct {
	w             []float64
	kl, effective float64 // divergence from equal weights, and effective number
}

// weightedRows returns the weighted rows, of one class unless class is nil, and in words if they
// are too few to compare samples with.
func (t *task) weightedRows(lambda float64, class *int) (_ *weighted, few string) {
	if t.data == nil {
		return nil, ""
	}
	rewards, n, of := t.rewards, len(t.rewards), ""
	if class != nil {
		rewards, of = slices.Clone(rewards), fmt.Sprintf(" of class %q", t.Experiment.Names[*class])
		for i, label := range t.data.Train.Classes {
			if int(label) != *class {
				rewards[i] = math.Inf(-1)
				n--
			}
		}
	}
	w, err := steering.TiltedWeights(rewards, lambda, 0)
	if err != nil {
		return nil, fmt.Sprintf("no comparison with weighted rows%s: %v", of, err)
	}
	all := &weighted{w: w}
	all.kl, all.effective = steering.Divergence(w, n)
	return all, all.few(n, of)
}

// few says that the n weighted rows, "of" some class, have too small an effective number; it is
// empty if they are enough.
func (w *weighted) few(n int, of string) string {
	if w.enough() {
		return ""
	}
	return fmt.Sprintf("no comparison with weighted rows: the %d rows%s weighted by e^{λ r} have an effective number "+
		"of %.1f, too few: %d are needed, use a smaller λ, a wider reward, or more rows", n, of, w.effective,
		leastWeighted)
}

// enough reports whether samples are compared with the rows.
func (w *weighted) enough() bool { return w != nil && w.effective >= leastWeighted }

// defined returns the rewards of the samples that have one, without those of -Inf.
func defined(rewards []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(rewards), func(v float64) bool { return v < reward.Least })
}

// compare compares standardized samples with those before steering, and with the target if its rows
// are enough.
func (t *task) compare(b compute.Backend, samples, before [][]float64, target *weighted, rng *rand.Rand) (
	c Comparison, err error) {
	rewards, err := t.rewarded(b, samples)
	if err != nil {
		return c, err
	}
	rewardsBefore, err := t.rewarded(b, before)
	if err != nil {
		return c, err
	}
	used := defined(rewards)
	c.Lost = len(rewards) - len(used)
	if mean, se := metric.MeanSE(used); len(used) > 1 {
		c.Reward, c.RewardSE = metric.Some(mean), metric.Some(se)
	}
	if used = defined(rewardsBefore); len(used) > 0 {
		c.RewardBefore = metric.Some(stat.Mean(used, nil))
	}
	if target.enough() {
		mean := 0.
		for i, v := range target.w {
			if v > 0 {
				mean += v * t.rewards[i]
			}
		}
		square := 0.
		for i, v := range target.w {
			if v > 0 {
				square += v * v * (t.rewards[i] - mean) * (t.rewards[i] - mean)
			}
		}
		c.RewardTarget, c.RewardTargetSE = metric.Some(mean), metric.Some(math.Sqrt(square))
	}
	e := t.Experiment
	for j, name := range e.Columns {
		moments := func(rows [][]float64, w []float64) (mean, std float64) {
			column := make([]float64, len(rows))
			for i, row := range rows {
				column[i] = row[j]
			}
			mean, std = stat.PopMeanStdDev(column, w)
			return e.Scale.Mean[j] + e.Scale.Std[j]*mean, e.Scale.Std[j] * std
		}
		m := ColumnMoments{Name: name}
		m.Mean, m.Std = moments(samples, nil)
		mean, std := moments(before, nil)
		m.MeanBefore, m.StdBefore = metric.Some(mean), metric.Some(std)
		if target.enough() {
			mean, std = moments(t.rows, target.w)
			m.MeanTarget, m.StdTarget = metric.Some(mean), metric.Some(std)
		}
		c.Columns = append(c.Columns, m)
	}
	if !target.enough() {
		return c, nil
	}
	err = t.distances(&c, samples, before, target, rng)
	return c, err
}

// distances fills in the distances to the target. Two halves of the rows give the floor: the square
// of a distance grows with the sum of the inverse effective numbers of both sides, see
// [metric.PoolFactor].
func (t *task) distances(c *Comparison, samples, before [][]float64, target *weighted, rng *rand.Rand) error {
	n, projections := len(samples), metric.Projections2D(128)
	if dim := len(t.Experiment.Columns); dim != 2 {
		projections = metric.RandomProjections(rng, 128, dim)
	}
	var halves [2][][]float64
	inverse := 2 / float64(n)
	for i := range halves {
		w := make([]float64, len(target.w)) // zero for the other half; the rows are in random order
		for k := i; k < len(w); k += 2 {
			w[k] = target.w[k]
		}
		sum := floats.Sum(w)
		inverse += floats.Dot(w, w) / (sum * sum)
		halves[i] = t.sampled(rng, w, n)
	}
	exact := t.sampled(rng, target.w, n)
	for _, d := range []struct {
		to     *metric.Optional
		a, b   [][]float64
		factor float64
	}{
		{&c.SW2, samples, exact, 1}, {&c.SW2Before, before, exact, 1},
		{&c.Floor, halves[0], halves[1], math.Sqrt((2/float64(n) + 1/target.effective) / inverse)},
	} {
		distance, err := metric.SlicedW2(d.a, d.b, projections)
		if err != nil {
			return fmt.Errorf("comparing samples with weighted rows: %w", err)
		}
		*d.to = metric.Some(d.factor * distance)
	}
	return nil
}

// resampled returns the indices of n rows, drawn with weights that are not negative and have a
// positive sum.
func resampled(rng *rand.Rand, weights []float64, n int) []int {
	sums := floats.CumSum(make([]float64, len(weights)), weights)
	out := make([]int, n)
	for i := range out {
		out[i] = min(sort.SearchFloat64s(sums, rng.Float64()*sums[len(sums)-1]), len(sums)-1)
	}
	return out
}

// sampled returns n rows, resampled with weights.
func (t *task) sampled(rng *rand.Rand, weights []float64, n int) [][]float64 {
	out := make([][]float64, n)
	for i, k := range resampled(rng, weights, n) {
		out[i] = t.rows[k]
	}
	return out
}

// standardized returns flat samples as rows.
func (t *task) standardized(flat []float32) [][]float64 {
	return mfm.Rows(flat, len(t.Experiment.Columns))
}
