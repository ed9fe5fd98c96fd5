package mfm_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
)

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
