package tune_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// At b* the condition of MFM-FT holds in the mean for any N, one included, at λ = 1 and 5, as does
// that of reward-weighted regression. Conditions with a ratio do not hold.
func TestConditionsAtTheOptimum(t *testing.T) {
	r := measured(0.8)
	samples := 1 << 17
	if testing.Short() {
		samples = 1 << 14
	}
	type condition struct {
		objective tune.Objective
		unbiased  bool
	}
	check := func(ip interpolant.Schedule, lambda float64, conditions func(exact steer.Exact) []condition) {
		gaussian, m := gaussian(t, ip)
		target, logZ := tilt(t, gaussian, r, lambda)
		ps := points(gaussian, target, ip, logZ, []float64{0.05, 0.4, 0.9}, 3)
		for _, c := range conditions(steer.FromTilt(gaussian, target, logZ, ip)) {
			largest := 0.0
			task := tune.ResidualTask{
				Model: m, Reward: r.Reward(), Lambda: lambda, Objective: c.objective, Points: ps, Samples: samples,
			}
			for i, res := range residuals(t, task) {
				length, z := res.Bias()
				if exact := res.Variance < 1e-12; exact && c.unbiased {
					if length > 1e-4 {
						t.Errorf("%v, %v, λ = %g, t = %g: the residual with the exact value is %v",
							c.objective, ip, lambda, ps[i].T, res.Mean)
					}
					continue
				}
				largest = max(largest, z)
			}
			// One of two elements is above 5 once in 870,000 at most.
			if c.unbiased && largest > 5 {
				t.Errorf("%+v, %v, λ = %g: a residual is %.1f standard errors from zero",
					c.objective, ip, lambda, largest)
			}
			if !c.unbiased && largest < 8 {
				t.Errorf("%v, %v, λ = %g: the residuals are within %.1f standard errors of zero, want a bias",
					c.objective, ip, lambda, largest)
			}
		}
	}
	check(interpolant.Linear{}, 1, func(exact steer.Exact) []condition {
		return []condition{
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 4}}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2, Antithetic: true}}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}, Reference: 8, Floor: 0.05}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}, GradientFree: true}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true}, true},
			{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 5}, GradientFree: true, Reference: 8,
				Floor: 0.05}, true},
			{tune.RewardWeighted{}, true},
			{tune.PlugIn{Estimator: exact}, true},
			{tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: 2}}}, false},
			{tune.PlugIn{Estimator: steer.MFMGF{PosteriorSamples: steer.PosteriorSamples{N: 2},
				Baseline: steer.MeanBaseline}}, false},
		}
	})
	for _, c := range []struct {
		ip     interpolant.Schedule
		lambda float64
	}{{interpolant.Linear{}, 5}, {interpolant.Trigonometric{}, 1}, {interpolant.VariancePreserving{}, 1}} {
		check(c.ip, c.lambda, func(exact steer.Exact) []condition {
			return []condition{
				{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 1}}, true},
				{tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true}, true},
				{tune.RewardWeighted{}, true},
				{tune.PlugIn{Estimator: exact}, true},
			}
		})
	}
}

// The fixed point does not depend on the offset, which scales both sides of the condition.
func TestOffsetMovesNothing(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	for _, shift := range []float64{-3, 2} {
		ps := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.05, 0.4, 0.9}, 2)
		for i := range ps {
			ps[i].Value += shift
		}
		for _, objective := range []tune.Objective{
			once(), tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true},
		} {
			task := tune.ResidualTask{
				Model: m, Reward: r.Reward(), Lambda: 1, Objective: objective, Points: ps, Samples: 1 << 16,
			}
			for i, res := range residuals(t, task) {
				if _, z := res.Bias(); z > 5 {
					t.Errorf("%+v, offset %g from the value, t = %g: the residual is %.1f standard errors from zero",
						objective, shift, ps[i].T, z)
				}
			}
		}
	}
}

// With a constant σ²/2 the fixed point is b + (σ²/2) ∇V instead of b*.
func TestConstantNoise(t *testing.T) {
	ip := interpolant.Linear{}
	gaussian, m := gaussian(t, ip)
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	const half = 1.7
	doob := points(gaussian, target, ip, logZ, []float64{0.1, 0.4, 0.8}, 2)
	constant := make([]tune.Point, len(doob))
	for i, p := range doob {
		constant[i] = p
		constant[i].Correction = nil
		for _, d := range p.Correction {
			constant[i].Correction = append(constant[i].Correction, d*half/interpolant.HalfSquaredNoise(ip, p.T))
		}
	}
	exact := steer.FromTilt(gaussian, target, logZ, ip)
	gradientFree := tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 2}, GradientFree: true}
	for _, objective := range []tune.Objective{once(), gradientFree, tune.PlugIn{Estimator: exact}} {
		largest := func(ps []tune.Point) (length, z float64) {
			task := tune.ResidualTask{
				Model: m, Reward: r.Reward(), Lambda: 1, Noise: tune.Noise{Constant: half, Start: 0.01},
				Objective: objective, Points: ps, Samples: 1 << 16,
			}
			for _, res := range residuals(t, task) {
				l, s := res.Bias()
				length = max(length, l)
				if res.Variance > 1e-12 {
					z = max(z, s)
				}
			}
			return length, z
		}
		if length, z := largest(constant); z > 5 || z == 0 && length > 1e-4 {
			t.Errorf("%+v at b + σ²/2 ∇V: the residual is %g, %.1f standard errors", objective, length, z)
		}
		if length, z := largest(doob); length < 0.1 || z > 0 && z < 8 {
			t.Errorf("%+v at b*: the residual is %g, %.1f standard errors, want another fixed point",
				objective, length, z)
		}
	}
}

// The bias of the plug-in falls as 1/N.
func TestPlugInBias(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	ps := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.3}, 1)
	var bias [2]float64
	for i, n := range []int{16, 64} {
		objective := tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: steer.PosteriorSamples{N: n}}}
		task := tune.ResidualTask{
			Model: m, Reward: r.Reward(), Lambda: 1, Objective: objective, Points: ps, Samples: 1 << 17,
		}
		bias[i], _ = residuals(t, task)[0].Bias()
	}
	if slope := math.Log(bias[1]/bias[0]) / math.Log(4); slope < -1.3 || slope > -0.7 {
		t.Errorf("the bias is %g with 16 samples and %g with 64: slope %.2f, want -1", bias[0], bias[1], slope)
	}
}

// Large rewards do not move the fixed point if each state has its own offset. The tuner's single
// offset is raised for batches whose largest weight is e^20 times the mean.
func TestLargeRewards(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	for _, lambda := range []float64{50, 100} {
		target, logZ := tilt(t, gaussian, r, lambda)
		task := tune.ResidualTask{
			Model: m, Reward: r.Reward(), Lambda: lambda,
			Objective: tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: 8}},
			Points:    points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.3, 0.8}, 2),
			Samples:   1 << 17,
		}
		for _, res := range residuals(t, task) {
			if length, z := res.Bias(); math.IsNaN(length) || z > 5 {
				t.Errorf("λ = %g: the bias is %g, %.1f standard errors", lambda, length, z)
			}
		}
	}
}

// With two samples a mean error of the posterior samples cancels: without a reward the correction
// is zero. With one sample the error remains.
func TestMeanErrorOfPosteriorSamples(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	exact := m.Posterior
	m = m.WithPosterior(func(rng *solver.RNG, eps, t, x, class *Node) *Node {
		return AddScalar(exact(rng, eps, t, x, class), 0.5)
	})
	zero := reward.Func(func(x *Node) *Node { return MulScalar(ReduceSum(x, 1), 0) })
	ps := points(gaussian, gaussian, interpolant.Linear{}, 0, []float64{0.3}, 2)
	for n, want := range map[int]float64{1: 0.5 / 0.7, 2: 0} {
		objective := tune.MetaTuning{PosteriorSamples: steer.PosteriorSamples{N: n}, GradientFree: true}
		task := tune.ResidualTask{Model: m, Reward: zero, Lambda: 1, Objective: objective, Points: ps, Samples: 1 << 14}
		for _, r := range residuals(t, task) {
			for i, v := range r.Mean {
				if math.Abs(math.Abs(v)-want) > 0.05 {
					t.Errorf("N = %d: element %d of the residual is %.3f, want %.3f", n, i, v, want)
				}
			}
		}
	}
}

// The minimum of the loss is E[g]/E[w], the correction; that of E|w D - g|² is E[w g]/E[w²],
// another one.
func TestMinimumOfTheNaiveSquare(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	p := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.4}, 1)[0]
	const rows, batches = 1 << 13, 32
	exec, err := NewExec(backendtest.New(t), func(state *Node) []*Node {
		g := state.Graph()
		s := tune.States{
			T: MulScalar(Ones(g, shapes.Make(dtypes.Float32, rows)), p.T),
			X: BroadcastToDims(ConstAsDType(g, dtypes.Float32, [][]float64{p.X}), rows, 2),
		}
		s.Base = m.Drift(s.T, s.X, nil)
		problem := tune.Problem{
			Problem: steer.Problem{Model: m, Reward: r.Reward(), Lambda: Scalar(g, dtypes.Float32, 1)},
			Noise:   tune.Noise{Start: 0.01}, Offset: MulScalar(OnesLike(s.T), p.Value),
		}
		rng := &solver.RNG{State: state}
		got := once().Regress(problem, rng, s)
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
	var minima [2][2][]float64 // of the loss and of the naive square, by axis and batch
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
				t.Errorf("axis %d: the minimum of the loss is %.4f, %.1f standard errors from the correction %.4f",
					j, mean, z, want)
			}
		}
	}
	if naive < 20 {
		t.Errorf("the minimum of the naive square is within %.1f standard errors of the correction, want another one",
			naive)
	}
}

// The gradient of the loss is w D - g. That of |w D - g|² has another factor w, and so another zero
// in the mean.
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
			want := w[i]*d[i][j] - g[i][j] // the factor 2 cancels with the mean over two elements
			if got := loss[2*i+j]; math.Abs(got-want) > 1e-12 {
				t.Errorf("row %d: gradient %g, want w D - g = %g", i, got, want)
			}
			if math.Abs(naive[2*i+j]-2*w[i]*want) > 1e-12 {
				t.Errorf("row %d: the naive gradient is %g, not 2 w (w D - g)", i, naive[2*i+j])
			}
		}
	}
}

// Residuals of samples that share their noise have no standard error, and are refused.
func TestResidualsOfSharedNoise(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	shared := steer.PosteriorSamples{N: 2, Shared: true}
	for _, objective := range []tune.Objective{
		tune.MetaTuning{PosteriorSamples: shared}, tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: shared}},
	} {
		_, err := tune.Residuals(t.Context(), backendtest.New(t), model.NewStore(), tune.ResidualTask{
			Model: m, Reward: r.Reward(), Lambda: 1, Objective: objective, Samples: 2, Noise: tune.Noise{Start: 0.01},
			Points: points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.5}, 1),
		})
		if err == nil || !strings.Contains(err.Error(), "shared noise") {
			t.Errorf("%v: error %v, want one that names the shared noise", objective, err)
		}
	}
}

// z is that of one element, whether the others vary with it, against it, or not at all.
func TestResidualBias(t *testing.T) {
	for _, c := range []struct {
		r         tune.Residual
		length, z float64
	}{
		{tune.Residual{Mean: []float64{3, 4}, SE: []float64{1, 2}}, 5, 3},
		{tune.Residual{Mean: []float64{-6, 8}, SE: []float64{1, 2}}, 10, 6},
		{tune.Residual{Mean: []float64{0.5, 0}, SE: []float64{0.25, 0}}, 0.5, 2},
	} {
		if length, z := c.r.Bias(); math.Abs(length-c.length) > 1e-12 || math.Abs(z-c.z) > 1e-12 {
			t.Errorf("%+v: bias %g, z %g, want %g, %g", c.r, length, z, c.length, c.z)
		}
	}
}
