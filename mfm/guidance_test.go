package mfm_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
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
		"give one":      {Classes: 3, Dropout: 0.1, Scale: 2, Scales: []float64{3}},
		"not 1":         {Classes: 3, Dropout: 0.1, Scales: []float64{3, 1}},
		"distinct":      {Classes: 3, Dropout: 0.1, Scales: []float64{3, 3}},
		"negative":      {Classes: 3, Dropout: 0.1, Scales: []float64{-3}},
		"finite":        {Classes: 3, Dropout: 0.1, Scales: []float64{math.NaN()}},
		"needs a drop":  {Classes: 3, Scales: []float64{3}},
	} {
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", g, err, want)
		}
	}
	for _, g := range []mfm.Guidance{
		{Classes: 3, Dropout: 0.1, Scale: 2, Mix: 0.5}, {Classes: 3, Dropout: 0.1, Mix: 0.5, Scales: []float64{0, 3}},
	} {
		if err := g.Validate(); err != nil {
			t.Error(err)
		}
	}
	// The hashes of stored configurations are those of this text.
	raw, err := json.Marshal(mfm.Guidance{})
	if want := `{"classes":0,"dropout":0,"scale":0,"mix":0}`; err != nil || string(raw) != want {
		t.Errorf("%s, %v; want %s", raw, err, want)
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
	for _, times := range [][2]float64{{-0.1, 1}, {0, 1.1}, {0.6, 0.5}, {math.NaN(), 1}} {
		if _, err := m.GuidedWithin(2, times[0], times[1]); err == nil || !strings.Contains(err.Error(), "times") {
			t.Errorf("from %g to %g: error %v", times[0], times[1], err)
		}
	}
	m.Classes = 0
	if _, err := m.Guided(2); err == nil || !strings.Contains(err.Error(), "no classes") {
		t.Errorf("a model without classes: error %v", err)
	}
}

// A network that receives a scale W per row has F = -W δ_0 without class and F = (W-1) δ_0 + a W²
// with one. For a = 0 that is the fixed point of each scale; otherwise the error of a row with a
// class is (1-κ) a W², and that of the others, which have scale 1, is δ_0. All losses have this
// value off the diagonal, too, where u = s, but the semigroup loss, whose steps of length 0 have no
// error.
func TestGuidanceScalesHaveTheirFixedPoints(t *testing.T) {
	const rows, dropout, mix, none = 3000, 0.25, 0.4, 0.8
	scales := []float64{0, 2.5, 4}
	mixture := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0, 0}}, [][][]float64{{{1, 0}, {0, 1}}})
	b := backendtest.New(t)
	for _, c := range []mfm.Consistency{mfm.DiagonalOnly, mfm.Eulerian, mfm.Lagrangian, mfm.Semigroup} {
		t.Run(string(c), func(t *testing.T) {
			skipSlowCompiles(t, b, c == mfm.DiagonalOnly || c == mfm.Semigroup)
			loss := mfm.DefaultLoss()
			loss.Consistency, loss.Distillation, loss.DiagonalShare = c, mfm.Teacher, 0
			loss.Times.ContextZero, loss.GapWarmup = 1, 1 // u = s at step 0
			loss.Guidance = mfm.Guidance{Classes: 3, Dropout: dropout, Mix: mix, Scales: scales}
			used := rows
			switch c {
			case mfm.DiagonalOnly:
				loss.DiagonalShare = 1
			case mfm.Semigroup:
				loss.DiagonalShare, used = 0.5, rows/2
			}
			exec, err := NewExec(b, func(state, away *Node) []*Node {
				rng, store := &solver.RNG{State: state}, model.NewStore()
				var class, scale *Node // of the network that is trained
				backbone := func(scope *model.Scope, in nn.Inputs) *Node {
					w := in.Guidance
					if w == nil {
						w = OnesLike(in.S)
					}
					if scope.Scope() == "/online" {
						class, scale = in.Class, w
					}
					f := Add(MulScalar(AddScalar(w, -1), none), Mul(away, Square(w)))
					f = Where(Equal(in.Class, AddScalar(ZerosLike(in.Class), 3)), MulScalar(w, -none), f)
					return BroadcastToShape(InsertAxes(f, -1), in.Xbar.Shape())
				}
				m := &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone,
					Parametrization: &mfm.Gaussian{Variance: []float64{1}}}
				teacher := func(t, x, _ *Node) *Node { return mixture.Like(x).Drift(interpolant.Linear{}, t, x) }
				var x *Node
				rng.State, x = mixture.OnGraph(rng.State.Graph(), dtypes.Float64).Sample(rng.State, rows)
				batch := mfm.Batch{Data: x, Class: rng.Below(3, rows), Step: ScalarZero(x.Graph(), dtypes.Float64)}
				terms := loss.Build(m, store.Scope("/online"), store.Scope("/target"), teacher, rng, batch)
				return []*Node{Add(terms.Diagonal, terms.Consistency), class, scale}
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, away := range []float64{0, 0.5} {
				state, err := RNGStateFromSeed(3)
				if err != nil {
					t.Fatal(err)
				}
				out, err := exec.Call(state, away)
				if err != nil {
					t.Fatal(err)
				}
				want, count := 0.0, make(map[float64]float64)
				class, scale := tensors.MustCopyFlatData[int32](out[1]), tensors.MustCopyFlatData[float64](out[2])
				for i, w := range scale[:used] {
					if class[i] < 3 {
						count[w]++
						want += math.Pow((1-mix)*away*w*w, 2) / float64(used)
					} else if want += none * none / float64(used); w != 1 {
						t.Fatalf("row %d without a class has scale %g, want 1", i, w)
					}
				}
				if got := tensors.ToScalar[float64](out[0]); !(math.Abs(got-want) < 1e-6*want) {
					t.Errorf("%g from the fixed points: mean square %.7f, want %.7f", away, got, want)
				}
				each := (1 - dropout) / 4
				for _, w := range append(scales, 1) {
					if got := count[w] / float64(used); math.Abs(got-each) > 4*math.Sqrt(each*(1-each)/float64(used)) {
						t.Errorf("a share of %.3f of the rows has a class and scale %g, want %.3f", got, w, each)
					}
				}
			}
		})
	}
}

// byScale is the exact parametrization of classes with equal covariances whose network was trained
// with guidance: it guides by the scale that it receives. Rows without a class must have scale 1.
type byScale struct{ mfmtest.Classes }

func (c byScale) Velocity(ip interpolant.Schedule, f mfm.Network, in nn.Inputs) *Node {
	v := c.Classes.Velocity(ip, f, in)
	if in.Guidance == nil {
		return v
	}
	without := in
	without.Class = AddScalar(ZerosLike(in.Class), len(c.Classes)-1)
	none, w := c.Classes.Velocity(ip, f, without), InsertAxes(in.Guidance, -1)
	dropped := InsertAxes(Equal(in.Class, without.Class), -1)
	return Add(Add(none, Mul(w, Sub(v, none))), Mul(ConvertDType(dropped, w.DType()), AddScalar(w, -1)))
}

// For classes with equal covariances guidance within an interval moves each sample by the closed
// form of GuidedWithin, for steps of the map exactly, also if the network guides itself, and for
// the ODE up to its error. The interval has the step that starts at its beginning, not the one at
// its end.
func TestGuidedWithin(t *testing.T) {
	const scale, variance, from, to = 2.5, 0.6, 0.25, 0.75
	b := backendtest.New(t)
	means := [][]float64{{-1, 0.5}, {2, 1}, {0.3, -0.2}}
	contexts := [][]float64{{0.4, -1}, {1.5, 0.7}, {0.2, 0.1}}
	for _, ip := range mfmtest.BuiltIn() {
		plain := mfmtest.ClassModel(ip, means, []float64{variance, variance, variance})
		trained := plain
		of := *plain.Map
		of.Parametrization = byScale{plain.Map.Parametrization.(mfmtest.Classes)}
		trained.Map, trained.Scales = &of, []float64{2, scale}
		euler := configured(mfm.ODESampling, solver.Euler, 400, 1)
		for _, c := range []struct {
			name      string
			model     mfm.Model
			config    mfm.SamplerConfig
			nfe       int
			tolerance float64
		}{
			{"map", plain, configured(mfm.MapSampling, "", 4, 1), 8, 1e-4},
			{"trained map", trained, configured(mfm.MapSampling, "", 4, 1), 4, 1e-4},
			{"ODE", plain, euler, 800, 0.02},
		} {
			if c.name == "ODE" && (!backend.Loops(b) || ip != interpolant.Schedule(interpolant.Linear{})) {
				continue
			}
			guided, err := c.model.GuidedWithin(scale, from, to)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []float64{0, 0.4} {
				sample := func(m mfm.Model) ([]float32, int) {
					s, err := mfm.NewSampler(b, m, c.config)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Finalize()
					x, err := mfm.Flat(s.Posterior(t.Context(), 1, at, mfm.Points(contexts), 1, []int32{0, 1, 2}))
					if err != nil {
						t.Fatal(err)
					}
					return x, s.NFE()
				}
				want, _ := sample(c.model)
				got, nfe := sample(guided)
				if nfe != c.nfe {
					t.Errorf("%v, %s: NFE %d, want %d", ip, c.name, nfe, c.nfe)
				}
				alpha, beta, _, _ := ip.At(at)
				v := variance * alpha * alpha / (alpha*alpha + beta*beta*variance) // of the posterior
				progress := func(s float64) float64 {
					alpha, beta, _, _ := ip.At(s)
					return beta / math.Sqrt(alpha*alpha+v*beta*beta)
				}
				for i := range want {
					toClass := (scale - 1) * (means[i/2][i%2] - means[2][i%2]) * v / variance // μ_g - μ_c
					move := math.Sqrt(v) * toClass * (progress(to) - progress(from))
					if d := float64(got[i]-want[i]) - move; !(math.Abs(d) < c.tolerance) {
						t.Errorf("%v, %s, t = %g: element %d moves by %g, want %g", ip, c.name, at, i,
							got[i]-want[i], move)
					}
				}
			}
		}
	}
}

// Guidance within [0, 1] is that of all times, to the bit, and that within an empty interval none.
// Drifts within an interval are guided, those outside are not. A model that is guided by a network
// trained with the scale takes another guidance by two evaluations.
func TestGuidedWithinBounds(t *testing.T) {
	b := backendtest.New(t)
	plain := mfmtest.ClassModel(interpolant.Linear{}, [][]float64{{-1, 0.5}, {2, 1}, {0.3, -0.2}},
		[]float64{0.3, 0.2, 1})
	drift := func(d interpolant.Drift, at float64) string {
		s, err := mfm.NewTeacherSampler(b, plain.Store(), interpolant.Linear{}, d, []int{2},
			mfm.SamplerConfig{Method: mfm.ODESampling, Solver: solver.Heun, Grid: interpolant.Grid{Steps: 4, Power: 1},
				Classes: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		x, err := mfm.Flat(s.Drift(t.Context(), at, mfm.Points([][]float64{{0.4, -1}, {1.5, 0.7}}), []int32{0, 1}))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(x)
	}
	within := func(m mfm.Model, from, to float64) mfm.Model {
		guided, err := m.GuidedWithin(3, from, to)
		if err != nil {
			t.Fatal(err)
		}
		return guided
	}
	if m := within(plain, 0.5, 0.5); m.Map != plain.Map {
		t.Error("an empty interval returns another map")
	}
	whole, part := within(plain, 0, 1), within(plain, 0.25, 0.5)
	for _, at := range []float64{0, 0.2, 0.25, 0.4, 0.5, 1} {
		all, none := drift(mfm.ClassifierFree(plain.Drift(), 3, 2), at), drift(plain.Drift(), at)
		want := none
		if at >= 0.25 && at < 0.5 {
			want = all
		}
		if got := drift(whole.Drift(), at); got != all || got == none {
			t.Errorf("guidance within [0, 1] at %g: drift %s, want %s", at, got, all)
		}
		if got := drift(part.Drift(), at); got != want {
			t.Errorf("guidance within [0.25, 0.5) at %g: drift %s, want %s", at, got, want)
		}
	}
	trained := plain
	trained.Scales = []float64{3}
	once := within(trained, 0, 1)
	if one, two := once.Map.NFE(), within(once, 0, 1).Map.NFE(); one != 1 || two != 2 {
		t.Errorf("NFE %d and %d of guidance by the network, and that guided again, want 1 and 2", one, two)
	}
}

// withoutLabels counts velocities of rows without labels and guidance.
type withoutLabels struct {
	mfm.Parametrization
	count *int
}

func (p withoutLabels) Velocity(_ interpolant.Schedule, _ mfm.Network, in nn.Inputs) *Node {
	if in.Class == nil && in.Guidance == nil {
		*p.count++
	}
	return in.Xbar
}

// A model that was trained on classes with one scale alone has the velocities of that scale for
// them, in one evaluation, none for rows without a class, and takes no other guidance.
func TestGuidedOnly(t *testing.T) {
	b := backendtest.New(t)
	plain := mfmtest.ClassModel(interpolant.Linear{}, [][]float64{{-1, 0.5}, {2, 1}, {0.3, -0.2}},
		[]float64{0.5, 0.5, 0.5})
	trained, of := plain, *plain.Map
	of.Parametrization = byScale{plain.Map.Parametrization.(mfmtest.Classes)}
	trained.Map, trained.Scales = &of, []float64{2, 2.5}
	only, err := trained.GuidedOnly(2.5)
	if err != nil || only.Map.NFE() != 1 || only.ClassScale != 2.5 {
		t.Fatalf("%d evaluations, scale %g of classes (%v)", only.Map.NFE(), only.ClassScale, err)
	}
	want, err := trained.Guided(2.5)
	if err != nil {
		t.Fatal(err)
	}
	sample := func(m mfm.Model, class int32) []float32 {
		s, err := mfm.NewSampler(b, m, configured(mfm.MapSampling, "", 2, 1))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		x, err := mfm.Flat(s.Posterior(t.Context(), 1, 0.3, mfm.Points([][]float64{{0.4, -1}}), 4, []int32{class}))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if got := sample(only, 1); !slices.Equal(got, sample(want, 1)) || slices.Equal(got, sample(plain, 1)) {
		t.Error("samples of a class are not those of the scale")
	}
	if !slices.Equal(sample(only, 2), sample(plain, 2)) {
		t.Error("samples without a class are guided")
	}
	bare, unlabeled := trained, 0
	of.Parametrization = withoutLabels{of.Parametrization, &unlabeled}
	bare.Map = &of
	if bare, err = bare.GuidedOnly(2.5); err != nil {
		t.Fatal(err)
	}
	mfmtest.Evaluate(t, dtypes.Float64, func(in []*Node) []*Node {
		return []*Node{bare.Map.Drift(mfmtest.Weightless(), Slice(in[0], AxisRange(), AxisElem(0)), in[0], nil)}
	}, mfmtest.Points([][]float64{{0.4, -1}}))
	if unlabeled != 1 {
		t.Errorf("%d velocities of rows without labels, want 1 without guidance", unlabeled)
	}
	if same, err := only.Guided(2.5); err != nil || same.Map != only.Map {
		t.Errorf("guidance by the scale changes the map (%v)", err)
	}
	for _, c := range [][3]float64{{1, 0, 1}, {2, 0, 1}, {4, 0, 1}, {2.5, 0.5, 1}, {2.5, 0, 0.5}, {2.5, 0.5, 0.5}} {
		if _, err := only.GuidedWithin(c[0], c[1], c[2]); err == nil || !strings.Contains(err.Error(), "scale 2.5 alone") {
			t.Errorf("guidance by %g from %g to %g: %v", c[0], c[1], c[2], err)
		}
	}
	if _, err := trained.GuidedOnly(3); err == nil || !strings.Contains(err.Error(), "[2 2.5]") {
		t.Errorf("a scale that the network does not have: %v", err)
	}
}
