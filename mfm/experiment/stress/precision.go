package stress

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
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
)

// PrecisionResult is the relative error of closed forms in float32 at time t: the root mean square
// of the difference to float64, in units of the root mean square of the value itself, over states
// that the tilted distribution visits. 1e30 stands for a value that is not finite.
type PrecisionResult struct {
	Test Test `json:"test"` // [PrecisionTest]
	Manifold
	T        float64 `json:"t"`
	Score    float64 `json:"score"`
	Drift    float64 `json:"drift"`
	Denoiser float64 `json:"denoiser"`
	// JVP is that of the derivative of the drift along a random direction and in t, as in the
	// Eulerian loss.
	JVP float64 `json:"jvp"`
	// Steering is that of σ_t²/2 ∇V_t of a reward, as the difference of two scores.
	Steering float64 `json:"steering"`
	// ByDenoiser is that of the same term as (β' - α' β/α) (D* - D), the difference of two
	// denoisers, each of which is exact to float32.
	ByDenoiser float64 `json:"by_denoiser"`
	// BySamples is that of the gradient by MFM-GF from 32 exact posterior samples, against float64
	// with the same samples. It is a difference of two means too, but of the samples' deviations.
	BySamples float64 `json:"by_samples"`
}

// PrecisionSetting is data near a manifold, and a time.
type PrecisionSetting struct {
	Edition
	Manifold
	OneMinusT float64 `json:"one_minus_t"`
}

// PrecisionGrid is the grid of the stress test: times toward t = 1 for manifolds of decreasing
// width.
func PrecisionGrid() []PrecisionSetting {
	var settings []PrecisionSetting
	for _, shape := range []Shape{Curve, Plane} {
		for _, width := range []float64{0.3, 0.1, 0.03, 0.01, 0.003, 0.001} {
			for _, s := range []float64{0.5, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4} {
				settings = append(settings, PrecisionSetting{Edition{edition}, Manifold{shape, width}, s})
			}
		}
	}
	return settings
}

// Validate returns an error that names the first value out of range.
func (c PrecisionSetting) Validate() error {
	if err := c.check(); err != nil {
		return err
	}
	if !(c.OneMinusT > 0 && c.OneMinusT <= 1) {
		return fmt.Errorf("1 - t = %g: must lie in (0, 1]", c.OneMinusT)
	}
	_, err := c.Mixture()
	return err
}

// Run compares the closed forms in float32 with those in float64.
func (c PrecisionSetting) Run(_ context.Context, b compute.Backend, _ run.Options) (PrecisionResult, error) {
	result := PrecisionResult{Test: PrecisionTest, Manifold: c.Manifold, T: 1 - c.OneMinusT}
	if err := c.Validate(); err != nil {
		return result, err
	}
	data, err := c.Mixture()
	if err != nil {
		return result, err
	}
	r := reward.LinearGaussian{A: [][]float64{make([]float64, data.Dim())}, Y: []float64{-1}, Sigma: 0.3}
	r.A[0][0], r.A[0][1] = 1.2, -0.8
	target, _, err := data.Tilt(r.A, r.Y, r.Sigma)
	if err != nil {
		return result, err
	}
	const n = 4096
	ip, rng := interpolant.Linear{}, rand.New(rand.NewPCG(1, 41))
	t := float32(result.T) // rounded once, for both precisions
	alpha, beta, _, _ := ip.At(float64(t))
	var states, directions []float32
	for _, x := range target.Sample(rng, n) {
		for _, v := range x {
			states = append(states, float32(beta*v+alpha*rng.NormFloat64()))
			directions = append(directions, float32(rng.NormFloat64()))
		}
	}
	var values [2][]*tensors.Tensor
	for i, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		exec, err := NewExec(b, func(x, v *Node) []*Node {
			x, v = ConvertDType(x, dtype), ConvertDType(v, dtype)
			at := BroadcastToDims(Scalar(x.Graph(), dtype, float64(t)), n)
			drift := data.Like(x).Drift(ip, at, x)
			half := interpolant.HalfSquaredNoise(ip, float64(t))
			jvp := ad.JVP([]*Node{drift}, []*Node{at, x}, []*Node{OnesLike(at), v})[0]
			out := []*Node{
				data.Like(x).Score(ip, at, x), drift, data.Like(x).Denoiser(ip, at, x), jvp,
				MulScalar(Sub(target.Like(x).Score(ip, at, x), data.Like(x).Score(ip, at, x)), half),
				MulScalar(Sub(target.Like(x).Denoiser(ip, at, x), data.Like(x).Denoiser(ip, at, x)),
					half*beta/(alpha*alpha)),
			}
			for k := range out {
				out[k] = ConvertDType(out[k], dtypes.Float64)
			}
			return out
		})
		if err != nil {
			return result, fmt.Errorf("compiling closed forms in %s: %w", dtype, err)
		}
		values[i], err = exec.Call(tensors.FromFlatDataAndDimensions(states, n, data.Dim()),
			tensors.FromFlatDataAndDimensions(directions, n, data.Dim()))
		exec.Finalize()
		if err != nil {
			return result, fmt.Errorf("evaluating closed forms in %s: %w", dtype, err)
		}
	}
	for k, to := range []*float64{
		&result.Score, &result.Drift, &result.Denoiser, &result.JVP, &result.Steering, &result.ByDenoiser,
	} {
		got, errGot := tensors.CopyFlatData[float64](values[0][k])
		want, errWant := tensors.CopyFlatData[float64](values[1][k])
		if err := errors.Join(errGot, errWant); err != nil {
			return result, fmt.Errorf("reading closed forms: %w", err)
		}
		*to = relativeError(got, want)
	}
	result.BySamples, err = errorBySamples(b, data, r.Reward(), t, states[:512*data.Dim()])
	return result, err
}

// errorBySamples returns the relative error of MFM-GF's gradient in float32, at states in a flat
// array, with the same posterior samples in float32 and float64.
func errorBySamples(
	b compute.Backend, data *gmm.Mixture, r reward.Reward, t float32, states []float32,
) (float64, error) {
	const draws = 32
	ip, dim := interpolant.Linear{}, data.Dim()
	n, rng := len(states)/dim, rand.New(rand.NewPCG(1, 49))
	samples := make([]float32, 0, n*draws*dim)
	for i := range n {
		x := make([]float64, dim)
		for k := range x {
			x[k] = float64(states[i*dim+k])
		}
		for _, y := range data.Posterior(ip, float64(t), x).Sample(rng, draws) {
			for _, v := range y {
				samples = append(samples, float32(v))
			}
		}
	}
	state, err := RNGStateFromSeed(1) // required, though the samples are given
	if err != nil {
		return 0, fmt.Errorf("preparing the random state: %w", err)
	}
	estimator := steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: draws}, Baseline: steer.MeanBaseline}
	var values [2][]float64
	for i, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		exec, err := NewExec(b, func(state, x, samples *Node) *Node {
			x, samples = ConvertDType(x, dtype), ConvertDType(samples, dtype)
			g := x.Graph()
			posterior := func(_ *solver.RNG, _, _, _, _ *Node) *Node { return samples }
			p := steer.Problem{
				Model: steer.Model{Interpolant: ip, Posterior: posterior}, Reward: r, Lambda: ScalarOne(g, dtype),
			}
			at := BroadcastToDims(Scalar(g, dtype, float64(t)), n)
			estimate := estimator.Estimate(p, &solver.RNG{State: state}, steer.NewCounter(g), at, x, nil, true)
			return ConvertDType(estimate.Gradient, dtypes.Float64)
		})
		if err != nil {
			return 0, fmt.Errorf("compiling MFM-GF in %s: %w", dtype, err)
		}
		out, err := exec.Call(state, tensors.FromFlatDataAndDimensions(states, n, dim),
			tensors.FromFlatDataAndDimensions(samples, n*draws, dim))
		exec.Finalize()
		if err != nil {
			return 0, fmt.Errorf("evaluating MFM-GF in %s: %w", dtype, err)
		}
		if values[i], err = tensors.CopyFlatData[float64](out[0]); err != nil {
			return 0, fmt.Errorf("reading MFM-GF: %w", err)
		}
	}
	return relativeError(values[0], values[1]), nil
}

// relativeError returns the root mean square of got - want in units of that of want. It returns
// 1e30 for a result that is not finite, which JSON cannot hold.
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
