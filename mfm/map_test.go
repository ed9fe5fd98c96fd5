package mfm_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// Drift, denoiser, score and posterior samples of an exact map are exact.
func TestMapOfGaussian(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 32
		c := mfmtest.NewCases(mixture, ip, n)
		m := mfmtest.ExactMap(t, mixture, ip)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			at, eps, x := in[2], in[3], in[4]
			return []*Node{
				m.Drift(mfmtest.Weightless(), at, x, nil),
				m.Denoiser(mfmtest.Weightless(), at, x, nil),
				m.Score(mfmtest.Weightless(), at, x, nil),
				m.Posterior(mfmtest.Weightless(), eps, at, x, nil),
				m.DriftIn(mfmtest.Weightless())(at, x, nil),
			}
		}, c.Inputs()...)
		oracle := [][]float64{
			mfmtest.Flatten(n, func(i int) []float64 { return mixture.Drift(ip, c.T[i], c.X[i]) }),
			mfmtest.Flatten(n, func(i int) []float64 { return mixture.Denoiser(ip, c.T[i], c.X[i]) }),
			mfmtest.Flatten(n, func(i int) []float64 { return mixture.Score(ip, c.T[i], c.X[i]) }),
			mfmtest.Flatten(n, func(i int) []float64 {
				x, err := mixture.ConditionalFlowMap(ip, 0, 1, c.Xbar[i], c.T[i], c.X[i])
				if err != nil {
					t.Fatal(err)
				}
				return x
			}),
		}
		oracle = append(oracle, oracle[0])
		for i, name := range []string{"drift", "denoiser", "score", "posterior", "bound drift"} {
			mfmtest.Near(t, fmt.Sprintf("%v: %s", ip, name), got[i], oracle[i], 1e-5)
		}
	}
}

// In float32 the exact map is finite and accurate for all times in [0, 1].
func TestMapAtTheEnds(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		c := mfmtest.NewCases(mixture, ip, 4*len(mfmtest.Ends)*len(mfmtest.Ends))
		for i := range c.S {
			s, u := mfmtest.Ends[i%5], mfmtest.Ends[i/5%5]
			c.S[i], c.U[i], c.T[i] = min(s, u), max(s, u), []float64{0, 1e-7, 0.5, 0.95}[i/25]
		}
		m := mfmtest.ExactMap(t, mixture, ip)
		got := mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{m.Flow(mfmtest.Weightless(), nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})}
		}, c.Inputs()...)
		want := mfmtest.Flatten(len(c.S), func(i int) []float64 {
			single := func(v float64) float64 { return float64(float32(v)) }
			x, err := mixture.ConditionalFlowMap(ip, single(c.S[i]), single(c.U[i]), c.Xbar[i], c.T[i], c.X[i])
			if err != nil {
				t.Fatal(err)
			}
			return x
		})
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-4)
	}
}
