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

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// PrecisionRow says what float32 makes of a closed form at time t: the root mean square of its error beside float64, in units of that of the value itself, over states that the tilted law visits.
type PrecisionRow struct {
	Test string `json:"test"` // precision
	Manifold
	T        float64 `json:"t"`
	Score    float64 `json:"score"`
	Drift    float64 `json:"drift"`
	Denoiser float64 `json:"denoiser"`
	JVP      float64 `json:"jvp"`      // of the drift along a random direction and in t, of the kind that the Eulerian loss has
	Steering float64 `json:"steering"` // σ_t²/2 ∇V_t of a reward, by the difference of two scores
	// ByDenoiser is the same by that of two denoisers, (β' - α' β/α) (D* - D), each of which is right to the last digit.
	ByDenoiser float64 `json:"by_denoiser"`
	// ByDraws is what MFM-GF makes of 32 exact posterior draws, which is a difference of two means, too, but of the draws' deviations; beside float64 of the same draws.
	ByDraws float64 `json:"by_draws"`
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
	ip, rng := interpolant.Linear{}, rand.New(rand.NewPCG(1, 41))
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
			half := interpolant.HalfSquaredNoise(ip, float64(t))
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
	row.ByDraws, err = errorByDraws(b, law, r.Reward(), t, states[:512*law.Dim()])
	return row, err
}

// errorByDraws returns the relative error of MFM-GF's gradient in float32, of posterior draws at states, flat, that are the same for both.
func errorByDraws(b compute.Backend, law *gmm.Mixture, r reward.Reward, t float32, states []float32) (float64, error) {
	const draws = 32
	ip, dim := interpolant.Linear{}, law.Dim()
	n, rng := len(states)/dim, rand.New(rand.NewPCG(1, 49))
	samples := make([]float32, 0, n*draws*dim)
	for i := range n {
		x := make([]float64, dim)
		for k := range x {
			x[k] = float64(states[i*dim+k])
		}
		for _, y := range law.Posterior(ip, float64(t), x).Sample(rng, draws) {
			for _, v := range y {
				samples = append(samples, float32(v))
			}
		}
	}
	state, err := RNGStateFromSeed(1) // of noise that these draws are not made of
	if err != nil {
		return 0, fmt.Errorf("preparing draws: %w", err)
	}
	estimator := steer.MFMGF{Draws: steer.Draws{N: draws}, Baseline: steer.MeanBaseline}
	var values [2][]float64
	for i, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		exec, err := NewExec(b, func(state, x, samples *Node) *Node {
			x, samples = ConvertDType(x, dtype), ConvertDType(samples, dtype)
			g := x.Graph()
			p := steer.Problem{Model: steer.Model{Interpolant: ip, Posterior: func(_ *solver.RNG, _, _, _ *Node) *Node { return samples }}, Reward: r, Lambda: ScalarOne(g, dtype)}
			at := BroadcastToDims(Scalar(g, dtype, float64(t)), n)
			return ConvertDType(estimator.Estimate(p, &solver.RNG{State: state}, steer.NewLedger(g), at, x, nil, true).Gradient, dtypes.Float64)
		})
		if err != nil {
			return 0, fmt.Errorf("preparing MFM-GF in %s: %w", dtype, err)
		}
		out, err := exec.Call(state, tensors.FromFlatDataAndDimensions(states, n, dim), tensors.FromFlatDataAndDimensions(samples, n*draws, dim))
		exec.Finalize()
		if err != nil {
			return 0, fmt.Errorf("MFM-GF in %s: %w", dtype, err)
		}
		if values[i], err = tensors.CopyFlatData[float64](out[0]); err != nil {
			return 0, fmt.Errorf("reading MFM-GF: %w", err)
		}
	}
	return relativeError(values[0], values[1]), nil
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
