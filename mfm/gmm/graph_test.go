package gmm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
)

// tolerances of graphs compared with the host.
var tolerances = map[dtypes.DType]float64{dtypes.Float32: 1e-5, dtypes.Float64: 1e-10}

// column returns a tensor [len] of the given float type.
func column(dtype dtypes.DType, v []float64) *tensors.Tensor {
	if dtype == dtypes.Float64 {
		return tensors.FromValue(v)
	}
	v32 := make([]float32, len(v))
	for i, x := range v {
		v32[i] = float32(x)
	}
	return tensors.FromValue(v32)
}

// table returns a tensor [len, dim] of the given float type.
func table(dtype dtypes.DType, points [][]float64) *tensors.Tensor {
	var flat []float64
	for _, p := range points {
		flat = append(flat, p...)
	}
	if dtype == dtypes.Float64 {
		return tensors.FromFlatDataAndDimensions(flat, len(points), len(points[0]))
	}
	flat32 := make([]float32, len(flat))
	for i, x := range flat {
		flat32[i] = float32(x)
	}
	return tensors.FromFlatDataAndDimensions(flat32, len(points), len(points[0]))
}

// values returns the elements of a tensor as rows of the given length.
func values(x *tensors.Tensor, dim int) [][]float64 {
	var flat []float64
	switch v := x.DType(); v {
	case dtypes.Float64:
		flat = tensors.MustCopyFlatData[float64](x)
	default:
		for _, f := range tensors.MustCopyFlatData[float32](x) {
			flat = append(flat, float64(f))
		}
	}
	out := make([][]float64, len(flat)/dim)
	for i := range out {
		out[i] = flat[i*dim : (i+1)*dim]
	}
	return out
}

// round rounds x to the type, so that graph and host start from the same numbers.
func round(dtype dtypes.DType, x float64) float64 {
	if dtype == dtypes.Float32 {
		return float64(float32(x))
	}
	return x
}

// batch holds arguments of a conditional flow, with 0 <= s, t <= 1, ends included.
type batch struct {
	s, u, t []float64
	xbar, x [][]float64
}

func newBatch(m *gmm.Mixture, sched interpolant.Schedule, dtype dtypes.DType) batch {
	var b batch
	rng := newRNG(37)
	for _, t := range []float64{0, 0.05, 0.5, 0.95, 1} {
		for _, s := range []float64{0, 0.03, 0.4, 0.9, 1} {
			if s == 1 && t == 1 {
				continue // the posterior is a point, and its drift has no limit at s = 1
			}
			x := marginalSample(m, sched, t, rng)
			xbar := marginalSample(m.Posterior(sched, t, x), sched, s, rng)
			for j := range x {
				x[j], xbar[j] = round(dtype, x[j]), round(dtype, xbar[j])
			}
			b.t, b.s = append(b.t, round(dtype, t)), append(b.s, round(dtype, s))
			b.u = append(b.u, round(dtype, s+(1-s)*rng.Float64()))
			b.x, b.xbar = append(b.x, x), append(b.xbar, xbar)
		}
	}
	return b
}

func (b batch) tensors(dtype dtypes.DType) []any {
	return []any{column(dtype, b.s), column(dtype, b.u), column(dtype, b.t), table(dtype, b.xbar), table(dtype, b.x)}
}

func TestGraphAgainstHost(t *testing.T) {
	backend := backendtest.New(t)
	mixtures := regular(t)
	mixtures["many"], mixtures["many in 3D"], mixtures["many axes"] = many(t, 40, 1, 0.2), many(t, 33, 3, 0.2), many(t, 32, 2, 0)
	for mixture, schedule := range map[string]string{
		"line": "linear", "paper": "linear", "full": "trigonometric", "four": "trigonometric",
		"many": "linear", "many in 3D": "trigonometric", "many axes": "linear", // unrolled
	} {
		m, sched := mixtures[mixture], schedules[schedule]
		for dtype, tol := range tolerances {
			t.Run(fmt.Sprintf("%s/%s/%s", mixture, schedule, dtype), func(t *testing.T) {
				b := newBatch(m, sched, dtype)
				got, err := CallOnceN(backend, func(in []*Node) []*Node {
					s, t, xbar, x := in[0], in[2], in[3], in[4]
					m := m.Like(x)
					post := m.Posterior(sched, t, x)
					return []*Node{
						m.LogMarginal(sched, t, x), m.Score(sched, t, x), m.Denoiser(sched, t, x), m.Drift(sched, t, x),
						post.Drift(sched, s, xbar), post.Denoiser(sched, s, xbar),
						post.Weights(), post.Mean(), m.LogDensity(x),
					}
				}, b.tensors(dtype)...)
				if err != nil {
					t.Fatal(err)
				}
				names := []string{"marginal", "score", "denoiser", "drift", "conditional drift", "conditional denoiser",
					"weights", "mean", "density"}
				dims := []int{1, m.Dim(), m.Dim(), m.Dim(), m.Dim(), m.Dim(), m.Len(), m.Dim(), 1}
				for i, x := range b.x {
					s, time, xbar := b.s[i], b.t[i], b.xbar[i]
					for k, want := range [][]float64{
						{m.LogMarginal(sched, time, x)}, m.Score(sched, time, x), m.Denoiser(sched, time, x),
						m.Drift(sched, time, x),
						m.ConditionalDrift(sched, s, xbar, time, x), m.ConditionalDenoiser(sched, s, xbar, time, x),
						m.PosteriorWeights(sched, time, x), m.Denoiser(sched, time, x), {m.LogDensity(x)},
					} {
						name := fmt.Sprintf("%s at t = %v, s = %v", names[k], time, s)
						near(t, name, values(got[k], dims[k])[i], want, tol)
					}
				}
			})
		}
	}
}

// kept returns the mixture of some components of another, and their probability.
func kept(t *testing.T, m *gmm.Mixture, keep []bool) (*gmm.Mixture, float64) {
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	for k, w := range m.Weights() {
		if keep[k] {
			mean, covariance := m.Component(k)
			weights, means, covariances = append(weights, w), append(means, mean), append(covariances, covariance)
		}
	}
	total := floats.Sum(weights)
	floats.Scale(1/total, weights)
	return must(t, weights, means, covariances), total
}

// A restricted mixture is the mixture of the components that are kept, with log densities that
// include the logarithm of their probability.
func TestGraphRestricted(t *testing.T) {
	backend, sched := backendtest.New(t), schedules["linear"]
	const dtype, s = dtypes.Float64, 0.4
	for name, m := range map[string]*gmm.Mixture{"full": regular(t)["full"], "unrolled": many(t, 40, 3, 0.2)} {
		rng := newRNG(61)
		var keep [][]bool
		var times []float64
		var x, xbar [][]float64
		for i := range 4 {
			row := make([]bool, m.Len())
			for k := range row {
				row[k] = i == 0 || (k+i)%2 == 0
			}
			keep, times = append(keep, row), append(times, []float64{0.5, 0, 0.3, 0.95}[i])
			x, xbar = append(x, noise(rng, m.Dim())), append(xbar, noise(rng, m.Dim()))
		}
		got, err := CallOnceN(backend, func(in []*Node) []*Node {
			keep, t, x, xbar := in[0], in[1], in[2], in[3]
			m := m.Like(x).Restricted(keep)
			post := m.Posterior(sched, t, x)
			return []*Node{
				m.LogMarginal(sched, t, x), m.LogDensity(x), m.Score(sched, t, x), m.Denoiser(sched, t, x),
				m.Drift(sched, t, x), post.Drift(sched, AddScalar(ZerosLike(t), s), xbar), m.Mean(), post.Mean(),
				ReduceSum(m.Weights(), 1), ReduceSum(Where(keep, ZerosLike(m.Weights()), m.Weights()), 1),
			}
		}, keep, column(dtype, times), table(dtype, x), table(dtype, xbar))
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range keep {
			host, probability := kept(t, m, row)
			time, x := times[i], x[i]
			for j, want := range [][]float64{
				{host.LogMarginal(sched, time, x) + math.Log(probability)}, {host.LogDensity(x) + math.Log(probability)},
				host.Score(sched, time, x), host.Denoiser(sched, time, x), host.Drift(sched, time, x),
				host.ConditionalDrift(sched, s, xbar[i], time, x), host.Mean(), host.Posterior(sched, time, x).Mean(),
				{1}, {0},
			} {
				what := []string{"marginal", "density", "score", "denoiser", "drift", "conditional drift", "mean",
					"posterior mean", "sum of weights", "weights left out"}[j]
				near(t, fmt.Sprintf("%s, row %d: %s", name, i, what), values(got[j], len(want))[i], want, 1e-10)
			}
		}
	}
}

// Samples of a restricted mixture have the moments of the components that are kept, one for each
// row.
func TestGraphRestrictedSample(t *testing.T) {
	backend, m := backendtest.New(t), regular(t)["full"]
	const n = 20000
	keep := make([][]bool, n)
	for i := range keep {
		keep[i] = make([]bool, m.Len())
		keep[i][0] = true
	}
	sample := func(batch int) ([]*tensors.Tensor, error) {
		return CallOnceN(backend, func(keep *Node) []*Node {
			state := RNGStateFromSeedForGraph(keep.Graph(), 5)
			_, x := m.OnGraph(keep.Graph(), dtypes.Float32).Restricted(keep).Sample(state, batch)
			return []*Node{x}
		}, keep)
	}
	got, err := sample(n)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := kept(t, m, keep[0])
	checkMoments(t, "first component", values(got[0], m.Dim()), first, 0)
	if _, err := sample(1); err == nil {
		t.Error("no error for another number of samples than rows")
	}
}

// many returns a mixture whose covariances differ from multiples of the identity by a matrix of
// rank one and a given size.
func many(t testing.TB, components, dim int, size float64) *gmm.Mixture {
	weights, means, covariances := make([]float64, components), make([][]float64, components), make([][][]float64, components)
	for k := range means {
		weights[k] = float64(1 + k%3)
		for i := range dim {
			means[k] = append(means[k], 2*math.Sin(float64(i+k*(i+2))))
			row := make([]float64, dim)
			for j := range row {
				row[j] = size * math.Cos(float64((k+1)*i)) * math.Cos(float64((k+1)*j))
			}
			row[i] += 0.1 * float64(1+k%4)
			covariances[k] = append(covariances[k], row)
		}
	}
	return must(t, weights, means, covariances)
}

func TestGraphGolden(t *testing.T) {
	reference := readGolden(t, "glass_2d.safetensors")
	m := goldenMixture(t, reference)
	const dtype = dtypes.Float64
	got, err := CallOnce(backendtest.New(t), func(s, xbar, t, x *Node) *Node {
		return m.Like(x).Posterior(linear{}, t, x).Drift(linear{}, s, xbar)
	}, column(dtype, reference["s"]), table(dtype, pairs(reference["x_bar"])),
		column(dtype, reference["t"]), table(dtype, pairs(reference["x"])))
	if err != nil {
		t.Fatal(err)
	}
	want := pairs(reference["drift"])
	for i, v := range values(got, 2) {
		near(t, fmt.Sprintf("drift %d", i), v, want[i], 1e-10)
	}
}

func TestGraphFlowMapAgainstHost(t *testing.T) {
	backend := backendtest.New(t)
	m := gaussian(t)
	for schedule, sched := range schedules {
		for dtype, tol := range tolerances {
			t.Run(fmt.Sprintf("%s/%s", schedule, dtype), func(t *testing.T) {
				b := newBatch(m, sched, dtype)
				got, err := CallOnceN(backend, func(in []*Node) []*Node {
					s, u, t, xbar, x := in[0], in[1], in[2], in[3], in[4]
					post := m.Like(x).Posterior(sched, t, x)
					return []*Node{
						post.FlowMap(sched, s, u, xbar), post.AverageVelocity(sched, s, u, xbar),
						post.AverageVelocity(sched, s, s, xbar),
					}
				}, b.tensors(dtype)...)
				if err != nil {
					t.Fatal(err)
				}
				for i, x := range b.x {
					s, u, time, xbar := b.s[i], b.u[i], b.t[i], b.xbar[i]
					flow, err := m.ConditionalFlowMap(sched, s, u, xbar, time, x)
					if err != nil {
						t.Fatal(err)
					}
					velocity, err := m.ConditionalAverageVelocity(sched, s, u, xbar, time, x)
					if err != nil {
						t.Fatal(err)
					}
					at := fmt.Sprintf("at t = %v, s = %v, u = %v", time, s, u)
					near(t, "X_{s,u} "+at, values(got[0], 2)[i], flow, tol)
					near(t, "v_{s,u} "+at, values(got[1], 2)[i], velocity, tol)
					near(t, "v_{s,s} "+at, values(got[2], 2)[i], m.ConditionalDrift(sched, s, xbar, time, x), tol)
				}
			})
		}
	}
}

// The gradient of v_{s,u} in s, u and x̄ is smooth through u = s: it equals the central difference
// of the host's values.
func TestAverageVelocityGradient(t *testing.T) {
	m := gaussian(t)
	x, xbar := []float64{0.3, -0.8}, []float64{-0.2, 0.5}
	const s, time = 0.4, 0.3
	ends := []float64{0.4, 0.400001, 0.9}
	for name, sched := range schedules {
		got, err := CallOnceN(backendtest.New(t), func(in []*Node) []*Node {
			v := m.Like(in[4]).Posterior(sched, in[2], in[4]).AverageVelocity(sched, in[0], in[1], in[3])
			return Gradient(ReduceAllSum(Mul(v, Const(v.Graph(), [][]float64{{1, -2}}))), in[0], in[1], in[3])
		}, []float64{s, s, s}, ends, []float64{time, time, time}, [][]float64{xbar, xbar, xbar}, [][]float64{x, x, x})
		if err != nil {
			t.Fatal(err)
		}
		for i, u := range ends {
			host := func(s, u float64, xbar []float64) float64 {
				v, err := m.ConditionalAverageVelocity(sched, s, u, xbar, time, x)
				if err != nil {
					t.Fatal(err)
				}
				return v[0] - 2*v[1]
			}
			near(t, fmt.Sprintf("%s: gradient at u = %v", name, u),
				append([]float64{values(got[0], 1)[i][0], values(got[1], 1)[i][0]}, values(got[2], 2)[i]...),
				[]float64{
					derivative(func(s float64) float64 { return host(s, u, xbar) }, s),
					derivative(func(u float64) float64 { return host(s, u, xbar) }, u),
					derivative(func(d float64) float64 { return host(s, u, along(xbar, 0, d)) }, 0),
					derivative(func(d float64) float64 { return host(s, u, along(xbar, 1, d)) }, 0),
				}, 1e-8)
		}
	}
}

// Values and gradients are finite at both ends of [0, 1], also for components without variance.
func TestGraphIsFinite(t *testing.T) {
	const dtype = dtypes.Float32
	for name, m := range map[string]*gmm.Mixture{"paper": gmm.Paper(), "degenerate": degenerate(t)} {
		times := []float64{0, 0.5, 1 - 0x1p-24, 1}
		at := [][]float64{{0, 0}, {2, -1}, {2, -1}, {2, -1}}
		got, err := CallOnceN(backendtest.New(t), func(t, x *Node) []*Node {
			m := m.Like(x)
			out := []*Node{
				m.LogMarginal(linear{}, t, x), m.Score(linear{}, t, x), m.Drift(linear{}, t, x),
				m.Posterior(linear{}, t, x).Drift(linear{}, t, x), m.Denoiser(linear{}, t, x),
			}
			for _, v := range out {
				out = append(out, Gradient(ReduceAllSum(v), x)[0])
			}
			return out
		}, column(dtype, times), table(dtype, at))
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			for _, row := range values(v, 1) {
				if math.IsNaN(row[0]) || math.IsInf(row[0], 0) {
					t.Errorf("%s: output %d is not finite: %v", name, i, v)
					break
				}
			}
		}
	}
}

// Samples of the mixture, and of posteriors one per row, have the right moments within 4 standard
// errors.
func TestGraphSample(t *testing.T) {
	const n, time = 20000, 0.35
	m := regular(t)["full"]
	x := []float64{0.1, 0.4}
	state, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	exec, err := NewExec(backendtest.New(t), func(state, t, x *Node) []*Node {
		post := m.Like(x).Posterior(linear{}, BroadcastToDims(t, n), BroadcastToDims(x, n, m.Dim()))
		state, prior := m.OnGraph(state.Graph(), dtypes.Float32).Sample(state, n)
		state, posterior := post.Sample(state, n)
		return []*Node{prior, posterior, state}
	})
	if err != nil {
		t.Fatal(err)
	}
	sample := func() []*tensors.Tensor {
		got, err := exec.Call(state, float32(time), table(dtypes.Float32, [][]float64{x}))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got, again := sample(), sample()
	for i, mixture := range []*gmm.Mixture{m, m.Posterior(linear{}, time, x)} {
		samples := values(got[i], m.Dim())
		near(t, "the same seed", samples[n-1], values(again[i], m.Dim())[n-1], 0)
		checkMoments(t, []string{"mixture", "posterior"}[i], samples, mixture, 0)
	}
}

func TestGraphErrors(t *testing.T) {
	m := gmm.Paper()
	backend := backendtest.New(t)
	for name, f := range map[string]func(t, x *Node) *Node{
		"dimension": func(t, x *Node) *Node { return m.Like(x).Drift(linear{}, t, Concatenate([]*Node{x, x}, 1)) },
		"times":     func(t, x *Node) *Node { return m.Like(x).Drift(linear{}, InsertAxes(t, -1), x) },
		"types":     func(t, x *Node) *Node { return m.Like(x).Drift(linear{}, ConvertDType(t, dtypes.Float32), x) },
		"integers": func(t, x *Node) *Node {
			x = ConvertDType(x, dtypes.Int32)
			return m.Like(x).Drift(linear{}, t, x)
		},
		"rows": func(t, x *Node) *Node {
			twice := func(v *Node) *Node { return Concatenate([]*Node{v, v}, 0) }
			return m.Like(x).Posterior(linear{}, t, x).Drift(linear{}, twice(t), twice(x))
		},
		"rows of a restricted mixture": func(t, x *Node) *Node {
			restricted := m.Like(x).Restricted(Const(x.Graph(), [][]bool{{true, true, true}, {true, false, true}, {true, true, false}}))
			return restricted.Drift(linear{}, Slice(t, AxisRange(0, 1)), Slice(x, AxisRange(0, 1)))
		},
		"samples": func(t, x *Node) *Node {
			_, y := m.Like(x).Posterior(linear{}, t, x).Sample(RNGStateFromSeedForGraph(x.Graph(), 1), 3)
			return y
		},
		"flow map": func(t, x *Node) *Node { return m.Like(x).Posterior(linear{}, t, x).FlowMap(linear{}, t, t, x) },
		"points":   func(t, x *Node) *Node { return gmm.PointsDrift(linear{}, Concatenate([]*Node{x, x}, 1), t, x) },
		"point times": func(t, x *Node) *Node {
			return gmm.PointsDrift(linear{}, x, InsertAxes(t, -1), x)
		},
		"point types": func(t, x *Node) *Node {
			return gmm.PointsDrift(linear{}, ConvertDType(x, dtypes.Float32), t, x)
		},
	} {
		if _, err := CallOnce(backend, f, []float64{0.5, 0.5}, [][]float64{{0, 1}, {2, 3}}); err == nil {
			t.Errorf("%s: no error for arguments that do not fit", name)
		}
	}
}

// BenchmarkConditionalDriftGraph measures the drift of a teacher in a training step of batch 1,024.
func BenchmarkConditionalDriftGraph(b *testing.B) {
	m, sched := gmm.Paper(), linear{}
	exec, err := NewExec(backendtest.New(b), func(s, xbar, t, x *Node) *Node {
		return m.Like(x).Posterior(sched, t, x).Drift(sched, s, xbar)
	})
	if err != nil {
		b.Fatal(err)
	}
	rng := newRNG(53)
	var s, t []float64
	for range 1024 {
		s, t = append(s, rng.Float64()), append(t, rng.Float64())
	}
	x := m.Sample(rng, 1024)
	const dtype = dtypes.Float32
	in := []any{column(dtype, s), table(dtype, x), column(dtype, t), table(dtype, x)}
	for b.Loop() {
		if _, err := exec.Call(in...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDenoiserGraph measures the denoiser of 256 components, as in the steps of a mixture
// prior.
func BenchmarkDenoiserGraph(b *testing.B) {
	for _, dim := range []int{3, 8} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			m, rng := many(b, 256, dim, 0.2), newRNG(53)
			exec, err := NewExec(backendtest.New(b), func(t, x *Node) *Node {
				m := m.Like(x)
				for range 8 { // their time is well above that of a call
					x = m.Denoiser(linear{}, t, x)
				}
				return x
			})
			if err != nil {
				b.Fatal(err)
			}
			var times []float64
			for range 512 {
				times = append(times, rng.Float64())
			}
			in := []any{column(dtypes.Float32, times), table(dtypes.Float32, m.Sample(rng, 512))}
			if _, err := exec.Call(in...); err != nil { // compiles
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := exec.Call(in...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDrift measures one drift on the host.
func BenchmarkDrift(b *testing.B) {
	m, x := gmm.Paper(), []float64{1, 2}
	for b.Loop() {
		m.Drift(linear{}, 0.5, x)
	}
}
