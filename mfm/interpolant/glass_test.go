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

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// The identity of GLASS against the posterior itself, by every schedule and both paths.
func TestConditionalDrift(t *testing.T) {
	law := mfmtest.Mixture(t)
	for _, ip := range mfmtest.EverySchedule() {
		const n = 64
		c := mfmtest.SituationsOf(law, ip, n)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			return []*Node{interpolant.ConditionalDrift(ip, mfmtest.DriftOf(law, ip), in[0], in[3], in[2], in[4], nil)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 { return law.ConditionalDrift(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i]) })
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-10)
	}
}

// The denoiser at the effective look is that of the posterior.
func TestEffectiveLook(t *testing.T) {
	law := mfmtest.Mixture(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 64
		c := mfmtest.SituationsOf(law, ip, n)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			tStar, xStar := interpolant.EffectiveObservation(ip, in[0], in[3], in[2], in[4])
			return []*Node{law.DenoiserGraph(ip, tStar, xStar)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 { return law.ConditionalDenoiser(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i]) })
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-9)
	}
}

// In float32 the drift is finite for all s and t in [0, 1], and right but where both looks are within rounding of the data.
func TestConditionalDriftAtTheEnds(t *testing.T) {
	law := mfmtest.Tilted(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}, mfmtest.General{Schedule: interpolant.VariancePreserving{}}) {
		rng := mfmtest.NewRNG(3)
		var c mfmtest.Situations
		for _, s := range mfmtest.Ends {
			for _, at := range mfmtest.Ends {
				z := law.Sample(rng, 1)[0]
				noised := func(time float64) []float64 {
					alpha, beta, _, _ := ip.At(float64(float32(time)))
					return []float64{alpha*rng.NormFloat64() + beta*z[0], alpha*rng.NormFloat64() + beta*z[1]}
				}
				c.S, c.U, c.T = append(c.S, s), append(c.U, 1), append(c.T, at)
				c.Xbar, c.X = append(c.Xbar, noised(s)), append(c.X, noised(at))
			}
		}
		got := mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{interpolant.ConditionalDrift(ip, mfmtest.DriftOf(law, ip), in[0], in[3], in[2], in[4], nil)}
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
			mfmtest.Near(t, name, row, law.ConditionalDrift(ip, s, c.Xbar[i], at, c.X[i]), 2e-6)
		}
	}
}

// The reference implementation's values for an isotropic mixture under the linear schedule, each row to 1e-10 of its norm in float64 and 1e-5 in float32.
func TestConditionalDriftGolden(t *testing.T) {
	golden := readGolden(t, "glass_2d.safetensors")
	law := mfmtest.NewMixture(t, exp(golden["log_weight"]), mfmtest.RowsOf(golden["mu"], 2), isotropic(golden["std"]))
	inputs := []*tensors.Tensor{mfmtest.Column(golden["s"]...), mfmtest.Points(mfmtest.RowsOf(golden["x_bar"], 2)), mfmtest.Column(golden["t"]...), mfmtest.Points(mfmtest.RowsOf(golden["x"], 2))}
	for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-10, dtypes.Float32: 1e-5} {
		for _, ip := range []interpolant.Schedule{interpolant.Linear{}, mfmtest.General{Schedule: interpolant.Linear{}}} {
			got := mfmtest.Evaluate(t, dtype, func(in []*Node) []*Node {
				return []*Node{
					interpolant.ConditionalDrift(ip, mfmtest.DriftOf(law, ip), in[0], in[1], in[2], in[3], nil),
					law.DriftGraph(ip, in[2], in[3]),
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
	read, _, err := checkpoint.ReadWeights(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	flat := make(map[string][]float64)
	for key, tensor := range read {
		flat[key] = tensors.MustCopyFlatData[float64](tensor)
	}
	return flat
}

// nearRows checks that each row of got is within tolerance of want's, relative to the norm of the latter.
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
		t.Errorf("%s: row %d is %.12g, want %.12g (off by %.2g of its norm, allowed %.2g)", name, at/dim, got[at:at+dim], want[at:at+dim], worst, tolerance)
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

// The drift of noise towards the posterior of a Gaussian, from the unconditional drift alone: at s = 0 it is the posterior's mean
// less the noise, for x_t = 1 at t = 1/2 and data from N(0, 1) 1 - 0.2.
func ExampleConditionalDrift() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	ip := interpolant.Linear{}
	drift := func(t, x, _ *Node) *Node { // of N(0, 1): (2t-1)/(t² + (1-t)²) x
		t = InsertAxes(t, -1)
		return Mul(x, Div(AddScalar(MulScalar(t, 2), -1), Add(Square(t), Square(OneMinus(t)))))
	}
	exec := MustNewExec(b, func(s, xbar, t, x *Node) *Node {
		return interpolant.ConditionalDrift(ip, drift, s, xbar, t, x, nil)
	})
	out := exec.MustCall([]float64{0}, [][]float64{{0.2}}, []float64{0.5}, [][]float64{{1}})
	fmt.Printf("%.4f\n", out[0].Value())
	// Output: [[0.8000]]
}
