package points

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/stats"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/figure"
)

// Observation is a noisy measurement of a point, in the units of the data: its columns have
// Gaussian noise of the standard deviations that [Experiment.Noise] returns for the time T. At T =
// 0 the measurement says nothing, and samples of the posterior are those of the data.
type Observation struct {
	T float64   // in [0, 1]
	X []float64 // [columns]; ignored at T = 0
	// Class is the class of the point as [ClassIndex] accepts it, empty for any.
	Class string
}

// Noise returns the standard deviation of the noise of an observation at a time t in (0, 1], for
// each column: α_t/β_t times that of the column.
func (e *Experiment) Noise(t float64) []float64 {
	alpha, beta, _, _ := e.Map.Interpolant.At(t)
	return floats.ScaleTo(make([]float64, len(e.Columns)), alpha/beta, e.Scale.Std)
}

// State returns the state x_t of the map of an observation: β_t (x - mean)/std.
func (e *Experiment) State(o Observation) ([]float64, error) {
	x := make([]float64, len(e.Columns))
	if o.T == 0 {
		return x, nil
	}
	if len(o.X) != len(x) {
		return nil, fmt.Errorf("an observation of %d numbers, the points have %d columns", len(o.X), len(x))
	}
	_, beta, _, _ := e.Map.Interpolant.At(o.T)
	copy(x, e.Scale.Standardize([][]float64{o.X})[0])
	floats.Scale(beta, x)
	return x, nil
}

// farObservation is the number of standard deviations beyond which trainings have hardly a state.
const farObservation = 6

// Far returns in words that an observation is far from what the map was trained on, empty if it is
// not: a column is more than six standard deviations of observations at its time from the mean of
// the data. Samples given it are an extrapolation. An observation of another number of columns is
// an error.
func (e *Experiment) Far(o Observation) (string, error) {
	state, err := e.State(o)
	if err != nil || o.T == 0 {
		return "", err
	}
	alpha, beta, _, _ := e.Map.Interpolant.At(o.T)
	for j, x := range state {
		if by := math.Abs(x) / math.Hypot(alpha, beta); by > farObservation {
			return fmt.Sprintf("%s = %g is %.3g standard deviations of observations at t = %g from the mean of the data, %.4g: "+
				"the map was trained on few or none like it, and its samples are an extrapolation", e.Columns[j], o.X[j], by, o.T,
				e.Scale.Mean[j]), nil
		}
	}
	return "", nil
}

// Sample returns n samples of the posterior given an observation, [n][columns], in the units of the
// data. sampler is one of the model of e. Non-finite samples are [run.ErrNonFinite].
func (e *Experiment) Sample(ctx context.Context, sampler *mfm.Sampler, o Observation, n int, seed int64) (
	[][]float64, error) {
	x, err := e.State(o)
	if err != nil {
		return nil, err
	}
	var class []int32
	if o.Class != "" {
		index, err := ClassIndex(e.Names, o.Class)
		if err != nil {
			return nil, err
		}
		class = []int32{index}
	}
	rows, err := e.draw(ctx, sampler, o.T, [][]float64{x}, n, class, seed)
	return e.Scale.Restore(rows), err
}

// Draw is [Experiment.Sample] with the class of each sample where classes are known: for samples of
// the data of all classes, which are drawn by their shares, each sample then given its class.
func (e *Experiment) Draw(ctx context.Context, sampler *mfm.Sampler, o Observation, n int, seed int64) (
	Samples, error) {
	s := Samples{Given: o}
	if o.T > 0 || o.Class != "" || e.Shares == nil {
		var err error
		s.Rows, err = e.Sample(ctx, sampler, o, n, seed)
		return s, err
	}
	s.Classes = stats.Labels(seed, n, e.Shares)
	states := make([][]float64, n)
	for i := range states {
		states[i] = make([]float64, len(e.Columns))
	}
	rows, err := e.draw(ctx, sampler, 0, states, 1, s.Classes, seed)
	s.Rows = e.Scale.Restore(rows)
	return s, err
}

// draw returns n standardized samples for each of the states, one state after the other.
func (e *Experiment) draw(ctx context.Context, sampler *mfm.Sampler, t float64, states [][]float64, n int,
	class []int32, seed int64) ([][]float64, error) {
	flat, err := mfm.Flat(sampler.Posterior(ctx, seed, t, mfm.Points(states), n, class))
	if err != nil {
		return nil, err
	}
	if !stats.Finite(flat) {
		return nil, run.ErrNonFinite
	}
	return mfm.Rows(flat, len(e.Columns)), nil
}

// Figure returns a row of n empty panels for clouds of points of two columns: the axes have the
// names of the columns, and the same ranges in all panels. It panics for points of one column.
func (e *Experiment) Figure(theme figure.Theme, n int) *figure.Figure {
	fig := figure.New(theme, 1, n)
	fig.X, fig.Y = figure.Axis{Label: e.Columns[0]}, figure.Axis{Label: e.Columns[1]}
	fig.ShareX, fig.ShareY = true, true
	return fig
}
