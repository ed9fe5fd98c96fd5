package tune_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// gaussian is a law whose exact flow map draws posterior samples that have a gradient.
func gaussian(t testing.TB, ip interpolant.Schedule) (*gmm.Mixture, steer.Model) {
	t.Helper()
	law, err := gmm.New([]float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	if err != nil {
		t.Fatal(err)
	}
	return law, steer.FromGaussian(law, ip)
}

// measured is a measurement of 1.2 x₁ - 0.8 x₂ with deviation sigma.
func measured(sigma float64) reward.LinearGaussian {
	return reward.LinearGaussian{A: [][]float64{{1.2, -0.8}}, Y: []float64{-1}, Sigma: sigma}
}

// tilt returns the law tilted by λ r, and log Z.
func tilt(t testing.TB, law *gmm.Mixture, r reward.LinearGaussian, lambda float64) (*gmm.Mixture, float64) {
	t.Helper()
	target, logZ, err := law.Tilt(r.A, r.Y, r.Sigma/math.Sqrt(lambda))
	if err != nil {
		t.Fatal(err)
	}
	return target, logZ
}

// points are states that the tilted law visits, with the correction b* - b and the value there.
func points(law, target *gmm.Mixture, ip interpolant.Schedule, logZ float64, times []float64, each int) []tune.Point {
	rng := rand.New(rand.NewPCG(5, 6))
	var out []tune.Point
	for _, at := range times {
		alpha, beta, _, _ := ip.At(at)
		for _, x := range target.Sample(rng, each) {
			p := tune.Point{T: float64(float32(at))}
			for j := range x {
				p.X = append(p.X, float64(float32(alpha*rng.NormFloat64()+beta*x[j])))
			}
			b, tuned := law.Drift(ip, p.T, p.X), target.Drift(ip, p.T, p.X)
			for j := range b {
				p.Correction = append(p.Correction, tuned[j]-b[j])
			}
			p.Value = logZ + target.LogMarginal(ip, p.T, p.X) - law.LogMarginal(ip, p.T, p.X)
			out = append(out, p)
		}
	}
	return out
}

func residuals(t testing.TB, m steer.Model, r reward.Reward, lambda float64, method tune.Method, points []tune.Point, draws int) []tune.Residual {
	t.Helper()
	return residualsOf(t, m, r, lambda, tune.Noise{Start: 0.01}, method, points, draws)
}

func residualsOf(t testing.TB, m steer.Model, r reward.Reward, lambda float64, noise tune.Noise, method tune.Method, points []tune.Point, draws int) []tune.Residual {
	t.Helper()
	got, err := tune.Residuals(t.Context(), backendtest.New(t), model.NewStore(), m, r, lambda, noise, method, points, draws, 3)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// One draw is enough: at b* the condition of MFM-FT holds in the mean, whatever N and λ, and so does that of reward-weighted regression. Those with a ratio do not hold.
func TestConditionsAtTheOptimum(t *testing.T) {
	r := measured(0.8)
	draws := 1 << 17
	if testing.Short() {
		draws = 1 << 14
	}
	type condition struct {
		method   tune.Method
		unbiased bool
	}
	check := func(ip interpolant.Schedule, lambda float64, conditions func(exact steer.Exact) []condition) {
		law, m := gaussian(t, ip)
		target, logZ := tilt(t, law, r, lambda)
		ps := points(law, target, ip, logZ, []float64{0.05, 0.4, 0.9}, 3)
		for _, c := range conditions(steer.FromTilt(law, target, logZ, ip)) {
			largest := 0.0
			for i, res := range residuals(t, m, r.Reward(), lambda, c.method, ps, draws) {
				length, z := res.Bias()
				if exact := res.Variance < 1e-12; exact && c.unbiased {
					if length > 1e-4 {
						t.Errorf("%v, %v, λ = %g, t = %g: residual %v of the exact value", c.method, ip, lambda, ps[i].T, res.Mean)
					}
					continue
				}
				largest = max(largest, z)
			}
			// χ of 2 degrees of freedom: above 5 once in 270,000.
			if c.unbiased && largest > 5 {
				t.Errorf("%+v, %v, λ = %g: a residual is %.1f standard errors from zero", c.method, ip, lambda, largest)
			}
			if !c.unbiased && largest < 8 {
				t.Errorf("%v, %v, λ = %g: residuals are within %.1f standard errors of zero, its bias does not show", c.method, ip, lambda, largest)
			}
		}
	}
	for _, lambda := range []float64{1, 5} {
		check(interpolant.Linear{}, lambda, func(exact steer.Exact) []condition {
			return []condition{
				{tune.MetaTuning{Draws: steer.Draws{N: 1}}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 4}}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 2, Antithetic: true}}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 1}, Reference: 8, Floor: 0.05}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 1}, GradientFree: true}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 2}, GradientFree: true}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 5}, GradientFree: true, Reference: 8, Floor: 0.05}, true},
				{tune.RewardWeighted{}, true},
				{tune.PlugIn{Estimator: exact}, true},
				{tune.PlugIn{Estimator: steer.MFMG{Draws: steer.Draws{N: 2}}}, false},
				{tune.PlugIn{Estimator: steer.MFMGF{Draws: steer.Draws{N: 2}, Baseline: steer.MeanBaseline}}, false},
			}
		})
	}
	for _, ip := range []interpolant.Schedule{interpolant.Trigonometric{}, interpolant.VariancePreserving{}} {
		check(ip, 1, func(exact steer.Exact) []condition {
			return []condition{
				{tune.MetaTuning{Draws: steer.Draws{N: 1}}, true},
				{tune.MetaTuning{Draws: steer.Draws{N: 2}, GradientFree: true}, true},
				{tune.RewardWeighted{}, true},
				{tune.PlugIn{Estimator: exact}, true},
			}
		})
	}
}

// The offset is any number that does not depend on the draws: it scales the condition and moves nothing.
func TestOffsetMovesNothing(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, law, r, 1)
	for _, shift := range []float64{-3, 2} {
		ps := points(law, target, interpolant.Linear{}, logZ, []float64{0.05, 0.4, 0.9}, 2)
		for i := range ps {
			ps[i].Value += shift
		}
		for _, method := range []tune.Method{tune.MetaTuning{Draws: steer.Draws{N: 1}}, tune.MetaTuning{Draws: steer.Draws{N: 2}, GradientFree: true}} {
			for i, res := range residuals(t, m, r.Reward(), 1, method, ps, 1<<16) {
				if _, z := res.Bias(); z > 5 {
					t.Errorf("%+v, offset %g from the value, t = %g: the residual is %.1f standard errors from zero", method, shift, ps[i].T, z)
				}
			}
		}
	}
}

// With a constant σ²/2 the fixed point is b + (σ²/2) ∇V, and no longer b*.
func TestConstantNoise(t *testing.T) {
	ip := interpolant.Linear{}
	law, m := gaussian(t, ip)
	r := measured(0.8)
	target, logZ := tilt(t, law, r, 1)
	const half = 1.7
	doob := points(law, target, ip, logZ, []float64{0.1, 0.4, 0.8}, 2)
	constant := make([]tune.Point, len(doob))
	for i, p := range doob {
		constant[i] = p
		constant[i].Correction = nil
		for _, d := range p.Correction {
			constant[i].Correction = append(constant[i].Correction, d*half/interpolant.HalfSquaredNoise(ip, p.T))
		}
	}
	exact := steer.FromTilt(law, target, logZ, ip)
	for _, method := range []tune.Method{tune.MetaTuning{Draws: steer.Draws{N: 1}}, tune.MetaTuning{Draws: steer.Draws{N: 2}, GradientFree: true}, tune.PlugIn{Estimator: exact}} {
		largest := func(ps []tune.Point) (length, z float64) {
			for _, res := range residualsOf(t, m, r.Reward(), 1, tune.Noise{Constant: half, Start: 0.01}, method, ps, 1<<16) {
				l, s := res.Bias()
				length = max(length, l)
				if res.Variance > 1e-12 {
					z = max(z, s)
				}
			}
			return length, z
		}
		if length, z := largest(constant); z > 5 || z == 0 && length > 1e-4 {
			t.Errorf("%+v at b + σ²/2 ∇V: a residual of %g, %.1f standard errors", method, length, z)
		}
		if length, z := largest(doob); length < 0.1 || z > 0 && z < 8 {
			t.Errorf("%+v at b*: a residual of %g, %.1f standard errors, want another fixed point", method, length, z)
		}
	}
}

// The minimum of E|w D - g|² is E[w g]/E[w²], that of the loss E[g]/E[w]: the latter alone is the correction.
func TestMinimumOfTheNaiveSquare(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, law, r, 1)
	p := points(law, target, interpolant.Linear{}, logZ, []float64{0.4}, 1)[0]
	const rows, batches = 1 << 13, 32
	exec, err := NewExec(backendtest.New(t), func(state *Node) []*Node {
		g := state.Graph()
		s := tune.States{T: MulScalar(Ones(g, shapes.Make(dtypes.Float32, rows)), p.T), X: BroadcastToDims(ConstAsDType(g, dtypes.Float32, [][]float64{p.X}), rows, 2)}
		s.Base = m.Drift(s.T, s.X, nil)
		problem := tune.Problem{Problem: steer.Problem{Model: m, Reward: r.Reward(), Lambda: Scalar(g, dtypes.Float32, 1)}, Noise: tune.Noise{Start: 0.01}, Offset: MulScalar(OnesLike(s.T), p.Value)}
		rng := &solver.RNG{State: state}
		got := tune.MetaTuning{Draws: steer.Draws{N: 1}}.Regress(problem, rng, s)
		w := InsertAxes(got.Weight, -1)
		right := Div(ReduceSum(got.Vector, 0), ReduceSum(w, 0))
		naive := Div(ReduceSum(Mul(w, got.Vector), 0), ReduceSum(Square(w), 0))
		return []*Node{right, naive, rng.State}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	var minima [2][2][]float64 // right and naive, by axis, of each batch
	for range batches {
		out := exec.MustCall(state)
		for i := range minima {
			for j, v := range tensors.MustCopyFlatData[float32](out[i]) {
				minima[i][j] = append(minima[i][j], float64(v))
			}
		}
		state = out[2]
	}
	naive := 0.0
	for j, want := range p.Correction {
		for i := range minima {
			mean, sd := stat.MeanStdDev(minima[i][j], nil)
			z := math.Abs(mean-want) / (sd / math.Sqrt(batches))
			if i == 1 {
				naive = max(naive, z)
			} else if z > 5 {
				t.Errorf("axis %d: the loss has its minimum at %.4f, %.1f standard errors from the correction %.4f", j, mean, z, want)
			}
		}
	}
	if naive < 20 {
		t.Errorf("the naive square has its minimum within %.1f standard errors of the correction", naive)
	}
}

// The plug-in's bias falls as 1/N.
func TestPlugInBias(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, law, r, 1)
	ps := points(law, target, interpolant.Linear{}, logZ, []float64{0.3}, 1)
	var bias [2]float64
	for i, n := range []int{16, 64} {
		got := residuals(t, m, r.Reward(), 1, tune.PlugIn{Estimator: steer.MFMG{Draws: steer.Draws{N: n}}}, ps, 1<<17)[0]
		bias[i], _ = got.Bias()
	}
	if slope := math.Log(bias[1]/bias[0]) / math.Log(4); slope < -1.3 || slope > -0.7 {
		t.Errorf("bias %g with 16 draws, %g with 64: slope %.2f, want -1", bias[0], bias[1], slope)
	}
}

// The loss has the gradient w D - g. That of the square of w D - g itself has w² in it, and another zero.
func TestGradientOfTheLoss(t *testing.T) {
	exec, err := NewExec(backendtest.New(t), func(d, w, g *Node) []*Node {
		loss := ReduceAllSum(tune.Squares(tune.Regressand{Weight: w, Vector: g}, d))
		naive := ReduceAllSum(Square(Sub(Mul(InsertAxes(w, -1), d), g)))
		return []*Node{Gradient(loss, d)[0], Gradient(naive, d)[0]}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	d, w, g := [][]float64{{0.5, -1}, {2, 0.3}}, []float64{0.2, 3}, [][]float64{{1, 0.4}, {-0.6, 2}}
	out := exec.MustCall(d, w, g)
	loss, naive := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
	for i := range d {
		for j := range d[i] {
			want := w[i]*d[i][j] - g[i][j] // twice the half: two elements
			if got := loss[2*i+j]; math.Abs(got-want) > 1e-12 {
				t.Errorf("row %d: gradient %g, want w D - g = %g", i, got, want)
			}
			if math.Abs(naive[2*i+j]-2*w[i]*want) > 1e-12 {
				t.Errorf("row %d: the naive gradient is %g, not 2 w (w D - g)", i, naive[2*i+j])
			}
		}
	}
}

// A reward of any size does not move the fixed point, where the offset is a state's own; with one for all states that of the tuner is raised for batches whose largest weight is e^20 times their mean.
func TestLargeRewards(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	for _, lambda := range []float64{50, 100} {
		target, logZ := tilt(t, law, r, lambda)
		for _, res := range residuals(t, m, r.Reward(), lambda, tune.MetaTuning{Draws: steer.Draws{N: 8}}, points(law, target, interpolant.Linear{}, logZ, []float64{0.3, 0.8}, 2), 1<<17) {
			if length, z := res.Bias(); math.IsNaN(length) || z > 5 {
				t.Errorf("λ = %g: bias %g, %.1f standard errors", lambda, length, z)
			}
		}
	}
}

// Paths of the exact tuned drift end at the target, with the divergence E*[λ r] - log Z from the base's.
func TestPathsOfTheOptimum(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, law, r, 1)
	best := func(at, x, _ *Node) *Node { return target.DriftGraph(interpolant.Linear{}, at, x) }
	c := tune.PathConfig{Paths: 1 << 14, Steps: 400, Start: 0.005, Seed: 1}
	if b := backendtest.New(t); !backend.Loops(b) {
		c.Paths, c.Steps = 1<<12, 60
	}
	paths, err := tune.DrawPaths(t.Context(), backendtest.New(t), model.NewStore(), m, best, r.Reward(), []int{2}, c)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	want := 0.0
	const n = 1 << 16
	for _, x := range target.Sample(rng, n) {
		want += r.At(x) / n
	}
	mean, se := paths.Reward()
	allowed := 0.01
	if c.Steps < 100 {
		allowed = 0.06
	}
	if math.Abs(mean-want) > 4*se+allowed {
		t.Errorf("mean reward %.3f ± %.3f, want %.3f", mean, se, want)
	}
	if kl := want - logZ; math.Abs(paths.KL-kl) > 4*paths.KLSE+allowed*3 {
		t.Errorf("KL %.3f ± %.3f, want %.3f", paths.KL, paths.KLSE, kl)
	}
}

// The lean adjoint along the optimum's paths has the mean ∇V: summed over the states against 1 and x the residual is nil.
func TestAdjointAtTheOptimum(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	law, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, _ := tilt(t, law, r, 1)
	ip := interpolant.Linear{}
	const steps, n = 200, 4096
	exec, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, state *Node) []*Node {
		rng := &solver.RNG{State: state}
		best := func(at, x, _ *Node) *Node { return target.DriftGraph(ip, at, x) }
		p := tune.Problem{Problem: steer.Problem{Model: m, Reward: r.Reward(), Lambda: Scalar(state.Graph(), dtypes.Float32, 1)}, Noise: tune.Noise{Start: 0.01}}
		s := tune.OnPaths(p, best, rng, []int{2}, steps*n, steps, state.Graph())
		s.Base = m.Drift(s.T, s.X, nil)
		got := tune.AdjointMatching{}.Regress(p, rng, s)
		residual := Sub(Sub(best(s.T, s.X, nil), s.Base), got.Vector)
		by := func(v *Node) *Node { return ReduceMean(Reshape(v, steps, n, 2), 1) }
		return []*Node{by(residual), by(Mul(residual, s.X)), by(Square(residual))}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	state, err := RNGStateFromSeed(5)
	if err != nil {
		t.Fatal(err)
	}
	out := exec.MustCall(state)
	square := tensors.MustCopyFlatData[float32](out[2])
	for i, name := range []string{"1", "x"} {
		for k, v := range tensors.MustCopyFlatData[float32](out[i]) {
			if k < 2*50 { // to t = 0.07 steps of some hundredths of t leave an error of that size
				continue
			}
			se := math.Sqrt(float64(square[k])/n) * []float64{1, 2}[i]
			if math.Abs(float64(v)) > 5*se+0.03 {
				t.Errorf("step %d: E[(D - g) %s] = %.3f ± %.3f, want 0", k/2, name, v, se)
			}
		}
	}
}

// Times of the states made of data are t_0 + (1 - t_0) U^p.
func TestTimesOfStates(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	const n, start = 1 << 16, 0.1
	for power, want := range map[float64]float64{0: 1. / 2, 1: 1. / 2, 2: 1. / 3, 0.5: 2. / 3} {
		exec := MustNewExec(backendtest.New(t), func(state *Node) *Node {
			rng := &solver.RNG{State: state}
			source := func(_ *model.Scope, _ *Graph, rng *solver.RNG, n int) (x, class *Node) {
				rng.State, x = law.SampleGraph(rng.State, dtypes.Float32, n)
				return x, nil
			}
			p := tune.Problem{Problem: steer.Problem{Model: m}, Noise: tune.Noise{Start: start}}
			return ReduceAllMean(tune.Law{Power: power}.Interpolants(p, source, state.Graph(), rng, n).T)
		})
		state, err := RNGStateFromSeed(1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call1(state)
		if err != nil {
			t.Fatal(err)
		}
		want = start + (1-start)*want
		if got := float64(tensors.ToScalar[float32](out)); math.Abs(got-want) > 5*0.3/math.Sqrt(n) {
			t.Errorf("power %g: the mean time is %.4f, want %.4f", power, got, want)
		}
	}
}

// What a map's draws are off in the mean is no part of the tilt: with two draws and no reward there is nothing to correct, with one there is what they are off.
func TestDrawsOffInTheMean(t *testing.T) {
	law, m := gaussian(t, interpolant.Linear{})
	exact := m.Posterior
	m = m.WithPosterior(func(rng *solver.RNG, eps, t, x *Node) *Node { return AddScalar(exact(rng, eps, t, x), 0.5) })
	nothing := func(x *Node) *Node { return MulScalar(ReduceSum(x, 1), 0) }
	ps := points(law, law, interpolant.Linear{}, 0, []float64{0.3}, 2) // the tilted law is the law
	for n, want := range map[int]float64{1: 0.5 / 0.7, 2: 0} {
		for _, r := range residuals(t, m, nothing, 1, tune.MetaTuning{Draws: steer.Draws{N: n}, GradientFree: true}, ps, 1<<14) {
			for i, v := range r.Mean {
				if math.Abs(math.Abs(v)-want) > 0.05 {
					t.Errorf("N = %d: element %d of the residual is %.3f, want %.3f", n, i, v, want)
				}
			}
		}
	}
}
