package mixture

import (
	"fmt"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// GLASSDistance returns the error of [interpolant.ConditionalDrift], computed on the device in
// float32 or float64 from the mixture's unconditional drift: the largest distance from the closed
// form of the posterior's drift in float64 over n random (s, x̄, t, x), divided by the largest
// drift. s and t are uniform on [0, 1).
func GLASSDistance(b compute.Backend, m *gmm.Mixture, ip interpolant.Schedule, dtype dtypes.DType, n int,
	rng *rand.Rand) (float64, error) {
	if dtype != dtypes.Float32 && dtype != dtypes.Float64 {
		return 0, fmt.Errorf("GLASS in %s: use float32 or float64", dtype)
	}
	if n < 1 {
		return 0, fmt.Errorf("GLASS at %d points: use at least one", n)
	}
	round := func(v float64) float64 { // both sides take the same numbers
		if dtype == dtypes.Float32 {
			return float64(float32(v))
		}
		return v
	}
	state := func(t float64, data []float64) []float64 {
		alpha, beta, _, _ := ip.At(t)
		x := make([]float64, len(data))
		for i, v := range data {
			x[i] = round(alpha*rng.NormFloat64() + beta*v)
		}
		return x
	}
	var s, t []float64
	var xbar, x, want [][]float64
	largest := 0.0
	for i, data := range m.Sample(rng, n) {
		s, t = append(s, round(rng.Float64())), append(t, round(rng.Float64()))
		xbar, x = append(xbar, state(s[i], data)), append(x, state(t[i], data))
		want = append(want, m.ConditionalDrift(ip, s[i], xbar[i], t[i], x[i]))
		largest = max(largest, floats.Norm(want[i], 2))
	}
	out, err := CallOnce(b, func(s, xbar, t, x *Node) *Node {
		drift := func(t, x, _ *Node) *Node { return m.Like(x).Drift(ip, t, x) }
		as := func(x *Node) *Node { return ConvertDType(x, dtype) }
		b := interpolant.ConditionalDrift(ip, drift, as(s), as(xbar), as(t), as(x), nil)
		return ConvertDType(b, dtypes.Float64)
	}, s, xbar, t, x)
	if err != nil {
		return 0, fmt.Errorf("GLASS in %s: %w", dtype, err)
	}
	got, err := tensors.CopyFlatData[float64](out)
	if err != nil {
		return 0, fmt.Errorf("GLASS in %s: %w", dtype, err)
	}
	worst := 0.0
	for i, w := range want {
		worst = max(worst, floats.Distance(w, got[i*len(w):(i+1)*len(w)], 2))
	}
	return worst / largest, nil
}
