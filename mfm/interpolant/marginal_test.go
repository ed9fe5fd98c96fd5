package interpolant_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// Denoiser and score follow from any drift, also at the ends of [0, 1] in float32.
func TestDenoiserAndScore(t *testing.T) {
	mixture := mfmtest.Mixture(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 32
		c := mfmtest.NewCases(mixture, ip, n)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			return []*Node{
				interpolant.Denoiser(ip, mfmtest.DriftOf(mixture, ip), in[2], in[4], nil),
				interpolant.Score(ip, mfmtest.DriftOf(mixture, ip), in[2], in[4], nil),
			}
		}, c.Inputs()...)
		denoisers := mfmtest.Flatten(n, func(i int) []float64 { return mixture.Denoiser(ip, c.T[i], c.X[i]) })
		mfmtest.Near(t, fmt.Sprintf("%v: denoiser", ip), got[0], denoisers, 1e-10)
		scores := mfmtest.Flatten(n, func(i int) []float64 { return mixture.Score(ip, c.T[i], c.X[i]) })
		mfmtest.Near(t, fmt.Sprintf("%v: score", ip), got[1], scores, 1e-8)

		copy(c.T, mfmtest.Ends)
		got = mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{interpolant.Denoiser(ip, mfmtest.DriftOf(mixture, ip), in[2], in[4], nil)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			return mixture.Denoiser(ip, float64(float32(c.T[i])), c.X[i])
		})
		mfmtest.Near(t, fmt.Sprintf("%v: denoiser in float32", ip), got[0], want, 1e-3)
	}
}

func TestStateAndVelocity(t *testing.T) {
	ip := interpolant.Trigonometric{}
	c := mfmtest.NewCases(mfmtest.Gaussian(t), ip, 8)
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		return []*Node{interpolant.StateAt(ip, in[2], in[3], in[4]), interpolant.VelocityAt(ip, in[2], in[3], in[4])}
	}, c.Inputs()...)
	want := func(noise, data func(t float64) float64) []float64 {
		return mfmtest.Flatten(8, func(i int) []float64 {
			a, b := noise(c.T[i]), data(c.T[i])
			return []float64{a*c.Xbar[i][0] + b*c.X[i][0], a*c.Xbar[i][1] + b*c.X[i][1]}
		})
	}
	mfmtest.Near(t, "state", got[0], want(
		func(t float64) float64 { alpha, _, _, _ := ip.At(t); return alpha },
		func(t float64) float64 { _, beta, _, _ := ip.At(t); return beta }), 1e-14)
	mfmtest.Near(t, "velocity", got[1], want(
		func(t float64) float64 { _, _, d, _ := ip.At(t); return d },
		func(t float64) float64 { _, _, _, d := ip.At(t); return d }), 1e-14)
}
