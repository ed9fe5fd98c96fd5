package interpolant_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/diff/fd"
	"gonum.org/v1/gonum/integrate/quad"

	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// unit holds times in [0, 1], ends included.
var unit = []float64{0, 1e-7, 1e-3, 0.1, 0.25, 0.5, 0.7, 0.9, 0.99, 0.999, 1 - 1e-7, 1}

func TestScheduleEnds(t *testing.T) {
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		alpha0, beta0, _, _ := ip.At(0)
		alpha1, beta1, _, _ := ip.At(1)
		held := 0.0
		if ip == (interpolant.VariancePreserving{}) {
			held = 1e-3
		}
		mfmtest.Near(t, fmt.Sprint(ip), []float64{alpha0, beta0, alpha1, beta1}, []float64{1, 0, held, 1}, 1e-15)
	}
}

func TestScheduleDerivatives(t *testing.T) {
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		for _, at := range []float64{0.05, 0.3, 0.5, 0.8, 0.95} {
			_, _, dAlpha, dBeta := ip.At(at)
			slope := func(f func(float64) float64) float64 {
				return fd.Derivative(f, at, &fd.Settings{Formula: fd.Central, Step: 1e-4})
			}
			want := []float64{
				slope(func(t float64) float64 { alpha, _, _, _ := ip.At(t); return alpha }),
				slope(func(t float64) float64 { _, beta, _, _ := ip.At(t); return beta }),
			}
			mfmtest.Near(t, fmt.Sprintf("%v at %g", ip, at), []float64{dAlpha, dBeta}, want, 1e-5)
		}
	}
}

func TestScheduleGraph(t *testing.T) {
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-14, dtypes.Float32: 3e-7} {
			got := mfmtest.Evaluate(t, dtype, func(in []*Node) []*Node {
				alpha, beta, dAlpha, dBeta := ip.Graph(in[0])
				return []*Node{alpha, beta, dAlpha, dBeta}
			}, mfmtest.Column(unit...))
			var want [4][]float64
			for _, at := range unit {
				if dtype == dtypes.Float32 {
					at = float64(float32(at))
				}
				alpha, beta, dAlpha, dBeta := ip.At(at)
				for i, v := range []float64{alpha, beta, dAlpha, dBeta} {
					want[i] = append(want[i], v)
				}
			}
			for i, name := range []string{"alpha", "beta", "alpha'", "beta'"} {
				mfmtest.Near(t, fmt.Sprintf("%v %s in %s", ip, name, dtype), got[i], want[i], tolerance)
			}
		}
	}
}

// The effective time of any multiple of (α_t, β_t) is t.
func TestEffectiveTimeInverts(t *testing.T) {
	for _, ip := range mfmtest.EverySchedule() {
		for _, c := range []struct {
			dtype     dtypes.DType
			tolerance float64
		}{{dtypes.Float64, 1e-10}, {dtypes.Float32, 1e-6}} {
			if _, isGeneral := ip.(mfmtest.General); isGeneral && c.dtype == dtypes.Float32 {
				continue // Late takes the same path
			}
			times := unit
			if strings.Contains(fmt.Sprint(ip), "vp") {
				times = unit[:len(unit)-2] // the schedule is held at the others
			}
			var at, scale []float64
			for _, k := range []float64{1e-3, 1, 50} {
				for _, time := range times {
					at, scale = append(at, time), append(scale, k)
				}
			}
			got := mfmtest.Evaluate(t, c.dtype, func(in []*Node) []*Node {
				alpha, beta, _, _ := ip.Graph(in[0])
				return []*Node{interpolant.EffectiveTime(ip, Mul(in[1], alpha), Mul(in[1], beta))}
			}, mfmtest.Column(at...), mfmtest.Column(scale...))
			mfmtest.Near(t, fmt.Sprintf("%v in %s", ip, c.dtype), got[0], at, c.tolerance)
		}
	}
}

// The derivatives of the effective time are those of its definition, (a β' - b α') dt = α db -
// β da, by forward and by reverse mode.
func TestEffectiveTimeDerivatives(t *testing.T) {
	const a, b = 0.7, 0.4
	for _, ip := range mfmtest.EverySchedule() {
		at := func(in []*Node) *Node { return interpolant.EffectiveTime(ip, in[0], in[1]) }
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			out := []*Node{at(in)}
			for _, tangents := range [][]*Node{{OnesLike(in[0]), ZerosLike(in[0])}, {ZerosLike(in[0]), OnesLike(in[0])}} {
				out = append(out, ad.JVP([]*Node{at(in)}, in, tangents)[0])
			}
			return append(out, Gradient(ReduceAllSum(at(in)), in...)...)
		}, mfmtest.Column(a, 2*a), mfmtest.Column(b, 2*b))
		for i, scale := range []float64{1, 2} {
			alpha, beta, dAlpha, dBeta := ip.At(got[0][i])
			slope := scale * (a*dBeta - b*dAlpha)
			mfmtest.Near(t, fmt.Sprintf("%v", ip), []float64{got[1][i], got[2][i], got[3][i], got[4][i]},
				[]float64{-beta / slope, alpha / slope, -beta / slope, alpha / slope}, 1e-8)
		}
	}
}

// Mean slopes are means of the derivatives over [s, u], computed here to rounding by the
// Gauss-Legendre rule. In float32 they are those of the rounded times, by every path to a few units
// in the last place for any gap.
func TestMeanSlopes(t *testing.T) {
	var s, u []float64
	for _, from := range []float64{0, 0.2, 0.5, 0.9} {
		for _, gap := range []float64{0, 1e-9, 1e-6, 1e-5, 0.9e-4, 1.1e-4, 9e-4, 1.1e-3, 0.01, 0.05, 0.45, 0.95} {
			if from+gap < 1 {
				s, u = append(s, from), append(u, from+gap)
			}
		}
	}
	for _, ip := range mfmtest.EverySchedule() {
		for _, dtype := range []dtypes.DType{dtypes.Float64, dtypes.Float32} {
			rounded := func(t float64) float64 {
				if dtype == dtypes.Float32 {
					return float64(float32(t))
				}
				return t
			}
			mean := func(i int, derivative func(t float64) float64) float64 {
				s, u := rounded(s[i]), rounded(u[i])
				return quad.Fixed(func(x float64) float64 {
					return derivative(s + x*(u-s))
				}, 0, 1, 400, quad.Legendre{}, 0)
			}
			var wantAlpha, wantBeta []float64
			for i := range s {
				wantAlpha = append(wantAlpha, mean(i, func(t float64) float64 { _, _, d, _ := ip.At(t); return d }))
				wantBeta = append(wantBeta, mean(i, func(t float64) float64 { _, _, _, d := ip.At(t); return d }))
			}
			_, closed := ip.(interpolant.MeanSloper)
			tolerance := 1e-11
			switch {
			case dtype == dtypes.Float32 && closed:
				tolerance = 3e-7 // sines and roots in float32
			case dtype == dtypes.Float32:
				tolerance = 6e-8 // one rounding from float64
			case strings.Contains(fmt.Sprint(ip), "vp"):
				tolerance = 1e-9 // error of the rule near the end of the square root
			case closed:
				tolerance = 1e-10 // the trigonometric series
			}
			got := mfmtest.Evaluate(t, dtype, func(in []*Node) []*Node {
				alpha, beta := interpolant.MeanSlopes(ip, in[0], in[1])
				return []*Node{alpha, beta}
			}, mfmtest.Column(s...), mfmtest.Column(u...))
			mfmtest.Near(t, fmt.Sprintf("%v alpha in %s", ip, dtype), got[0], wantAlpha, tolerance)
			mfmtest.Near(t, fmt.Sprintf("%v beta in %s", ip, dtype), got[1], wantBeta, tolerance)
		}
	}
}

// Losses differentiate mean slopes. The derivatives by the general path are those of the closed
// form.
func TestMeanSlopesDerivative(t *testing.T) {
	s, u := []float64{0.2, 0.2, 0.2, 0.2, 0.1}, []float64{0.2, 0.2 + 1e-6, 0.2 + 0.9e-4, 0.2 + 1.1e-4, 0.8}
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) (out []*Node) {
		for _, ip := range []interpolant.Schedule{interpolant.Trigonometric{},
			mfmtest.General{Schedule: interpolant.Trigonometric{}}} {
			alpha, beta := interpolant.MeanSlopes(ip, in[0], in[1])
			for _, x := range in {
				out = append(out, ad.JVP([]*Node{alpha, beta}, []*Node{x}, []*Node{OnesLike(x)})...)
			}
		}
		return out
	}, mfmtest.Column(s...), mfmtest.Column(u...))
	for i, name := range []string{"alpha in s", "beta in s", "alpha in u", "beta in u"} {
		mfmtest.Near(t, name, got[4+i], got[i], 1e-7)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[interpolant.Name]interpolant.Schedule{
		"linear": interpolant.Linear{}, "trigonometric": interpolant.Trigonometric{},
		"vp": interpolant.VariancePreserving{},
	} {
		got, err := name.Schedule()
		if err != nil || got != want || fmt.Sprint(got) != string(name) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if _, err := interpolant.Name("cosine").Schedule(); err == nil || !strings.Contains(err.Error(), `"cosine"`) {
		t.Errorf("error %v for an unknown name, want one with the name", err)
	}
}

// Two observations of the same data, one with as much noise as signal and one twice as clear, are
// as informative as one at a time with ratio β/α = √(1² + 2²).
func ExampleEffectiveTime() {
	b, err := backend.New("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	exec := MustNewExec(b, func(a, b *Node) *Node { return interpolant.EffectiveTime(interpolant.Linear{}, a, b) })
	fmt.Printf("%.4f\n", exec.MustCall(1.0, math.Sqrt(5))[0].Value())
	// Output: 0.6910
}
