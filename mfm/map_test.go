package mfm_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/nn"
)

// What is read off an exact map is exact.
func TestMapReadings(t *testing.T) {
	law := tilted(t)
	for _, ip := range append(builtIn(), late{}) {
		const n = 32
		c := situationsOf(law, ip, n)
		m := exactMap(t, law, ip)
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			at, eps, x := in[2], in[3], in[4]
			return []*Node{
				m.Drift(weightless(), at, x, nil),
				m.Denoiser(weightless(), at, x, nil),
				m.Score(weightless(), at, x, nil),
				m.Posterior(weightless(), eps, at, x, nil),
				m.DriftIn(weightless())(at, x, nil),
			}
		}, c.inputs()...)
		oracle := [][]float64{
			flatten(n, func(i int) []float64 { return law.Drift(ip, c.t[i], c.x[i]) }),
			flatten(n, func(i int) []float64 { return law.Denoiser(ip, c.t[i], c.x[i]) }),
			flatten(n, func(i int) []float64 { return law.Score(ip, c.t[i], c.x[i]) }),
			flatten(n, func(i int) []float64 {
				x, err := law.ConditionalFlowMap(ip, 0, 1, c.xbar[i], c.t[i], c.x[i])
				if err != nil {
					t.Fatal(err)
				}
				return x
			}),
		}
		oracle = append(oracle, oracle[0])
		for i, name := range []string{"drift", "denoiser", "score", "posterior", "bound drift"} {
			near(t, fmt.Sprintf("%v: %s", ip, name), got[i], oracle[i], 1e-5)
		}
	}
}

// Denoiser and score of any drift, and the ends that float32 has to bear.
func TestDenoiserAndScore(t *testing.T) {
	law := mixture(t)
	for _, ip := range append(builtIn(), late{}) {
		const n = 32
		c := situationsOf(law, ip, n)
		got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			return []*Node{
				mfm.Denoiser(ip, driftOf(law, ip), in[2], in[4], nil),
				mfm.Score(ip, driftOf(law, ip), in[2], in[4], nil),
			}
		}, c.inputs()...)
		near(t, fmt.Sprintf("%v: denoiser", ip), got[0], flatten(n, func(i int) []float64 { return law.Denoiser(ip, c.t[i], c.x[i]) }), 1e-10)
		near(t, fmt.Sprintf("%v: score", ip), got[1], flatten(n, func(i int) []float64 { return law.Score(ip, c.t[i], c.x[i]) }), 1e-8)

		copy(c.t, ends)
		got = evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{mfm.Denoiser(ip, driftOf(law, ip), in[2], in[4], nil)}
		}, c.inputs()...)
		want := flatten(n, func(i int) []float64 { return law.Denoiser(ip, float64(float32(c.t[i])), c.x[i]) })
		near(t, fmt.Sprintf("%v: denoiser in float32", ip), got[0], want, 1e-3)
	}
}

// In float32 the exact map is finite and right for all times in [0, 1].
func TestMapAtTheEnds(t *testing.T) {
	law := tilted(t)
	for _, ip := range append(builtIn(), late{}) {
		c := situationsOf(law, ip, 4*len(ends)*len(ends))
		for i := range c.s {
			s, u := ends[i%5], ends[i/5%5]
			c.s[i], c.u[i], c.t[i] = min(s, u), max(s, u), []float64{0, 1e-7, 0.5, 0.95}[i/25]
		}
		m := exactMap(t, law, ip)
		got := evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{m.Flow(weightless(), nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})}
		}, c.inputs()...)
		want := flatten(len(c.s), func(i int) []float64 {
			single := func(v float64) float64 { return float64(float32(v)) }
			x, err := law.ConditionalFlowMap(ip, single(c.s[i]), single(c.u[i]), c.xbar[i], c.t[i], c.x[i])
			if err != nil {
				t.Fatal(err)
			}
			return x
		})
		near(t, fmt.Sprint(ip), got[0], want, 1e-4)
	}
}

func TestStateAndVelocity(t *testing.T) {
	ip := mfm.Trigonometric{}
	c := situationsOf(tilted(t), ip, 8)
	got := evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		return []*Node{mfm.StateAt(ip, in[2], in[3], in[4]), mfm.VelocityAt(ip, in[2], in[3], in[4])}
	}, c.inputs()...)
	want := func(noise, data func(t float64) float64) []float64 {
		return flatten(8, func(i int) []float64 {
			a, b := noise(c.t[i]), data(c.t[i])
			return []float64{a*c.xbar[i][0] + b*c.x[i][0], a*c.xbar[i][1] + b*c.x[i][1]}
		})
	}
	near(t, "state", got[0], want(
		func(t float64) float64 { alpha, _, _, _ := ip.At(t); return alpha },
		func(t float64) float64 { _, beta, _, _ := ip.At(t); return beta }), 1e-14)
	near(t, "velocity", got[1], want(
		func(t float64) float64 { _, _, d, _ := ip.At(t); return d },
		func(t float64) float64 { _, _, _, d := ip.At(t); return d }), 1e-14)
}
