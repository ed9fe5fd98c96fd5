package mfm_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
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

// The ODEs of GLASS and of the map's diagonal reach the point that the exact flow map of the
// posterior gives.
func TestFields(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 8
		c := mfmtest.NewCases(mixture, ip, n)
		m := mfmtest.ExactMap(t, mixture, ip)
		times := interpolant.Grid{Steps: 25, Power: 1}.Times(0, 1)
		if ip == (interpolant.VariancePreserving{}) {
			times = interpolant.Grid{Steps: 25, Power: 0.6}.Times(0, 1) // for the square root at 1
		}
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			at, eps, x := in[2], in[3], in[4]
			return []*Node{
				solver.Integrate(nil, solver.Heun, times,
					interpolant.ConditionalField(ip, mfmtest.DriftOf(mixture, ip), at, x, nil), eps),
				solver.Integrate(nil, solver.Heun, times, m.Field(mfmtest.Weightless(), at, x, nil), eps),
				solver.Integrate(nil, solver.Heun, times, mfmtest.DriftOf(mixture, ip).Field(nil), eps),
			}
		}, c.Inputs()...)
		flow := func(at func(i int) float64) []float64 {
			return mfmtest.Flatten(n, func(i int) []float64 {
				x, err := mixture.ConditionalFlowMap(ip, 0, 1, c.Xbar[i], at(i), c.X[i])
				if err != nil {
					t.Fatal(err)
				}
				return x
			})
		}
		posterior := flow(func(i int) float64 { return c.T[i] })
		mfmtest.Near(t, fmt.Sprintf("%v: GLASS", ip), got[0], posterior, 3e-2)
		mfmtest.Near(t, fmt.Sprintf("%v: diagonal", ip), got[1], posterior, 3e-2)
		mfmtest.Near(t, fmt.Sprintf("%v: unconditional", ip), got[2], flow(func(int) float64 { return 0 }), 3e-2)
	}
}
