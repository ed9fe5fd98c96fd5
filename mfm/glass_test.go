package mfm_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/checkpoint"
	"github.com/gomfm/gomfm/mfm/gmm"
)

// driftOf is a mixture's drift in closed form.
func driftOf(law *gmm.Mixture, ip mfm.Interpolant) mfm.Drift {
	return func(t, x, _ *Node) *Node { return law.DriftGraph(ip, t, x) }
}

// The identity of GLASS against the posterior itself, by every schedule and both paths.
func TestConditionalDrift(t *testing.T) {
	law := mixture(t)
	for _, ip := range everySchedule() {
		const n = 64
		c := situationsOf(law, ip, n)
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			return []*Node{mfm.ConditionalDrift(ip, driftOf(law, ip), in[0], in[3], in[2], in[4], nil)}
		}, c.inputs()...)
		want := flatten(n, func(i int) []float64 { return law.ConditionalDrift(ip, c.s[i], c.xbar[i], c.t[i], c.x[i]) })
		near(t, fmt.Sprint(ip), got[0], want, 1e-10)
	}
}

// The denoiser at the effective look is that of the posterior.
func TestEffectiveLook(t *testing.T) {
	law := mixture(t)
	for _, ip := range append(builtIn(), late{}) {
		const n = 64
		c := situationsOf(law, ip, n)
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			tStar, xStar := mfm.EffectiveLook(ip, in[0], in[3], in[2], in[4])
			return []*Node{law.DenoiserGraph(ip, tStar, xStar)}
		}, c.inputs()...)
		want := flatten(n, func(i int) []float64 { return law.ConditionalDenoiser(ip, c.s[i], c.xbar[i], c.t[i], c.x[i]) })
		near(t, fmt.Sprint(ip), got[0], want, 1e-9)
	}
}

// ends are the times next to which float32 has to hold out.
var ends = []float64{0, 1e-7, 0.5, 1 - 1e-7, 1}

// In float32 the drift is finite for all s and t in [0, 1], and right but where both looks are within rounding of the data.
func TestConditionalDriftAtTheEnds(t *testing.T) {
	law := tilted(t)
	for _, ip := range append(builtIn(), late{}, general{mfm.VariancePreserving{}}) {
		rng := newRNG(3)
		var c situations
		for _, s := range ends {
			for _, at := range ends {
				z := law.Sample(rng, 1)[0]
				noised := func(time float64) []float64 {
					alpha, beta, _, _ := ip.At(float64(float32(time)))
					return []float64{alpha*rng.NormFloat64() + beta*z[0], alpha*rng.NormFloat64() + beta*z[1]}
				}
				c.s, c.u, c.t = append(c.s, s), append(c.u, 1), append(c.t, at)
				c.xbar, c.x = append(c.xbar, noised(s)), append(c.x, noised(at))
			}
		}
		got := evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{mfm.ConditionalDrift(ip, driftOf(law, ip), in[0], in[3], in[2], in[4], nil)}
		}, c.inputs()...)[0]
		for i := range c.s {
			name := fmt.Sprintf("%v at s = %.8g, t = %.8g", ip, c.s[i], c.t[i])
			row := got[2*i : 2*i+2]
			for _, v := range row {
				if math.IsNaN(v) || math.Abs(v) > 1e4 {
					t.Errorf("%s: %g", name, row)
				}
			}
			if c.s[i] > 0.9 && c.t[i] > 0.9 {
				continue
			}
			s, at := float64(float32(c.s[i])), float64(float32(c.t[i]))
			near(t, name, row, law.ConditionalDrift(ip, s, c.xbar[i], at, c.x[i]), 2e-6)
		}
	}
}

// The reference implementation's values for an isotropic mixture under the linear schedule, each row to 1e-10 of its norm in float64 and 1e-5 in float32.
func TestConditionalDriftGolden(t *testing.T) {
	golden := readGolden(t, "glass_2d.safetensors")
	law := newMixture(t, exp(golden["log_weight"]), rowsOf(golden["mu"], 2), isotropic(golden["std"]))
	inputs := []*tensors.Tensor{column(golden["s"]...), points(rowsOf(golden["x_bar"], 2)), column(golden["t"]...), points(rowsOf(golden["x"], 2))}
	for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-10, dtypes.Float32: 1e-5} {
		for _, ip := range []mfm.Interpolant{mfm.Linear{}, general{mfm.Linear{}}} {
			got := evaluate(t, dtype, func(in []*Node) []*Node {
				return []*Node{
					mfm.ConditionalDrift(ip, driftOf(law, ip), in[0], in[1], in[2], in[3], nil),
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

func rowsOf(flat []float64, dim int) [][]float64 {
	var rows [][]float64
	for i := 0; i < len(flat); i += dim {
		rows = append(rows, flat[i:i+dim])
	}
	return rows
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
	ip := mfm.Linear{}
	drift := func(t, x, _ *Node) *Node { // of N(0, 1): (2t-1)/(t² + (1-t)²) x
		t = InsertAxes(t, -1)
		return Mul(x, Div(AddScalar(MulScalar(t, 2), -1), Add(Square(t), Square(OneMinus(t)))))
	}
	exec := MustNewExec(b, func(s, xbar, t, x *Node) *Node {
		return mfm.ConditionalDrift(ip, drift, s, xbar, t, x, nil)
	})
	out := exec.MustCall([]float64{0}, [][]float64{{0.2}}, []float64{0.5}, [][]float64{{1}})
	fmt.Printf("%.4f\n", out[0].Value())
	// Output: [[0.8000]]
}
