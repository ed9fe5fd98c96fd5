package mfm_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"gonum.org/v1/gonum/floats"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/ad"
	"github.com/gomfm/gomfm/mfm/experiment/points"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// priorAndMixture returns a prior of rank 2 in 3 dimensions, and its distribution of the data as a
// mixture in all three.
func priorAndMixture(t *testing.T, components int) (*mfm.MixturePrior, *gmm.Mixture) {
	t.Helper()
	root := math.Sqrt(0.5)
	basis := [][]float64{{root, 0}, {root, 0}, {0, 1}}
	mean := []float64{0.3, -0.2, 0.5}
	const rest = 0.2
	mixture := mfmtest.NewMixture(t, []float64{0.3, 0.7}[:components], [][]float64{{-1.5, 0.5}, {1, -1}}[:components],
		[][][]float64{{{0.4, 0.1}, {0.1, 0.3}}, {{0.5, 0}, {0, 0.9}}}[:components])
	var means [][]float64
	var covariances [][][]float64
	for k := range mixture.Len() {
		m, c := mixture.Component(k)
		full, lifted := make([][]float64, 3), make([]float64, 3)
		for i := range 3 {
			full[i] = make([]float64, 3)
			lifted[i] = mean[i] + basis[i][0]*m[0] + basis[i][1]*m[1]
			for j := range 3 {
				if i == j {
					full[i][j] = rest
				}
				for a := range 2 {
					full[i][j] -= rest * basis[i][a] * basis[j][a]
					for b := range 2 {
						full[i][j] += basis[i][a] * c[a][b] * basis[j][b]
					}
				}
			}
		}
		means, covariances = append(means, lifted), append(covariances, full)
	}
	whole := mfmtest.NewMixture(t, mixture.Weights(), means, covariances)
	return &mfm.MixturePrior{Gaussian: &mfm.Gaussian{Mean: mean, Variance: []float64{0.7}}, Basis: basis,
		Mixture: mixture, Rest: rest, Steps: 2}, whole
}

// priorMap returns a map without a network that records the inputs of the network.
func priorMap(ip interpolant.Schedule, p *mfm.MixturePrior, seen *nn.Inputs) *mfm.Map {
	return &mfm.Map{Interpolant: ip, Parametrization: p, Backbone: func(_ *model.Scope, in nn.Inputs) *Node {
		*seen = in
		return ZerosLike(in.Xbar)
	}}
}

// With F = 0 the velocity on the diagonal is the conditional drift of the mixture, and the network
// receives the mean of the data under the mixture.
func TestMixturePriorOnTheDiagonal(t *testing.T) {
	p, mixture := priorAndMixture(t, 2)
	for _, ip := range mfmtest.EverySchedule() {
		const n = 32
		c := mfmtest.NewCases(mixture, ip, n)
		c.S[0], c.T[0] = 0, 0
		c.S[1], c.T[1] = 0, 0.5
		var seen nn.Inputs
		m := priorMap(ip, p, &seen)
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			v := m.Velocity(mfmtest.Weightless(), nn.Inputs{S: in[0], U: in[0], T: in[2], Xbar: in[3], X: in[4]})
			return []*Node{v, seen.Fused}
		}, c.Inputs()...)
		drifts := mfmtest.Flatten(n, func(i int) []float64 {
			return mixture.ConditionalDrift(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
		})
		mfmtest.Near(t, fmt.Sprint(ip), got[0], drifts, 1e-5)
		means := mfmtest.Flatten(n, func(i int) []float64 {
			d := mixture.ConditionalDenoiser(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
			for j := range d {
				d[j] = (d[j] - p.Gaussian.Mean[j]) / math.Sqrt(0.7)
			}
			return d
		})
		mfmtest.Near(t, fmt.Sprintf("%v: mean", ip), got[1], means, 1e-5)
	}
}

// The diagonal loss does not integrate: the size of its graph does not depend on the steps.
func TestMixturePriorDiagonalLoss(t *testing.T) {
	p, _ := priorAndMixture(t, 2)
	loss := mfm.DefaultLoss()
	loss.Consistency = mfm.DiagonalOnly
	var sizes [2]int
	for i, steps := range []int{1, 6} {
		p.Steps = steps
		mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			var seen nn.Inputs
			m := priorMap(interpolant.Linear{}, p, &seen)
			rng := &solver.RNG{State: Const(in[0].Graph(), []uint64{1, 2, 3})}
			scope := mfmtest.Weightless()
			out := loss.Build(m, scope, scope, nil, rng, mfm.Batch{Data: in[0]}).Total
			sizes[i] = len(out.Graph().Nodes())
			return []*Node{out}
		}, mfmtest.Points([][]float64{{0.1, 0.2, 0.3}, {1, -1, 2}}))
	}
	if sizes[0] != sizes[1] {
		t.Errorf("%d nodes for one step, %d for six", sizes[0], sizes[1])
	}
}

// Off the diagonal the flow of the prior converges to the exact one of a single Gaussian as the
// square of the step, by the rule of third order as its cube, in all dimensions.
func TestMixturePriorConverges(t *testing.T) {
	p, mixture := priorAndMixture(t, 1)
	const n = 32
	c := mfmtest.NewCases(mixture, interpolant.Linear{}, n)
	want := mfmtest.Flatten(n, func(i int) []float64 {
		v, err := mixture.ConditionalAverageVelocity(interpolant.Linear{}, c.S[i], c.U[i], c.Xbar[i], c.T[i], c.X[i])
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
	for _, tc := range []struct {
		order             int
		least, most, last float64 // of the ratio of both errors, and of the last error
	}{{2, 3, 5, 2e-3}, {3, 6, 10, 2e-4}} {
		var errors [2]float64
		for i, steps := range []int{8, 16} {
			p.Steps, p.Order = steps, tc.order
			var seen nn.Inputs
			got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
				return []*Node{priorMap(interpolant.Linear{}, p, &seen).Velocity(mfmtest.Weightless(),
					nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})}
			}, c.Inputs()...)
			errors[i] = floats.Distance(got[0], want, 2) / floats.Norm(want, 2)
		}
		if ratio := errors[0] / errors[1]; ratio < tc.least || ratio > tc.most || errors[1] > tc.last {
			t.Errorf("order %d: relative errors %.2g for 8 and %.2g for 16 steps: want a ratio of 2^%[1]d, and at most %g",
				tc.order, errors[0], errors[1], tc.last)
		}
	}
}

// Shared times give the same as times per row, images the same as vectors, and forward mode the
// same as finite differences.
func TestMixturePriorOnGraphs(t *testing.T) {
	p, mixture := priorAndMixture(t, 2)
	const n = 8
	for _, ip := range mfmtest.EverySchedule() {
		mixturePriorOnGraphs(t, ip, p, mfmtest.NewCases(mixture, ip, n), n)
	}
}

func mixturePriorOnGraphs(t *testing.T, ip interpolant.Schedule, p *mfm.MixturePrior, c mfmtest.Cases, n int) {
	t.Helper()
	var seen nn.Inputs
	m := priorMap(ip, p, &seen)
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		one := func(x *Node) *Node { return Slice(x, AxisElem(0)) }
		every := func(x *Node) *Node { return BroadcastToDims(one(x), n) }
		velocity := func(s, u, t, xbar, x *Node) *Node {
			return m.Velocity(mfmtest.Weightless(), nn.Inputs{S: s, U: u, T: t, Xbar: xbar, X: x})
		}
		image := func(x *Node) *Node { return Reshape(x, n, 3, 1, 1) }
		const h = 1e-5
		v := velocity(in[0], in[1], in[2], in[3], in[4])
		ds, dx := MulScalar(OnesLike(in[0]), 0.3), Sin(in[4])
		moved := func(by float64) *Node {
			return velocity(Add(in[0], MulScalar(ds, by)), in[1], in[2], Add(in[3], MulScalar(dx, by)), in[4])
		}
		return []*Node{
			velocity(one(in[0]), one(in[1]), one(in[2]), in[3], in[4]),
			velocity(every(in[0]), every(in[1]), every(in[2]), in[3], in[4]),
			Reshape(velocity(in[0], in[1], in[2], image(in[3]), image(in[4])), n, 3), v,
			ad.JVP([]*Node{v}, []*Node{in[0], in[3]}, []*Node{ds, dx})[0],
			DivScalar(Sub(moved(h), moved(-h)), 2*h),
		}
	}, c.Inputs()...)
	mfmtest.Near(t, fmt.Sprint(ip)+": common times", got[0], got[1], 1e-12)
	mfmtest.Near(t, fmt.Sprint(ip)+": an image", got[2], got[3], 1e-12)
	mfmtest.Near(t, fmt.Sprint(ip)+": forward mode", got[4], got[5], 1e-7)
}

// From samples of a mixture in a plane plus noise, the fit finds the plane, the variance outside
// it, and the mixture.
func TestFitMixturePrior(t *testing.T) {
	p, mixture := priorAndMixture(t, 2)
	samples := mixture.Sample(mfmtest.NewRNG(3), 4000)
	fit, err := mfm.FitMixturePrior(samples, 2, 4, func(z [][]float64, floor float64) (*gmm.Mixture, error) {
		return gmm.Fit(t.Context(), z, gmm.FitConfig{Components: 2, Steps: 30, Floor: 1e-6},
			rand.New(rand.NewPCG(1, 1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(fit.Rest-p.Rest) > 0.02 {
		t.Errorf("variance of the rest is %g, want %g", fit.Rest, p.Rest)
	}
	// Drifts do not depend on the basis of the plane.
	c := mfmtest.NewCases(mixture, interpolant.Linear{}, 64)
	var seen nn.Inputs
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		return []*Node{priorMap(interpolant.Linear{}, fit, &seen).Velocity(mfmtest.Weightless(),
			nn.Inputs{S: in[0], U: in[0], T: in[2], Xbar: in[3], X: in[4]})}
	}, c.Inputs()...)
	want := mfmtest.Flatten(64, func(i int) []float64 {
		return mixture.ConditionalDrift(interpolant.Linear{}, c.S[i], c.Xbar[i], c.T[i], c.X[i])
	})
	if e := floats.Distance(got[0], want, 2) / floats.Norm(want, 2); e > 0.05 {
		t.Errorf("relative error of the fitted prior's drift is %.3f, want at most 0.05", e)
	}
	for name, rank := range map[string]int{"rank 0": 0, "full rank": 3} {
		if _, err := mfm.FitMixturePrior(samples, rank, 4, nil); err == nil || !strings.Contains(err.Error(), "rank") {
			t.Errorf("%s: error %v, want one that names the rank", name, err)
		}
	}
}

// productPrior returns a prior of two independent mixtures, of two and of one of three coordinates,
// and the same distribution as a prior of one mixture.
func productPrior(t *testing.T) (product, joint *mfm.MixturePrior) {
	t.Helper()
	first := mfmtest.NewMixture(t, []float64{0.3, 0.7}, [][]float64{{-1.5, 0.5}, {1, -1}},
		[][][]float64{{{0.4, 0.1}, {0.1, 0.3}}, {{0.5, 0}, {0, 0.9}}})
	second := mfmtest.NewMixture(t, []float64{0.6, 0.4}, [][]float64{{-1}, {2}}, [][][]float64{{{0.2}}, {{0.1}}})
	var weights []float64
	var means [][]float64
	var covariances [][][]float64
	for i, w := range first.Weights() {
		for j, v := range second.Weights() {
			m, c := first.Component(i)
			n, d := second.Component(j)
			weights, means = append(weights, w*v), append(means, append(m, n...))
			covariances = append(covariances, [][]float64{append(c[0], 0), append(c[1], 0), {0, 0, d[0][0]}})
		}
	}
	root := math.Sqrt(0.5)
	prior := mfm.MixturePrior{
		Gaussian: &mfm.Gaussian{Mean: []float64{0.3, -0.2, 0.5, 0}, Variance: []float64{1.3}},
		Basis:    [][]float64{{root, 0, 0}, {0, 0, 1}, {root, 0, 0}, {0, 1, 0}}, Rest: 0.2, Steps: 3, Power: 2,
	}
	product, joint = new(prior), new(prior)
	product.Mixture, product.Independent = first, []*gmm.Mixture{second}
	joint.Mixture = mfmtest.NewMixture(t, weights, means, covariances)
	return product, joint
}

// A prior of independent mixtures has the velocity, and the inputs of the network, of the mixture
// that is their product.
func TestMixturePriorOfIndependentMixtures(t *testing.T) {
	product, joint := productPrior(t)
	const n = 16
	rng := rand.New(rand.NewPCG(8, 1))
	states := make([][]float64, 2*n)
	times := make([][]float64, n)
	for i := range states {
		states[i] = []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64()}
	}
	for i := range times {
		s := rng.Float64()
		times[i] = []float64{s, s + (1-s)*rng.Float64(), 0.95 * rng.Float64()}
	}
	for _, ip := range mfmtest.EverySchedule() {
		for name, diagonal := range map[string]bool{"map": false, "diagonal": true} {
			var of [2][][]float64
			for k, p := range []*mfm.MixturePrior{product, joint} {
				var seen nn.Inputs
				m := priorMap(ip, p, &seen)
				of[k] = mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
					column := func(j int) *Node { return Reshape(Slice(in[2], AxisRange(), AxisElem(j)), n) }
					inputs := nn.Inputs{S: column(0), U: column(1), T: column(2), Xbar: in[0], X: in[1]}
					if diagonal {
						inputs.U = inputs.S
					}
					return []*Node{m.Velocity(mfmtest.Weightless(), inputs), seen.Fused}
				}, mfmtest.Points(states[:n]), mfmtest.Points(states[n:]), mfmtest.Points(times))
			}
			for k, got := range of[0] {
				mfmtest.Near(t, fmt.Sprintf("%v: %s, output %d", ip, name, k), got, of[1][k], 1e-9)
			}
		}
	}
	samples, weights := make([][]float64, 5000), make([]float64, 5000)
	for i := range samples {
		x := make([]float64, 4)
		z := joint.Mixture.Sample(rng, 1)[0]
		for j, row := range joint.Basis {
			x[j] = joint.Gaussian.Mean[j] + floats.Dot(row, z)
		}
		samples[i], weights[i] = x, 1
		if z[2] > 0.5 {
			weights[i] = 3 // multiplies the share of the second component of the second mixture
		}
	}
	refitted, err := product.Refit(samples, weights)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := refitted.Independent[0].Weights()[1], 1.2/1.8; math.Abs(got-want) > 0.04 {
		t.Errorf("the share of the weighted component is %.3f, want %.3f", got, want)
	}
	if got := refitted.Mixture.Weights()[1]; math.Abs(got-0.7) > 0.04 {
		t.Errorf("a share of the other mixture is %.3f, want 0.7", got)
	}
}

func TestMixturePriorErrors(t *testing.T) {
	for want, change := range map[string]func(p *mfm.MixturePrior){
		"both needed":  func(p *mfm.MixturePrior) { p.Mixture = nil },
		"as many":      func(p *mfm.MixturePrior) { p.Basis = p.Basis[:2] },
		"one variance": func(p *mfm.MixturePrior) { p.Gaussian.Variance = []float64{1, 1, 1} },
		"row 0":        func(p *mfm.MixturePrior) { p.Basis = [][]float64{{1}, {1}, {1}} },
		"rest":         func(p *mfm.MixturePrior) { p.Rest = 0 },
		"steps":        func(p *mfm.MixturePrior) { p.Steps = 0 },
		"order":        func(p *mfm.MixturePrior) { p.Order = 4 },
		"power":        func(p *mfm.MixturePrior) { p.Power = 0.5 },
		"mean[1]":      func(p *mfm.MixturePrior) { p.Gaussian.Mean = []float64{0, math.NaN(), 0} },
		"dimension 4":  func(p *mfm.MixturePrior) { p.Independent = []*gmm.Mixture{p.Mixture} },
		"no nil":       func(p *mfm.MixturePrior) { p.Independent = []*gmm.Mixture{nil} },
		"with Labels": func(p *mfm.MixturePrior) {
			p.Labels, p.Independent = []int32{0, 1}, []*gmm.Mixture{p.Mixture}
		},
	} {
		p, _ := priorAndMixture(t, 2)
		change(p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// at1 returns a time shared by all rows of x, [1].
func at1(x *Node, t float64) *Node { return Reshape(Scalar(x.Graph(), x.DType(), t), 1) }

// One step from noise to data in float32, as a sampler takes it. For one component it is the exact
// sample; for two it agrees with many steps. Errors are in units of the posterior's standard
// deviation, for any size of it.
func TestMixturePriorOnNarrowPosteriors(t *testing.T) {
	const n = 64
	for _, at := range []float64{0.5, 0.9, 0.99, 0.999} {
		for _, components := range []int{1, 2} {
			p, mixture := priorAndMixture(t, components)
			rng := mfmtest.NewRNG(5)
			var eps, x [][]float64
			for _, z := range mixture.Sample(rng, n) {
				e, c := make([]float64, 3), make([]float64, 3)
				for j := range z {
					e[j], c[j] = rng.NormFloat64(), (1-at)*rng.NormFloat64()+at*z[j]
				}
				eps, x = append(eps, e), append(x, c)
			}
			samples := func(dtype dtypes.DType, steps int) []float64 {
				p := *p
				p.Steps = steps
				var seen nn.Inputs
				return mfmtest.Evaluate(t, dtype, func(in []*Node) []*Node {
					return []*Node{priorMap(interpolant.Linear{}, &p, &seen).Posterior(mfmtest.Weightless(), in[0],
						at1(in[0], at), in[1], nil)}
				}, mfmtest.Points(eps), mfmtest.Points(x))[0]
			}
			want := samples(dtypes.Float64, 400)
			if components == 1 {
				want = mfmtest.Flatten(n, func(i int) []float64 {
					v, err := mixture.ConditionalFlowMap(interpolant.Linear{}, 0, 1, eps[i], at, x[i])
					if err != nil {
						t.Fatal(err)
					}
					return v
				})
			}
			got := samples(dtypes.Float32, 6)
			deviation := (1 - at) / math.Hypot(1-at, at) // of the posterior for unit variance
			if e := floats.Distance(got, want, 2) / math.Sqrt(3*n) / deviation; !(e < 0.05) {
				t.Errorf("t = %g, %d components: error %.3f of the posterior's standard deviation", at, components, e)
			}
		}
	}
}

// A direction that is narrow beside the others keeps its width in one step: for a Gaussian, whose
// exact sample is in closed form, to 5 % with the steps that points have, and to 12 % for a
// hundredth.
func TestMixturePriorOnNarrowModes(t *testing.T) {
	const n, at = 64, 0.05
	c := points.DefaultPrior()
	for _, width := range []float64{0.01, 0.02, 0.036, 0.05, 0.1, 0.5} {
		mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0, 0}}, [][][]float64{{{2, 0}, {0, width * width}}})
		p := &mfm.MixturePrior{
			Gaussian: &mfm.Gaussian{Mean: []float64{0, 0}, Variance: []float64{1}},
			Basis:    [][]float64{{1, 0}, {0, 1}}, Mixture: mixture, Rest: 1,
			Steps: c.Steps, Order: c.Order, Power: c.Power,
		}
		rng := mfmtest.NewRNG(5)
		var eps, x [][]float64
		for _, z := range mixture.Sample(rng, n) {
			eps = append(eps, []float64{rng.NormFloat64(), rng.NormFloat64()})
			x = append(x, []float64{(1-at)*rng.NormFloat64() + at*z[0], (1-at)*rng.NormFloat64() + at*z[1]})
		}
		var seen nn.Inputs
		got := mfmtest.Evaluate(t, dtypes.Float32, func(in []*Node) []*Node {
			return []*Node{priorMap(interpolant.Linear{}, p, &seen).Posterior(mfmtest.Weightless(), in[0], at1(in[0], at),
				in[1], nil)}
		}, mfmtest.Points(eps), mfmtest.Points(x))[0]
		square := 0.0
		for i := range n {
			want, err := mixture.ConditionalFlowMap(interpolant.Linear{}, 0, 1, eps[i], at, x[i])
			if err != nil {
				t.Fatal(err)
			}
			square += math.Pow((got[2*i+1]-want[1])/width, 2) / n
		}
		most := 0.05
		if width < 0.02 {
			most = 0.12
		}
		if e := math.Sqrt(square); !(e < most) {
			t.Errorf("standard deviation %g: error %.3f of it", width, e)
		}
	}
}

// Off the diagonal the network receives the mean of the data given the state that the prior leads
// to.
func TestMixturePriorOffTheDiagonal(t *testing.T) {
	p, mixture := priorAndMixture(t, 2)
	const n = 32
	c := mfmtest.NewCases(mixture, interpolant.Linear{}, n)
	var seen nn.Inputs
	got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		x := priorMap(interpolant.Linear{}, p, &seen).Flow(mfmtest.Weightless(),
			nn.Inputs{S: in[0], U: in[1], T: in[2], Xbar: in[3], X: in[4]})
		return []*Node{seen.Fused, x}
	}, c.Inputs()...)
	ends := mfmtest.RowsOf(got[1], 3)
	mfmtest.Near(t, "mean", got[0], mfmtest.Flatten(n, func(i int) []float64 {
		d := mixture.ConditionalDenoiser(interpolant.Linear{}, c.U[i], ends[i], c.T[i], c.X[i])
		for j := range d {
			d[j] = (d[j] - p.Gaussian.Mean[j]) / math.Sqrt(0.7)
		}
		return d
	}), 1e-5)
}

// The refitted prior has the weights and means of the distribution times the weight e^{a·x}, which
// are closed forms. Its covariances change by the floor alone.
func TestPriorRefit(t *testing.T) {
	p, mixture := priorAndMixture(t, 2)
	a := []float64{0.3, -0.2, 0.5}
	shares, means := make([]float64, 2), make([][]float64, 2)
	for k := range shares {
		m, c := mixture.Component(k)
		e := floats.Dot(a, m)
		for i := range a {
			e += a[i] * floats.Dot(c[i], a) / 2
			m[i] += floats.Dot(c[i], a)
		}
		shares[k], means[k] = mixture.Weights()[k]*math.Exp(e), m
	}
	floats.Scale(1/floats.Sum(shares), shares)
	samples := mixture.Sample(rand.New(rand.NewPCG(3, 4)), 50_000)
	weights := make([]float64, len(samples))
	for i, x := range samples {
		weights[i] = math.Exp(floats.Dot(a, x))
	}
	got, err := p.Refit(samples, weights)
	if err != nil {
		t.Fatal(err)
	}
	for k, w := range got.Mixture.Weights() {
		if math.Abs(w-shares[k]) > 0.01 {
			t.Errorf("share %d is %.4f, want %.4f, before %.4f", k, w, shares[k], mixture.Weights()[k])
		}
		before, old := p.Mixture.Component(k)
		mean, cov := got.Mixture.Component(k)
		want := make([]float64, len(mean)) // in the basis, without the data's mean
		for j := range want {
			for i, row := range p.Basis {
				want[j] += row[j] * (means[k][i] - p.Gaussian.Mean[i])
			}
			if math.Abs(mean[j]-want[j]) > 0.05 {
				t.Errorf("mean %d has %.3f as element %d, want %.3f, before %.3f", k, mean[j], j, want[j], before[j])
			}
			for i := range want {
				want := old[i][j]
				if i == j {
					want += p.Rest
				}
				if math.Abs(cov[i][j]-want) > 0.05 {
					t.Errorf("covariance %d has %.3f at (%d, %d), want %.3f", k, cov[i][j], i, j, want)
				}
			}
		}
	}
	for name, weights := range map[string][]float64{"none": nil, "zero": make([]float64, len(samples)),
		"negative": append([]float64{-1}, weights[1:]...)} {
		if _, err := p.Refit(samples, weights); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Given a class, the prior is the mixture of its components; without one, it is the whole mixture.
func TestMixturePriorOfClasses(t *testing.T) {
	p, whole := priorAndMixture(t, 2)
	p.Labels = []int32{1, 0}
	part := func(k int) *gmm.Mixture {
		mean, covariance := whole.Component(k)
		return mfmtest.NewMixture(t, []float64{1}, [][]float64{mean}, [][][]float64{covariance})
	}
	ip := interpolant.Linear{}
	const n = 12
	c := mfmtest.NewCases(whole, ip, n)
	for class, mixture := range []*gmm.Mixture{part(1), part(0), whole} {
		var seen nn.Inputs
		got := mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
			labels := MulScalar(OnesLike(ConvertDType(in[0], dtypes.Int32)), class)
			return []*Node{priorMap(ip, p, &seen).Velocity(mfmtest.Weightless(),
				nn.Inputs{S: in[0], U: in[0], T: in[2], Xbar: in[3], X: in[4], Class: labels})}
		}, c.Inputs()...)
		want := mfmtest.Flatten(n, func(i int) []float64 {
			return mixture.ConditionalDrift(ip, c.S[i], c.Xbar[i], c.T[i], c.X[i])
		})
		mfmtest.Near(t, fmt.Sprintf("class %d", class), got[0], want, 1e-5)
	}
	for labels, text := range map[*[]int32]string{
		{0}: "1 labels for 2 components", {0, 2}: "no component has the label 1", {0, -1}: "label -1",
	} {
		p.Labels = *labels
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("labels %v: error %v, want one with %q", *labels, err, text)
		}
	}
}
