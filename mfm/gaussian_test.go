package mfm_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
)

// With F = 0 the map is exact for Gaussian data, off the diagonal and on it, for every schedule.
func TestGaussianIsExact(t *testing.T) {
	mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.7, -0.4, 0.1}},
		[][][]float64{{{1.3, 0.5, 0.2}, {0.5, 0.6, -0.1}, {0.2, -0.1, 0.9}}})
	for _, ip := range mfmtest.EverySchedule() {
		const n = 64
		c := mfmtest.NewCases(mixture, ip, n)
		for i := range n / 4 {
			c.U[i] = c.S[i]
		}
		c.S[n-1], c.U[n-1], c.T[n-1] = 0, 1, 0
		c.S[n-2], c.U[n-2], c.T[n-2] = 0, 0, 0
		m := mfmtest.ExactMap(t, mixture, ip)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			inputs := nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]}
			return []*Node{m.Velocity(mfmtest.Weightless(), inputs)}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			v, err := mixture.ConditionalAverageVelocity(ip, c.S[i], c.U[i], c.Xbar[i], c.T[i], c.X[i])
			if err != nil {
				t.Fatal(err)
			}
			return v
		})
		tolerance := 1e-6 // bound of the posterior variance
		switch name := fmt.Sprint(ip); {
		case strings.Contains(name, "vp"):
			tolerance = 5e-6 // the reference integrates a square root up to u = 1
		case strings.Contains(name, "general"):
			tolerance = 2e-6 // mean slopes by quotients
		}
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, tolerance)
	}
}

// X_{w,u}(X_{s,w}) = X_{s,u}, also for contexts at t = 1.
func TestGaussianSemigroup(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range append(mfmtest.BuiltIn(), mfmtest.Late{}) {
		const n = 64
		c := mfmtest.NewCases(mixture, ip, n)
		c.T[0], c.T[1], c.U[2], c.S[3] = 0, 1, 1, 0
		m := mfmtest.ExactMap(t, mixture, ip)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			between := Add(in[0], MulScalar(Sub(in[1], in[0]), 0.3))
			flow := func(s, u, xbar *Node) *Node {
				return m.Flow(mfmtest.Weightless(), nn.Inputs{S: s, U: u, T: in[2], Xbar: xbar, X: in[4]})
			}
			return []*Node{flow(between, in[1], flow(in[0], between, in[3])), flow(in[0], in[1], in[3])}
		}, c.Inputs()...)
		tolerance := 1e-10
		if ip == (interpolant.VariancePreserving{}) {
			tolerance = 2e-6 // the schedule is held at u = 1
		} else if ip == (mfmtest.Late{}) {
			tolerance = 1e-6 // mean slopes by quotients
		}
		mfmtest.Near(t, fmt.Sprint(ip), got[0], got[1], tolerance)
	}
}

// The three forms of moments agree: a full covariance, variances along the axes, and one variance
// for all; for states of any rank.
func TestGaussianMoments(t *testing.T) {
	mean, variance := []float64{0.3, -0.2, 0.1, 0.5}, []float64{0.2, 0.7, 1.5, 0.2}
	covariance := make([][]float64, 4)
	for i := range covariance {
		covariance[i] = make([]float64, 4)
		covariance[i][i] = variance[i]
	}
	full, err := mfm.NewGaussian(mean, covariance)
	if err != nil {
		t.Fatal(err)
	}
	velocity := func(p mfm.Parametrization, in []*Node, dims ...int) *Node {
		xbar, x := Reshape(in[3], dims...), Reshape(in[4], dims...)
		m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: mfmtest.ZeroBackbone, Parametrization: p}
		return Reshape(m.Velocity(mfmtest.Weightless(), nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: xbar, X: x}),
			dims[0], 4)
	}
	c := mfmtest.NewCases(mfmtest.NewMixture(t, []float64{1}, [][]float64{mean}, [][][]float64{covariance}),
		interpolant.Linear{}, 16)
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		return []*Node{
			velocity(full, in, 16, 4),
			velocity(&mfm.Gaussian{Mean: mean, Variance: variance}, in, 16, 4),
			velocity(&mfm.Gaussian{Mean: mean, Variance: variance}, in, 16, 2, 2, 1),
			velocity(&mfm.Gaussian{Variance: []float64{0.4}}, in, 16, 2, 2, 1),
			velocity(&mfm.Gaussian{Mean: make([]float64, 4), Variance: []float64{0.4, 0.4, 0.4, 0.4}}, in, 16, 4),
			velocity(&mfm.Gaussian{Mean: []float64{0}, Variance: []float64{0.4}}, in, 16, 4),
		}
	}, c.Inputs()...)
	mfmtest.Near(t, "axes", got[1], got[0], 1e-12)
	mfmtest.Near(t, "axes of an image", got[2], got[0], 1e-12)
	mfmtest.Near(t, "one for all", got[4], got[3], 1e-12)
	mfmtest.Near(t, "one mean for all", got[5], got[3], 1e-12)
}

// For Gaussian data the inputs of the network have unit covariance, and so has the whitened error
// of the best velocity on the diagonal: F has unit size.
func TestGaussianWhitens(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range mfmtest.BuiltIn() {
		const n = 20000
		rng := mfmtest.NewRNG(11)
		data := mixture.Sample(rng, n)
		noise, context := make([][]float64, n), make([][]float64, n)
		for i := range data {
			noise[i] = []float64{rng.NormFloat64(), rng.NormFloat64()}
			context[i] = []float64{rng.NormFloat64(), rng.NormFloat64()}
		}
		m := mfmtest.ExactMap(t, mixture, ip)
		var seen nn.Inputs
		m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node {
			seen = in
			return ZerosLike(in.Xbar)
		}
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			one := OnesLike(Squeeze(Slice(in[0], AxisRange(), AxisElem(0)), -1))
			s, at := MulScalar(one, 0.6), MulScalar(one, 0.3)
			x := interpolant.StateAt(ip, at, in[2], in[0])
			xbar := interpolant.StateAt(ip, s, in[1], in[0])
			v := m.Velocity(mfmtest.Weightless(), nn.Inputs{S: s, U: s, T: at, Xbar: xbar, X: x})
			return []*Node{seen.Xbar, seen.X,
				m.Parametrization.Whiten(ip, s, at, Sub(interpolant.VelocityAt(ip, s, in[1], in[0]), v))}
		}, mfmtest.Points(data), mfmtest.Points(noise), mfmtest.Points(context))
		for i, name := range []string{"state", "context", "error"} {
			mfmtest.HasMoments(t, fmt.Sprintf("%v: %s", ip, name), mfmtest.RowsOf(got[i], 2), []float64{0, 0},
				[][]float64{{1, 0}, {0, 1}}, 0)
		}
	}
}

// The network's output is scaled by the size that Whiten divides by.
func TestGaussianScale(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	for _, ip := range mfmtest.BuiltIn() {
		const n = 32
		c := mfmtest.NewCases(mixture, ip, n)
		m, perturbed := mfmtest.ExactMap(t, mixture, ip), mfmtest.ExactMap(t, mixture, ip)
		perturbed.Backbone = func(_ *model.Scope, in nn.Inputs) *Node { return OnesLike(in.Xbar) }
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			half := MulScalar(OnesLike(in[0]), 0.5) // where σ_s² is above its bound
			inputs := nn.Inputs{S: in[0], U: in[1], T: half, Xbar: in[3], X: in[4]}
			share := Sub(perturbed.Velocity(mfmtest.Weightless(), inputs), m.Velocity(mfmtest.Weightless(), inputs))
			return []*Node{ReduceSum(Square(m.Parametrization.Whiten(ip, in[0], half, share)), -1)}
		}, c.Inputs()...)
		want := make([]float64, n)
		for i := range want {
			want[i] = 2
		}
		mfmtest.Near(t, fmt.Sprint(ip), got[0], want, 1e-6)
	}
}

func TestFitGaussian(t *testing.T) {
	mixture := mfmtest.Gaussian(t)
	g, err := mfm.FitGaussian(mixture.Sample(mfmtest.NewRNG(1), 20000))
	if err != nil {
		t.Fatal(err)
	}
	mfmtest.Near(t, "mean", g.Mean, mixture.Mean(), 0.03)
	var covariance []float64
	for i := range 2 {
		for j := range 2 {
			sum := 0.0
			for k, v := range g.Variance {
				sum += g.Basis[i][k] * v * g.Basis[j][k]
			}
			covariance = append(covariance, sum)
		}
	}
	want := mfmtest.Flatten(2, func(i int) []float64 { return mixture.Covariance()[i] })
	mfmtest.Near(t, "covariance", covariance, want, 0.03)
}

// One number for the mean of all elements is the same as a number for each, with and without a
// basis.
func TestGaussianCommonMean(t *testing.T) {
	const n = 8
	c := mfmtest.NewCases(mfmtest.Gaussian(t), interpolant.Linear{}, n)
	for name, basis := range map[string][][]float64{"axes": nil, "basis": {{0.6, -0.8}, {0.8, 0.6}}} {
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) (out []*Node) {
			for _, mean := range [][]float64{{2}, {2, 2}} {
				g := &mfm.Gaussian{Mean: mean, Variance: []float64{1, 3}, Basis: basis}
				m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: mfmtest.ZeroBackbone, Parametrization: g}
				v := m.Velocity(mfmtest.Weightless(), nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})
				out = append(out, v, g.Whiten(m.Interpolant, in[0], in[2], in[4]))
			}
			return out
		}, c.Inputs()...)
		mfmtest.Near(t, name+": velocity", got[0], got[2], 1e-14)
		mfmtest.Near(t, name+": whitened", got[1], got[3], 1e-14)
	}
}

func TestGaussianErrors(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		g    mfm.Gaussian
		want string
	}{
		"no variance":       {mfm.Gaussian{}, "no variance"},
		"zero variance":     {mfm.Gaussian{Variance: []float64{1, 0}}, "variance[1] = 0"},
		"infinite variance": {mfm.Gaussian{Variance: []float64{math.Inf(1)}}, "variance[0]"},
		"NaN mean":          {mfm.Gaussian{Variance: []float64{1}, Mean: []float64{nan}}, "mean[0]"},
		"ragged basis":      {mfm.Gaussian{Variance: []float64{1, 1}, Basis: [][]float64{{1, 0}, {0}}}, "basis row 1"},
		"long mean":         {mfm.Gaussian{Variance: []float64{1, 1}, Mean: []float64{1, 2, 3}}, "the mean has 3"},
		"mean of a basis": {
			mfm.Gaussian{Variance: []float64{1}, Mean: []float64{1, 2}, Basis: [][]float64{{1}}}, "the mean has 2",
		},
		"long basis": {mfm.Gaussian{Variance: []float64{1, 1}, Basis: [][]float64{{1, 0}, {0, 2}}}, "columns 1 and 1"},
		"oblique basis": {
			mfm.Gaussian{Variance: []float64{1, 1}, Basis: [][]float64{{1, 0.6}, {0, 0.8}}}, "columns 0 and 1",
		},
		"NaN basis": {mfm.Gaussian{Variance: []float64{1}, Basis: [][]float64{{nan}}}, "columns 0 and 0"},
	} {
		if err := c.g.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	rotation := [][]float64{{0.6, -0.8}, {0.8, 0.6}}
	for _, g := range []mfm.Gaussian{
		{Variance: []float64{1}}, {Variance: []float64{1}, Mean: []float64{1, 2}},
		{Variance: []float64{1, 2}, Mean: []float64{1}},
		{Variance: []float64{1, 2}, Mean: []float64{1, 2}, Basis: rotation}, {Variance: []float64{1, 2}, Basis: rotation},
	} {
		if err := g.Validate(); err != nil {
			t.Errorf("error for a valid parametrization: %v", err)
		}
	}
	for name, covariance := range map[string][][]float64{"rows": {{1, 0}}, "columns": {{1}, {0, 1}},
		"NaN": {{nan, 0}, {0, 1}}} {
		if _, err := mfm.NewGaussian([]float64{0, 0}, covariance); err == nil {
			t.Errorf("%s: no error for the covariance %v", name, covariance)
		}
	}
	for name, samples := range map[string][][]float64{"none": nil, "too few": {{1, 2}, {3, 4}},
		"ragged": {{1, 2}, {3}, {4, 5}, {6, 7}}} {
		if _, err := mfm.FitGaussian(samples); err == nil {
			t.Errorf("%s: no error for the samples %v", name, samples)
		}
	}
}

// The anchored parametrization is exact at t = 1 and plain at t = 0.
func TestAnchored(t *testing.T) {
	c := mfmtest.NewCases(mfmtest.Gaussian(t), interpolant.Linear{}, 8)
	backbone := func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(in.Xbar, 0.7) }
	m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone, Parametrization: mfm.Anchored{}}
	plain := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone, Parametrization: mfm.Plain{}}
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		zero, one := ZerosLike(in[0]), OnesLike(in[0])
		start := nn.Inputs{S: in[0], U: in[1], T: zero, Xbar: in[3], X: in[4]}
		return []*Node{
			m.Flow(mfmtest.Weightless(), nn.Inputs{S: in[0], U: one, T: one, Xbar: in[3], X: in[4]}),
			Sub(m.Velocity(mfmtest.Weightless(), start), plain.Velocity(mfmtest.Weightless(), start)),
		}
	}, c.Inputs()...)
	mfmtest.Near(t, "at t = 1", got[0], mfmtest.Flatten(8, func(i int) []float64 { return c.X[i] }), 1e-12)
	mfmtest.Near(t, "at t = 0", got[1], make([]float64, 16), 1e-12)
}

// The combined observation is the posterior mean of Gaussian data given both observations, and its
// time increases from 0 without information to 1.
func TestGaussianCombinesObservations(t *testing.T) {
	mean, variance := []float64{0.7, -0.4}, []float64{1.3, 1.3}
	mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{mean}, [][][]float64{{{1.3, 0}, {0, 1.3}}})
	for _, ip := range mfmtest.BuiltIn() {
		const n = 64
		c := mfmtest.NewCases(mixture, ip, n)
		c.S[0], c.T[0] = 0, 0
		c.S[1], c.T[1] = 1, 0.5
		c.S[2], c.T[2] = 0.5, 1
		var seen nn.Inputs
		m := &mfm.Map{Interpolant: ip, Parametrization: &mfm.Gaussian{Mean: mean, Variance: variance}}
		m.Backbone = func(_ *model.Scope, in nn.Inputs) *Node {
			seen = in
			return ZerosLike(in.Xbar)
		}
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			m.Velocity(mfmtest.Weightless(), nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})
			return []*Node{seen.Fused, seen.FusedT}
		}, c.Inputs()...)
		states := mfmtest.Flatten(n, func(i int) []float64 {
			d := mixture.ConditionalDenoiser(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
			return []float64{(d[0] - mean[0]) / math.Sqrt(1.3), (d[1] - mean[1]) / math.Sqrt(1.3)}
		})
		mfmtest.Near(t, fmt.Sprintf("%v: state", ip), got[0], states, 1e-6) // bound of the variance
		times := mfmtest.Flatten(n, func(i int) []float64 {
			_, left := mixture.Posterior(ip, c.T[i], c.X[i]).Posterior(ip, c.S[i], c.Xbar[i]).Component(0)
			return []float64{1 - math.Sqrt(left[0][0]/1.3)}
		})
		mfmtest.Near(t, fmt.Sprintf("%v: time", ip), got[1], times, 2e-4) // root of the bound
		mfmtest.Near(t, "ends of the time", got[1][:3], []float64{0, 1, 1}, 1e-3)
	}
}
