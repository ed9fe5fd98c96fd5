package steer_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	. "github.com/gomlx/gomlx/support/exceptions"
	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// first is the reward x₁.
func first() reward.Reward {
	return reward.Func(func(x *Node) *Node { return Reshape(Slice(x, AxisRange(), AxisElem(0)), -1) })
}

// normal returns the exact model of N(0, variance).
func normal(t testing.TB, ip interpolant.Schedule, variance float64) steer.Model {
	t.Helper()
	m := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0}}, [][][]float64{{{variance}}})
	return steer.FromGaussian(m, ip)
}

// A linear reward moves all samples of a Gaussian alike. With the slope J_t = √(V/(α² + β² V)) of
// X_{t,1} the controls are λ and λ J_t, and each moves x₁ by J_t, so the shift is λ ∫ J_t dt or
// λ ∫ J_t² dt.
func TestFlowMapGuidance(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	const n, variance, lambda = 50, 2.5, 0.7
	for _, ip := range []interpolant.Schedule{interpolant.Linear{}, interpolant.VariancePreserving{}} {
		m := normal(t, ip, variance)
		slope := func(t float64) float64 {
			alpha, beta, _, _ := ip.At(t)
			return math.Sqrt(variance / (alpha*alpha + beta*beta*variance))
		}
		for form, power := range map[steer.GuidanceForm]float64{steer.EuclideanForm: 1, steer.JacobianForm: 2} {
			want := lambda * quad.Fixed(func(t float64) float64 { return math.Pow(slope(t), power) }, 0, 1, 200, nil, 0)
			g := steer.FlowMapGuidance{Config: config(steer.ODE, 400), Form: form}
			g.Lambda = lambda
			guided := sample(t, newSteerer(t, m, first(), g), 1, n)
			g.Lambda = 0
			plain := sample(t, newSteerer(t, m, first(), g), 1, n)
			for i, v := range guided.Samples {
				if got := float64(v - plain.Samples[i]); math.Abs(got-want) > 0.01 {
					t.Errorf("%v, %v: sample %d moves by %.4f, want %.4f", form, ip, i, got, want)
					break
				}
			}
			if last := guided.Series.Ratio[len(guided.Series.Ratio)-1]; !(last > 0) {
				t.Errorf("%v: the ratio of the last step is %g", form, last)
			}
			// Rescaled, the control is as long as the map's own motion.
			g.Lambda, g.Renormalization, g.Ratio = lambda, steer.RescaleLength, 0.5
			rescaled := sample(t, newSteerer(t, m, first(), g), 1, n)
			for k, ratio := range rescaled.Series.Ratio {
				if math.Abs(ratio-0.5) > 1e-3 {
					t.Errorf("%v: the ratio of step %d is %g, want 0.5", form, k, ratio)
					break
				}
			}
		}
	}
}

// The flow map of a teacher is that of its drift, between any times.
func TestTeacherFlowMap(t *testing.T) {
	ip := interpolant.Linear{}
	mixture, exact := gaussian(t, ip)
	drift := func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(ip, t, x) }
	teacher := steer.FromTeacher(drift, ip, []int{2}, 60)
	x := states(mixture, ip, 0.2, 3)
	exec, err := NewExec(backendtest.New(t), func(s, u, x *Node) []*Node {
		return []*Node{ReduceAllMax(Abs(Sub(teacher.FlowMap(s, u, x, nil), exact.FlowMap(s, u, x, nil))))}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call1([]float64{0, 0.2, 0.5}, []float64{1, 0.7, 1}, x)
	if err != nil {
		t.Fatal(err)
	}
	if off := out.Value().(float64); off > 0.02 {
		t.Errorf("the flow map of 60 steps is off by %g", off)
	}
}

// One step of the ODE, or none, has no posterior samples.
func TestTeacherSteps(t *testing.T) {
	for _, steps := range []int{-1, 0, 1} {
		if Try(func() { steer.FromTeacher(nil, interpolant.Linear{}, []int{2}, steps) }) == nil {
			t.Errorf("no panic for %d steps", steps)
		}
	}
	steer.FromTeacher(nil, interpolant.Linear{}, []int{2}, 2)
}

// The rewards of Best-of-N from one-step samples of a Gaussian have the mean of the largest of N
// normal numbers; λ < 0 selects the smallest.
func TestOneStepBestOf(t *testing.T) {
	const n = 4000
	for best, want := range map[int]float64{1: 0, 2: 1 / math.Sqrt(math.Pi), 4: 1.029375, 16: 1.765991} {
		for _, sign := range []float64{1, -1} {
			if sign < 0 && best != 4 {
				continue
			}
			c := config(steer.ODE, 1)
			c.Lambda = sign
			s := newSteerer(t, normal(t, interpolant.Linear{}, 4), first(), steer.OneStepBestOf{Config: c, N: best})
			got := sample(t, s, 3, n)
			mean, std := stat.MeanStdDev(got.Rewards, nil)
			if se := std / math.Sqrt(n); math.Abs(mean-2*sign*want) > 4*se {
				t.Errorf("best of %d, λ = %g: mean reward %.3f ± %.3f, want %.3f", best, sign, mean, se, 2*sign*want)
			}
			if len(got.Series.Times) != 1 || got.Counts.NFE() != int64(2*best*n) {
				t.Errorf("best of %d: %d steps, %d evaluations", best, len(got.Series.Times), got.Counts.NFE())
			}
		}
	}
	if err := (steer.OneStepBestOf{Config: config(steer.ODE, 3), N: 1}).Validate(); err == nil {
		t.Error("no error for three steps")
	}
}

// Weighted Diamond Maps steer a Gaussian to the target of a linear-Gaussian reward, up to an error
// that falls as N grows.
func TestWeightedDiamond(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	ip, r := interpolant.Linear{}, measured()
	mixture, flow := gaussian(t, ip)
	target, _ := tilt(t, mixture, r)
	const n = 1024
	var distances []float64
	for _, draws := range []int{2, 64} {
		m := steer.Guided{Config: config(steer.ODE, 60), Estimator: steer.WeightedDiamond{N: draws, SNR: 20}}
		got := sample(t, newSteerer(t, flow, r.Reward(), m), 1, n)
		d, err := metric.SlicedW2(mfm.Rows(got.Samples, 2), target.Sample(rand.New(rand.NewPCG(5, 5)), n),
			metric.Projections2D(64))
		if err != nil {
			t.Fatal(err)
		}
		distances = append(distances, d)
	}
	if !(distances[1] < 0.2 && distances[0] > 2*distances[1]) { // exact gradients give 0.08
		t.Errorf("sliced W2 to the target is %.3f with N = 2 and %.3f with 64", distances[0], distances[1])
	}
	for _, snr := range []float64{1, math.NaN(), math.Inf(1)} {
		if err := (steer.WeightedDiamond{N: 1, SNR: snr}).Validate(); err == nil {
			t.Errorf("no error for snr = %g", snr)
		}
	}
}

// With one particle the best overall is that of the particle; more particles find larger rewards.
// The grid is that of the paper's code.
func TestSearchOverall(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	m, r := steer.FromMixture(gmm.Paper(), interpolant.Linear{}), measured().Reward()
	search := steer.Search{Config: steer.SearchConfig(), N: 1, Transition: steer.Renoise}
	search.Steps = 20
	const n = 200
	mean := map[steer.Selection]map[int]float64{}
	for _, selection := range []steer.Selection{steer.Greedy, steer.MaxOverall} {
		search.Selection, mean[selection] = selection, map[int]float64{}
		for _, particles := range []int{1, 4, 16} {
			search.Particles = particles
			got := sample(t, newSteerer(t, m, r, search), 1, n)
			mean[selection][particles] = stat.Mean(got.Rewards, nil)
		}
	}
	greedy, overall := mean[steer.Greedy], mean[steer.MaxOverall]
	if greedy[1] != overall[1] {
		t.Errorf("one particle: mean reward %g by the best overall, %g by its own best", overall[1], greedy[1])
	}
	for _, particles := range []int{4, 16} {
		if !(overall[particles] > overall[particles/4]) || !(overall[particles] > greedy[particles]) {
			t.Errorf("%d particles: mean rewards %v by the best overall, %v by the particles' own bests", particles,
				overall, greedy)
		}
	}
	times := search.Times()
	for k, got := range times[1:] {
		want := math.Pow(0.01+0.99*float64(k)/19, 2.5)
		if math.Abs(got-want) > 0.02 {
			t.Errorf("time %d is %g, the paper's %g", k+1, got, want)
		}
	}
}

// A search by softmax with one particle and many posterior samples draws from the tilted
// distribution, with either transition.
func TestPosteriorResampling(t *testing.T) {
	backendtest.NeedLoops(t, backendtest.New(t))
	mixture, ip, r := gmm.Paper(), interpolant.Linear{}, measured()
	target, _ := tilt(t, mixture, r)
	const n = 2048
	projections := metric.Projections2D(64)
	rng := rand.New(rand.NewPCG(1, 1))
	distance := func(a, b [][]float64) (float64, error) { return metric.SlicedW2(a, b, projections) }
	floor, se, err := metric.Floor(distance, func(rng *rand.Rand) [][]float64 { return target.Sample(rng, n) }, rng, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, transition := range []steer.Transition{steer.Renoise, steer.DDPM} {
		m := steer.Search{
			Config: steer.SearchConfig(), Particles: 1, Selection: steer.SoftmaxSelection, Transition: transition,
		}
		m.Steps = 20
		var distances []float64
		for _, m.N = range []int{2, 64} {
			got := sample(t, newSteerer(t, steer.FromMixture(mixture, ip), r.Reward(), m), 1, n)
			d, err := distance(mfm.Rows(got.Samples, 2), target.Sample(rng, n))
			if err != nil {
				t.Fatal(err)
			}
			distances = append(distances, d)
		}
		if limit := 1.6*floor + 3*se*math.Sqrt(8); !(distances[1] < limit && distances[0] > limit) {
			t.Errorf("%v: sliced W2 %.3f with N = 2 and %.3f with 64, floor %.3f", m, distances[0], distances[1], floor)
		}
	}
}
