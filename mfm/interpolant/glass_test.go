package interpolant_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The GLASS identity agrees with the drift of the posterior itself, for every schedule and both
// paths.
func TestConditionalDrift(t *testing.T) {
	mixture := mfmtest.Mixture(t)
	for _, ip := range mfmtest.EverySchedule() {
		const n = 64
		c := mfmtest.NewCases(mixture, ip, n)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			b := mfmtest.DriftOf(mixture, ip)
			return []*Node{interpolant.ConditionalDrift(ip, b, in[0], in[3], in[2], in[4], nil)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			return mixture.ConditionalDrift(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
		})
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-10)
	}
}

// The denoiser at the effective observation is that of the posterior.
func TestEffectiveObservation(t *testing.T) {
	mixture := mfmtest.Mixture(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 64
		c := mfmtest.NewCases(mixture, ip, n)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			tStar, xStar := interpolant.EffectiveObservation(ip, in[0], in[3], in[2], in[4])
			return []*Node{mixture.Like(xStar).Denoiser(ip, tStar, xStar)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			return mixture.ConditionalDenoiser(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
		})
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-9)
	}
}

// In float32 the drift is finite for all s and t in [0, 1], and accurate except where both
// observations are within rounding of the data.
func TestConditionalDriftAtTheEnds(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{},
		mfmtest.General{Schedule: interpolant.VariancePreserving{}}) {
		rng := mfmtest.NewRNG(3)
		var c mfmtest.Cases
		for _, s := range mfmtest.Ends {
			for _, at := range mfmtest.Ends {
				z := mixture.Sample(rng, 1)[0]
				noised := func(time float64) []float64 {
					alpha, beta, _, _ := ip.At(float64(float32(time)))
					return []float64{alpha*rng.NormFloat64() + beta*z[0], alpha*rng.NormFloat64() + beta*z[1]}
				}
				c.S, c.U, c.T = append(c.S, s), append(c.U, 1), append(c.T, at)
				c.Xbar, c.X = append(c.Xbar, noised(s)), append(c.X, noised(at))
			}
		}
		got := mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			b := mfmtest.DriftOf(mixture, ip)
			return []*Node{interpolant.ConditionalDrift(ip, b, in[0], in[3], in[2], in[4], nil)}
		}, c.Inputs()...)[0]
		for i := range c.S {
			name := fmt.Sprintf("%v at s = %.8g, t = %.8g", ip, c.S[i], c.T[i])
			row := got[2*i : 2*i+2]
			for _, v := range row {
				if math.IsNaN(v) || math.Abs(v) > 1e4 {
					t.Errorf("%s: %g", name, row)
				}
			}
			if c.S[i] > 0.9 && c.T[i] > 0.9 {
				continue
			}
			s, at := float64(float32(c.S[i])), float64(float32(c.T[i]))
			mfmtest.Near(t, name, row, mixture.ConditionalDrift(ip, s, c.Xbar[i], at, c.X[i]), 2e-6)
		}
	}
}

// The values of the reference implementation for an isotropic mixture and the linear schedule, each
// row to 1e-10 of its norm in float64 and 1e-5 in float32.
func TestConditionalDriftGolden(t *testing.T) {
	golden := readGolden(t, "glass_2d.safetensors")
	mixture := mfmtest.NewMixture(t, exp(golden["log_weight"]), mfmtest.RowsOf(golden["mu"], 2),
		isotropic(golden["std"]))
	inputs := []*tensors.Tensor{
		mfmtest.Column(golden["s"]...), mfmtest.Points(mfmtest.RowsOf(golden["x_bar"], 2)),
		mfmtest.Column(golden["t"]...), mfmtest.Points(mfmtest.RowsOf(golden["x"], 2)),
	}
	for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-10, dtypes.Float32: 1e-5} {
		linear := interpolant.Linear{}
		for _, ip := range []interpolant.Schedule{linear, mfmtest.General{Schedule: linear}} {
			got := mfmtest.Evaluate(t, dtype, func(in []*Node) []*Node {
				return []*Node{
					interpolant.ConditionalDrift(ip, mfmtest.DriftOf(mixture, ip), in[0], in[1], in[2], in[3], nil),
					mixture.Like(in[3]).Drift(ip, in[2], in[3]),
				}
			}, inputs...)
			nearRows(t, fmt.Sprintf("conditional drift in %s, %v", dtype, ip), got[0], golden["drift"], 2, tolerance)
			nearRows(t, fmt.Sprintf("drift in %s, %v", dtype, ip), got[1], golden["b"], 2, tolerance)
		}
	}
}

// readGolden returns the tensors of a file of reference values in testdata as flat float64.
func readGolden(t *testing.T, name string) map[string][]float64 {
	t.Helper()
	read, _, err := checkpoint.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	flat := make(map[string][]float64)
	for key, tensor := range read {
		flat[key] = tensors.MustCopyFlatData[float64](tensor)
	}
	return flat
}

// nearRows checks that each row of got is within tolerance of that of want, relative to the norm of
// the latter.
func nearRows(t *testing.T, name string, got, want []float64, dim int, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", name, len(got), len(want))
	}
	worst, at := 0.0, -1
	for i := 0; i < len(want); i += dim {
		if e := floats.Distance(got[i:i+dim], want[i:i+dim], 2) / floats.Norm(want[i:i+dim], 2); !(e <= worst) {
			worst, at = e, i
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: row %d is %.12g, want %.12g (relative error %.2g, allowed %.2g)",
			name, at/dim, got[at:at+dim], want[at:at+dim], worst, tolerance)
	}
}

func exp(logs []float64) []float64 {
	out := make([]float64, len(logs))
	for i, l := range logs {
		out[i] = math.Exp(l)
	}
	return out
}

func isotropic(deviations []float64) [][][]float64 {
	var out [][][]float64
	for _, d := range deviations {
		out = append(out, [][]float64{{d * d, 0}, {0, d * d}})
	}
	return out
}
