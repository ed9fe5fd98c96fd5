package mfm_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
)

// The map has F = δ for every class and F = -δ_0 without class, relative to the drift w of standard
// normal data, which is also the teacher's. Guidance of scale g = ω/(1-κ) is v_∅ + g (w - v_∅), so
// at its fixed point δ = (g-1) δ_0. Rows without a class regress on w itself and keep their error
// δ_0². On the diagonal, and off it at u = s, every loss has this fixed point.
func TestGuidanceHasItsFixedPoint(t *testing.T) {
	const rows, dropout, mix, scale, none = 4000, 0.25, 0.4, 1.5, 0.8
	fixed := (scale/(1-mix) - 1) * none
	mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0, 0}}, [][][]float64{{{1, 0}, {0, 1}}})
	b := backendtest.New(t)
	for _, c := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Eulerian, mfm.Lagrangian} {
		t.Run(string(c), func(t *testing.T) {
			skipSlowCompiles(t, b, c != mfm.Lagrangian)
			loss := mfm.DefaultLoss()
			loss.Consistency, loss.Distillation, loss.DiagonalShare = c, mfm.Teacher, 0
			loss.Times.ContextZero, loss.GapWarmup = 1, 1 // u = s at step 0
			loss.Guidance = mfm.Guidance{Classes: 3, Dropout: dropout, Scale: scale, Mix: mix}
			if c == mfm.DiagonalOnly {
				loss.DiagonalShare = 1
			}
			exec, err := NewExec(b, func(state, delta *Node) *Node {
				rng := &solver.RNG{State: state}
				backbone := func(_ *model.Scope, in nn.Inputs) *Node {
					dropped := Equal(in.Class, MulScalar(OnesLike(in.Class), 3))
					f := Where(dropped, MulScalar(OnesLike(in.S), -none), Mul(OnesLike(in.S), delta))
					return BroadcastToShape(InsertAxes(f, -1), in.Xbar.Shape())
				}
				m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone,
					Parametrization: &mfm.Gaussian{Variance: []float64{1}}}
				teacher := func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(interpolant.Linear{}, t, x) }
				var x *Node
				rng.State, x = mixture.OnGraph(rng.State.Graph(), dtypes.Float64).Sample(rng.State, rows)
				class := rng.Below(3, rows)
				scope := model.NewStore().Scope("/weights")
				batch := mfm.Batch{Data: x, Class: class, Step: ScalarZero(x.Graph(), dtypes.Float64)}
				terms := loss.Build(m, scope, scope, teacher, rng, batch)
				return Add(terms.Diagonal, terms.Consistency)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, away := range []float64{0, 0.5} {
				state, err := RNGStateFromSeed(3)
				if err != nil {
					t.Fatal(err)
				}
				out, err := exec.Call1(state, fixed+away)
				if err != nil {
					t.Fatal(err)
				}
				withClass := math.Pow(away*(1-mix), 2)
				want := dropout*none*none + (1-dropout)*withClass
				se := math.Sqrt(dropout*(1-dropout)/rows) * math.Abs(none*none-withClass)
				if got := tensors.ToScalar[float64](out); math.Abs(got-want) > 4*se {
					t.Errorf("%g from the fixed point: mean square %.4f, want %.4f ± %.4f", away, got, want, se)
				}
			}
		})
	}
}

func TestGuidanceValidate(t *testing.T) {
	for want, g := range map[string]mfm.Guidance{
		"needs classes": {Dropout: 0.1},
		"dropout above": {Classes: 3, Scale: 2},
		"mix = 1":       {Classes: 3, Dropout: 0.1, Mix: 1},
		"scale = -1":    {Classes: 3, Dropout: 0.1, Scale: -1},
		"dropout = 2":   {Classes: 3, Dropout: 2},
	} {
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", g, err, want)
		}
	}
	if err := (mfm.Guidance{Classes: 3, Dropout: 0.1, Scale: 2, Mix: 0.5}).Validate(); err != nil {
		t.Error(err)
	}
}

// With scale 2, a drift that is x with a class and -x without gives -x + 2 (x + x).
func TestClassifierFree(t *testing.T) {
	out, err := CallOnce(backendtest.New(t), func(x, class *Node) *Node {
		b := func(_, x, class *Node) *Node {
			sign := Where(Equal(class, MulScalar(OnesLike(class), 3)), MulScalar(OnesLike(x), -1), OnesLike(x))
			return Mul(x, sign)
		}
		return mfm.ClassifierFree(b, 2, 3)(nil, x, class)
	}, []float32{1, 2}, []int32{0, 2})
	if got := fmt.Sprint(tensors.MustCopyFlatData[float32](out)); err != nil || got != "[3 6]" {
		t.Errorf("%s, %v; want [3 6]", got, err)
	}
}

// For classes with equal covariances the guided velocity is that of the Gaussian with mean m_∅ +
// scale (m_c - m_∅), for every pair of times and every context. Rows without a class are not
// guided.
func TestGuidedIsExactForEqualCovariances(t *testing.T) {
	const scale, variance = 2.5, 0.6
	b := backendtest.New(t)
	for _, ip := range mfmtest.BuiltIn() {
		means := [][]float64{{-1, 0.5}, {2, 1}, {0.3, -0.2}}
		m, err := mfmtest.ClassModel(ip, means, []float64{variance, variance, variance}).Guided(scale)
		if err != nil {
			t.Fatal(err)
		}
		s, err := mfm.NewSampler(b, m, mfm.DefaultSamplerConfig())
		if err != nil {
			t.Fatal(err)
		}
		if s.NFE() != 2 {
			t.Errorf("NFE %d of a guided step, want 2", s.NFE())
		}
		x, xbar := mfm.Points([][]float64{{0.4, -1}, {1.5, 0.7}}), mfm.Points([][]float64{{-0.3, 0.8}, {0.9, 2}})
		for class, mean := range means {
			want := mfmtest.ClassModel(ip, means, []float64{variance, variance, variance})
			guided := make([]float64, len(mean))
			for k, none := range means[2] {
				guided[k] = none + scale*(mean[k]-none)
			}
			want.Map.Parametrization = &mfm.Gaussian{Mean: guided, Variance: []float64{variance}}
			exact, err := mfm.NewSampler(b, want, mfm.DefaultSamplerConfig())
			if err != nil {
				t.Fatal(err)
			}
			labels := []int32{int32(class), int32(class)}
			for _, times := range [][3]float64{{0, 1, 0}, {0, 1, 0.7}, {0.2, 0.6, 0.4}, {0.5, 0.5, 0.9}} {
				got, err := mfm.Flat(s.Velocity(t.Context(), times[0], times[1], xbar, times[2], x, labels))
				if err != nil {
					t.Fatal(err)
				}
				want, err := mfm.Flat(exact.Velocity(t.Context(), times[0], times[1], xbar, times[2], x, labels))
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					if math.Abs(float64(got[i]-want[i])) > 2e-5*(1+math.Abs(float64(want[i]))) {
						t.Errorf("%v, class %d, times %v: velocity %v, want %v", ip, class, times, got, want)
						break
					}
				}
			}
		}
	}
}

// With other covariances steps of the guided map approach the ODE of the guided diagonal, which is
// that of the guided drift: the error falls as one over the number of steps.
func TestGuidedStepsApproachTheODE(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	ip := interpolant.Linear{}
	plain := mfmtest.ClassModel(ip, [][]float64{{-1, 0.5}, {2, 1}, {0.3, -0.2}}, []float64{0.3, 0.2, 1})
	m, err := plain.Guided(2)
	if err != nil {
		t.Fatal(err)
	}
	sampled := func(m mfm.Model, method mfm.Sampling, steps int) []float32 {
		c := mfm.DefaultSamplerConfig()
		c.Method, c.Steps = method, steps
		s, err := mfm.NewSampler(b, m, c)
		if err != nil {
			t.Fatal(err)
		}
		x, err := mfm.Flat(s.Posterior(t.Context(), 1, 0.3, mfm.Points([][]float64{{0.4, -1}, {1.5, 0.7}}), 200,
			[]int32{0, 1}))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	ode := sampled(m, mfm.ODESampling, 200)
	teacher, err := mfm.NewTeacherSampler(b, plain.Store(), ip, mfm.ClassifierFree(plain.Drift(), 2, 2), plain.Shape,
		mfm.SamplerConfig{Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 200, Power: 1},
			Classes: 2})
	if err != nil {
		t.Fatal(err)
	}
	drift, err := mfm.Flat(teacher.Posterior(t.Context(), 1, 0.3, mfm.Points([][]float64{{0.4, -1}, {1.5, 0.7}}), 200,
		[]int32{0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	distance := func(x []float32) float64 {
		sum := 0.0
		for i, v := range x {
			sum += math.Pow(float64(v-ode[i]), 2) / float64(len(x))
		}
		return math.Sqrt(sum)
	}
	if d := distance(drift); d > 1e-4 {
		t.Errorf("the ODE of the guided diagonal and that of the guided drift are %.2g apart", d)
	}
	one, eight, sixteen := distance(sampled(m, mfm.MapSampling, 1)), distance(sampled(m, mfm.MapSampling, 8)),
		distance(sampled(m, mfm.MapSampling, 16))
	if one < 0.05 || eight/sixteen < 1.7 || eight/sixteen > 2.3 {
		t.Errorf("errors %.4f, %.4f, %.4f of 1, 8 and 16 steps: want the last one half of the second", one, eight,
			sixteen)
	}
}

func TestGuidedRefuses(t *testing.T) {
	m := mfmtest.ClassModel(interpolant.Linear{}, [][]float64{{-1, 0}, {2, 0}, {0, 0}}, []float64{1, 1, 1})
	if same, err := m.Guided(1); err != nil || same.Map != m.Map || m.Map.NFE() != 1 {
		t.Errorf("scale 1: another map, or error %v", err)
	}
	for _, scale := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := m.Guided(scale); err == nil || !strings.Contains(err.Error(), "scale") {
			t.Errorf("scale %g: error %v", scale, err)
		}
	}
	m.Classes = 0
	if _, err := m.Guided(2); err == nil || !strings.Contains(err.Error(), "no classes") {
		t.Errorf("a model without classes: error %v", err)
	}
}
