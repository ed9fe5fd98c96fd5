package experiment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/reward"
)

// PrecisionRow says what float32 makes of a closed form at time t: the root mean square of its error beside float64, in units of that of the value itself, over states that the law visits.
type PrecisionRow struct {
	Test string `json:"test"` // precision
	Manifold
	T        float64 `json:"t"`
	Score    float64 `json:"score"`
	Drift    float64 `json:"drift"`
	Denoiser float64 `json:"denoiser"`
	JVP      float64 `json:"jvp"`      // of the drift along a random direction and in t, as the Eulerian loss has it
	Steering float64 `json:"steering"` // σ_t²/2 ∇V_t of a reward, by the difference of two scores
	// ByDenoiser is the same by that of two denoisers, (β' - α' β/α) (D* - D), as MFM-GF has it.
	ByDenoiser float64 `json:"by_denoiser"`
}

// PrecisionCell is a law and a time.
type PrecisionCell struct {
	Edition
	Manifold
	OneMinusT float64 `json:"one_minus_t"`
}

// PrecisionGrid goes toward t = 1 for manifolds that get thinner.
func PrecisionGrid() []PrecisionCell {
	var cells []PrecisionCell
	for _, shape := range []string{"curve", "plane"} {
		for _, width := range []float64{0.3, 0.1, 0.03, 0.01, 0.003, 0.001} {
			for _, s := range []float64{0.5, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4} {
				cells = append(cells, PrecisionCell{Edition{edition}, Manifold{shape, width}, s})
			}
		}
	}
	return cells
}

// Validate returns an error that names the first value that makes no sense.
func (c PrecisionCell) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if !(c.OneMinusT > 0 && c.OneMinusT <= 1) {
		return fmt.Errorf("1 - t = %g: must lie in (0, 1]", c.OneMinusT)
	}
	_, err := c.Law()
	return err
}

// Run compares.
func (c PrecisionCell) Run(_ context.Context, b compute.Backend, _ RunOptions) (PrecisionRow, error) {
	row := PrecisionRow{Test: "precision", Manifold: c.Manifold, T: 1 - c.OneMinusT}
	if err := c.Validate(); err != nil {
		return row, err
	}
	law, err := c.Law()
	if err != nil {
		return row, err
	}
	r := reward.LinearGaussian{A: [][]float64{make([]float64, law.Dim())}, Y: []float64{-1}, Sigma: 0.3}
	r.A[0][0], r.A[0][1] = 1.2, -0.8
	target, _, err := law.Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		return row, err
	}
	const n = 4096
	ip, rng := mfm.Linear{}, rand.New(rand.NewPCG(1, 41))
	t := float32(row.T) // what float32 knows of it, for both
	alpha, beta, _, _ := ip.At(float64(t))
	states, directions := make([]float32, 0, n*law.Dim()), make([]float32, 0, n*law.Dim())
	for _, x := range target.Sample(rng, n) {
		for _, v := range x {
			states, directions = append(states, float32(beta*v+alpha*rng.NormFloat64())), append(directions, float32(rng.NormFloat64()))
		}
	}
	var values [2][]*tensors.Tensor
	for i, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		exec, err := NewExec(b, func(x, v *Node) []*Node {
			x, v = ConvertDType(x, dtype), ConvertDType(v, dtype)
			at := BroadcastToDims(Scalar(x.Graph(), dtype, float64(t)), n)
			drift := law.DriftGraph(ip, at, x)
			half := mfm.HalfSquaredNoise(ip, float64(t))
			jvp := ad.JVP([]*Node{drift}, []*Node{at, x}, []*Node{OnesLike(at), v})[0]
			out := []*Node{law.ScoreGraph(ip, at, x), drift, law.DenoiserGraph(ip, at, x), jvp, MulScalar(Sub(target.ScoreGraph(ip, at, x), law.ScoreGraph(ip, at, x)), half),
				MulScalar(Sub(target.DenoiserGraph(ip, at, x), law.DenoiserGraph(ip, at, x)), half*beta/(alpha*alpha))}
			for k := range out {
				out[k] = ConvertDType(out[k], dtypes.Float64)
			}
			return out
		})
		if err != nil {
			return row, fmt.Errorf("preparing closed forms in %s: %w", dtype, err)
		}
		values[i], err = exec.Call(tensors.FromFlatDataAndDimensions(states, n, law.Dim()), tensors.FromFlatDataAndDimensions(directions, n, law.Dim()))
		exec.Finalize()
		if err != nil {
			return row, fmt.Errorf("closed forms in %s: %w", dtype, err)
		}
	}
	for k, to := range []*float64{&row.Score, &row.Drift, &row.Denoiser, &row.JVP, &row.Steering, &row.ByDenoiser} {
		got, errGot := tensors.CopyFlatData[float64](values[0][k])
		want, errWant := tensors.CopyFlatData[float64](values[1][k])
		if err := errors.Join(errGot, errWant); err != nil {
			return row, fmt.Errorf("reading closed forms: %w", err)
		}
		*to = relativeError(got, want)
	}
	return row, nil
}

// relativeError returns the root mean square of got - want in units of that of want, +Inf held at 1e30 where a value is not finite, so that JSON has it.
func relativeError(got, want []float64) float64 {
	var off, size float64
	for i, w := range want {
		off += (got[i] - w) * (got[i] - w)
		size += w * w
	}
	e := math.Sqrt(off / size)
	if math.IsNaN(e) || math.IsInf(e, 0) {
		return 1e30
	}
	return e
}

// TimesCell is the flow of a thin law by its exact drift, on one grid of times.
type TimesCell struct {
	Manifold
	Power   float64 `json:"power"` // of the times, see [mfm.Grid]
	Steps   int     `json:"steps"`
	Samples int     `json:"samples"`
}

// TimesRow says how far samples by the exact drift are from a thin law.
type TimesRow struct {
	Test string `json:"test"` // times
	TimesCell
	Across float64 `json:"across"` // root mean square distance from the manifold
	Exact  float64 `json:"exact"`  // that of exact samples
}

// TimesGrid is uniform times and finer ones, near noise and near the data.
func TimesGrid() []TimesCell {
	var cells []TimesCell
	for _, width := range []float64{0.3, 0.1, 0.03, 0.01, 0.003} {
		for _, power := range []float64{0.5, 1, 2} {
			for _, steps := range []int{30, 100, 300, 1000} {
				cells = append(cells, TimesCell{Manifold{"curve", width}, power, steps, 4096})
			}
		}
	}
	return cells
}

// Validate returns an error that names the first value that makes no sense.
func (c TimesCell) Validate() error {
	if c.Samples < 2 || c.Samples > 1<<20 {
		return fmt.Errorf("samples = %d: must lie in [2, 2^20]", c.Samples)
	}
	if err := (mfm.Grid{Steps: c.Steps, Power: c.Power}).Validate(); err != nil {
		return err
	}
	_, err := c.Law()
	return err
}

// Run samples by Euler's steps of the exact drift.
func (c TimesCell) Run(ctx context.Context, b compute.Backend, _ RunOptions) (TimesRow, error) {
	row := TimesRow{Test: "times", TimesCell: c}
	if err := c.Validate(); err != nil {
		return row, err
	}
	law, err := c.Law()
	if err != nil {
		return row, err
	}
	ip := mfm.Linear{}
	sampler, err := mfm.NewTeacherSampler(b, model.NewStore(), ip, func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) }, []int{law.Dim()},
		mfm.SamplerConfig{Method: mfm.ODEMethod, Solver: mfm.Euler, Grid: mfm.Grid{Steps: c.Steps, Power: c.Power}, Chunk: c.Samples})
	if err != nil {
		return row, err
	}
	defer sampler.Finalize()
	flat, err := sampler.Unconditional(ctx, 1, c.Samples, nil)
	if err != nil {
		return row, err
	}
	row.Across = math.Sqrt(c.squares(mfm.Rows(flat, law.Dim())))
	row.Exact = math.Sqrt(c.squares(law.Sample(rand.New(rand.NewPCG(1, 45)), c.Samples)))
	return row, nil
}
