package points

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/sweep"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// SteeringTest is the value of [SteeringResult].Test.
const SteeringTest = "points"

// SteeringResult describes steered samples of points.
type SteeringResult struct {
	Test string `json:"test"` // [SteeringTest]
	steering.Result
	Comparison
	// Samples are [samples][columns], in the units of the data. A result that is read from a file
	// has none.
	Samples [][]float64 `json:"-"`
}

// Steering steers the map of points to a reward. It implements [steering.Task].
type Steering struct {
	task

	unsteered map[string][][]float64 // samples by their setting, standardized
}

// NewSteering returns the steering of the map of e to the reward that raw describes, see
// [Experiment.RewardKinds]. store has the weights of the map. The samples are compared with the
// rows to train on of data, weighted by e^{λ r}; nil means no comparison. Data with other columns
// or classes than those of the map are an error.
func NewSteering(e *Experiment, store *model.Store, data *Data, raw []byte) (*Steering, error) {
	m := e.Model(store)
	of, err := steer.FromMap(m, mfm.DefaultSamplerConfig())
	if err != nil {
		return nil, err
	}
	t, err := newTask(e, steering.Base{Map: &m, Model: of}, data, raw)
	if err != nil {
		return nil, err
	}
	t.Fingerprint, err = run.Fingerprint(store, struct {
		Config Config
		Fitted Fitted
		Reward string
		Data   string
	}{e.Config, e.Fitted, t.reward, t.dataHash()})
	return &Steering{task: *t, unsteered: make(map[string][][]float64)}, err
}

// OpenSteering is [NewSteering] for the run in dir. The data are those of [OfRun] with path. If
// path is empty and the run names no file that exists, there are none, and missing says why.
func OpenSteering(dir, path string, raw []byte) (s *Steering, missing, err error) {
	e, store, err := Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if path == "" {
		m, err := run.ReadManifest(dir, Kind)
		if err != nil {
			return nil, nil, err
		}
		if m.Data == "" {
			missing = fmt.Errorf("the run %s does not name the file of its data", dir)
		} else if _, err := os.Stat(m.Data); errors.Is(err, os.ErrNotExist) {
			missing = fmt.Errorf("the file %s of the data does not exist", m.Data)
		}
	}
	var data *Data
	if missing == nil {
		if data, err = OfRun(dir, path); err != nil {
			return nil, nil, err
		}
	}
	s, err = NewSteering(e, store, data, raw)
	return s, missing, err
}

// DataRows returns at most n rows of the training data, [n][columns] in their units, of one class
// unless class is nil; nil without data.
func (s *Steering) DataRows(n int, class *int) (rows [][]float64) {
	if s.data == nil {
		return nil
	}
	for i, row := range s.data.Train.Rows {
		if len(rows) < n && (class == nil || int(s.data.Train.Classes[i]) == *class) {
			rows = append(rows, row)
		}
	}
	return rows
}

// Check returns an error that says why a setting cannot be run; nil means that it can.
func (s *Steering) Check(c steering.Setting) error {
	return s.CheckOfData(c, "points", s.Experiment.Config.Train.Loss.Guidance.Dropout)
}

// Run draws the samples of a setting and compares them with unsteered ones and with weighted rows.
// If too few rows have a weight, and with guidance, the result says so in its warnings and has no
// comparison with them.
func (s *Steering) Run(ctx context.Context, b compute.Backend, c steering.Setting) (SteeringResult, error) {
	r := SteeringResult{Test: SteeringTest}
	common, flat, got, err := s.Base.Run(ctx, b, c, nil, rand.New(rand.NewPCG(uint64(c.Seed), 5)))
	r.Result = common
	if err != nil {
		return r, err
	}
	if r.Diverged {
		r.Lost = stats.CountNonFinite(got.Samples, len(s.Experiment.Columns))
		return r, nil
	}
	samples := s.standardized(flat)
	r.Samples = s.Experiment.Scale.Restore(samples)
	rewards, err := s.rewarded(b, samples)
	if err != nil {
		return r, err
	}
	if c.Pool {
		r.PoolRewards = steering.PoolOf(rewards)
	}
	r.RewardQuantiles = steering.Quantiles(defined(rewards))
	before := samples
	if c.Method != steering.Unsteered {
		if before, err = s.before(ctx, b, c); err != nil {
			return r, err
		}
	}
	target, few := s.targetOf(c)
	if target != nil {
		r.TargetKL, r.TargetEffective = metric.Some(target.kl), metric.Some(target.effective)
	}
	if few != "" {
		r.Warnings = append(r.Warnings, few)
	}
	r.Comparison, err = s.compare(b, samples, before, target, rand.New(rand.NewPCG(uint64(c.Seed), 7)))
	if !r.Independent() {
		r.RewardSE = metric.Optional{}
	}
	return r, err
}

// targetOf returns the rows that samples of a setting are compared with, and in words if there is
// no comparison.
func (s *Steering) targetOf(c steering.Setting) (_ *weighted, why string) {
	if s.data != nil && c.Guidance != 0 && c.Guidance != 1 {
		return nil, fmt.Sprintf("no comparison with weighted rows: by guidance = %g the samples before steering are not "+
			"distributed as the rows of the class", c.Guidance)
	}
	return s.weightedRows(c.Config.Lambda, c.Class)
}

// before returns unsteered samples with the steps and the dynamics of a setting, standardized.
func (s *Steering) before(ctx context.Context, b compute.Backend, c steering.Setting) ([][]float64, error) {
	base := steering.Setting{
		Method: steering.Unsteered, N: 1, Samples: c.Samples, Seed: c.Seed, Config: steer.DefaultConfig(),
		Options: steering.Options{Class: c.Class, Guidance: c.Guidance},
	}
	if entry, err := steer.Lookup(c.Method); err != nil || !entry.OneStep {
		base.Config.Grid, base.Config.Dynamics = c.Config.Grid, c.Config.Dynamics
	}
	name, err := sweep.Name(base)
	if err != nil || s.unsteered[name] != nil {
		return s.unsteered[name], err
	}
	flat, _, err := s.Draw(ctx, b, base, nil, rand.New(rand.NewPCG(uint64(c.Seed), 5)))
	if err == nil && !stats.Finite(flat) {
		err = run.ErrNonFinite
	}
	if err != nil {
		return nil, fmt.Errorf("unsteered samples to compare with: %w", err)
	}
	s.unsteered[name] = s.standardized(flat)
	return s.unsteered[name], nil
}
