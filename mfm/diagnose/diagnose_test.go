package diagnose_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// subject returns a map of a Gaussian, which is exact if the backbone returns zero.
func subject(t testing.TB, backbone nn.Backbone) diagnose.Subject {
	t.Helper()
	gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	g, err := mfm.NewGaussian(gaussian.Mean(), gaussian.Covariance())
	if err != nil {
		t.Fatal(err)
	}
	s := diagnose.Subject{
		Model: mfm.Model{
			Map:     &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone, Parametrization: g},
			Weights: model.NewStore().Scope(train.WeightsScope), Shape: []int{2},
		},
		Drift: func(at, x, _ *Node) *Node { return gaussian.Like(x).Drift(interpolant.Linear{}, at, x) },
	}
	for _, x := range gaussian.Sample(rand.New(rand.NewPCG(1, 2)), 256) {
		s.Data = append(s.Data, float32(x[0]), float32(x[1]))
	}
	return s
}

func report(t testing.TB, s diagnose.Subject) *diagnose.Report {
	t.Helper()
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := diagnose.DefaultConfig()
	c.Times, c.Contexts, c.Samples, c.Grid = []float64{0.2, 0.6, 0.9}, 64, 256, 4
	r, err := diagnose.Map(t.Context(), b, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The exact map has no findings, and each defect is found under its name.
func TestFindings(t *testing.T) {
	zero := func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) }
	// length is u - s, which is 0 on the diagonal.
	length := func(in nn.Inputs) *Node { return batch.Like(Sub(in.U, in.S), in.Xbar) }
	scaled := func(by float64) nn.Backbone {
		return func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(Mul(length(in), in.Xbar), by) }
	}
	shifted := func(_ *model.Scope, in nn.Inputs) *Node { return Mul(length(in), OnesLike(in.Xbar)) }
	broken := func(_ *model.Scope, in nn.Inputs) *Node { return Log(MulScalar(OnesLike(in.Xbar), -1)) }
	ignorant := func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(Mul(length(in), in.X), -0.6) }
	constant := func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(OnesLike(in.Xbar), 0.8) }
	for _, c := range []struct {
		name     string
		backbone nn.Backbone
		found    []string
		not      []string
	}{
		{"exact", zero, nil, []string{"collapse", "overspread", "mean", "drift", "coverage", "consistency", "sensitivity"}},
		{"collapsed", scaled(-1), []string{"collapse", "coverage", "consistency"}, []string{"overspread", "drift"}},
		{"spread", scaled(1), []string{"overspread", "coverage", "consistency"}, []string{"collapse", "drift"}},
		{"shifted", shifted, []string{"mean"}, []string{"collapse", "overspread", "drift"}},
		{"ignorant of x_t", ignorant, []string{"sensitivity"}, []string{"collapse", "overspread", "drift"}},
		{"broken", broken, []string{"not finite"}, nil},
		{"another distribution", constant, []string{"drift"}, []string{"collapse", "overspread"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report(t, subject(t, c.backbone))
			for _, name := range c.found {
				if !r.Has(name) {
					t.Errorf("%s is not found:\n%s", name, r.Text())
				}
			}
			for _, name := range c.not {
				if r.Has(name) {
					t.Errorf("%s is found:\n%s", name, r.Text())
				}
			}
			if len(c.found) > 0 && !strings.Contains(r.Text(), "Try this: ") {
				t.Errorf("the report does not say what to try:\n%s", r.Text())
			}
			for name, fig := range r.Figures(figure.Notebook()) {
				if _, err := fig.PNG(); err != nil {
					t.Errorf("figure %s: %v", name, err)
				}
			}
		})
	}
}

// A network that returns c times its context adds A (x_t - t m) to exact samples X of a Gaussian.
// Along an eigenvector of variance λ, with d = t² λ + (1-t)², A is c (1-t) √λ/d and the matrix K of
// the denoiser t λ/d: the sensitivity is 1 + tr(A K)/tr K², that of the ODE's samples 1.
func TestSensitivity(t *testing.T) {
	const c = -0.3
	r := report(t, subject(t, func(_ *model.Scope, in nn.Inputs) *Node {
		return MulScalar(Mul(batch.Like(Sub(in.U, in.S), in.Xbar), in.X), c)
	}))
	for _, r := range r.Results {
		var product, square float64
		for _, λ := range []float64{1.15 + math.Sqrt(0.35*0.35+0.36), 1.15 - math.Sqrt(0.35*0.35+0.36)} {
			d := r.T*r.T*λ + (1-r.T)*(1-r.T)
			k := r.T * λ / d
			product, square = product+c*(1-r.T)*math.Sqrt(λ)/d*k, square+k*k
		}
		want, s := 1+product/square, r.Sensitivity
		t.Logf("t = %g: %.4f ± %.4f, want %.4f; ODE %.4f", r.T, s.Slope, s.Error, want, s.ODE)
		if !(math.Abs(s.Slope-want) < 4*s.Error+1e-3) || !(s.Error < 0.1) || !(math.Abs(s.ODE-1) < 0.01) {
			t.Errorf("t = %g: sensitivity %+v, want %.4f and 1", r.T, s, want)
		}
	}
}

// A network that returns (c-1) times the state scales the deviation of exact samples of a Gaussian
// from their mean by c. Then the central interval of a share p contains the data with the
// probability 2 Φ(c z) - 1, where 2 Φ(z) - 1 = p.
func TestCoverage(t *testing.T) {
	b := backendtest.New(t)
	for _, scale := range []float64{0.5, 1, 1.5} {
		config := diagnose.DefaultConfig().Brief(256)
		config.Contexts, config.Samples = 256, 256
		r, err := diagnose.Map(t.Context(), b, subject(t, func(_ *model.Scope, in nn.Inputs) *Node {
			return MulScalar(Mul(batch.Like(Sub(in.U, in.S), in.Xbar), in.Xbar), scale-1)
		}), config)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range r.Results {
			c := at.Coverage
			for _, v := range []struct{ share, got, err float64 }{{0.5, c.Half, c.HalfError}, {0.9, c.Most, c.MostError}} {
				want := math.Erf(scale * math.Erfinv(v.share))
				t.Logf("scale %g, t = %g: %.3f ± %.3f within the central %g, want %.3f", scale, at.T, v.got, v.err, v.share, want)
				if !(math.Abs(v.got-want) < 3.5*v.err+0.005) || !(v.err < 0.03) {
					t.Errorf("scale %g, t = %g: %.3f ± %.3f within the central %g, want %.3f", scale, at.T, v.got, v.err, v.share,
						want)
				}
			}
		}
	}
}

// If map and drift have collapsed together, only the exact posteriors show it.
func TestExact(t *testing.T) {
	shrink := func(by float64) func(_ *model.Scope, in nn.Inputs) *Node {
		return func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(in.Xbar, -by) }
	}
	for name, c := range map[string]struct {
		by       float64
		collapse bool
	}{"exact": {0, false}, "shrunk": {0.7, true}} {
		s := subject(t, shrink(c.by))
		s.Drift = nil
		gaussian := mfmtest.NewMixture(t, []float64{1}, [][]float64{{0.4, -0.7}},
			[][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
		s.Exact = func(at float64, x []float64) float64 {
			return gaussian.Posterior(interpolant.Linear{}, at, x).Std()
		}
		r := report(t, s)
		if r.Has("collapse") != c.collapse {
			t.Errorf("%s: a collapse is found: %t\n%s", name, !c.collapse, r.Text())
		}
		s.Exact = nil
		if r := report(t, s); r.Has("collapse") {
			t.Errorf("%s: a collapse is found by comparison with the map's own ODE:\n%s", name, r.Text())
		}
	}
}

// Samples that vary by less than float32 resolves of the data are a finding, not huge ratios.
func TestPoints(t *testing.T) {
	s := subject(t, func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) })
	for i := range s.Data {
		s.Data[i] *= 1e8
	}
	if r := report(t, s); !r.Has("not finite") || len(r.Results) > 0 {
		t.Errorf("samples of standard deviation 1 for data of 1e8:\n%s", r.Text())
	}
}

// Findings about steered runs and tuned drifts are in the report, with what to try.
func TestAdded(t *testing.T) {
	r := &diagnose.Report{}
	steering := func(ratio float64) steer.Series {
		return steer.Series{Times: []float64{0, 0.5}, Ratio: []float64{1, ratio}, Effective: []float64{4, 4}}
	}
	target := tune.Target{Std: 1, KL: 2}
	r.AddSteering(steering(2), steer.DefaultThresholds(), 8)
	r.AddTuning([]tune.Evaluation{{Std: 1}, {Std: 1, KL: 2}, {Std: 0.9, KL: 2}}, target)
	if len(r.Findings) > 0 {
		t.Errorf("healthy runs have findings:\n%s", r.Text())
	}
	r.AddSteering(steering(200), steer.DefaultThresholds(), 8)
	r.AddTuning([]tune.Evaluation{{Std: 1}, {Std: 0.5, KL: 9}, {Std: 0.1, KL: 9}}, target)
	slow := &diagnose.Report{}
	slow.AddTuning([]tune.Evaluation{{Std: 1}, {Std: 1, KL: 0.3}, {Std: 1, KL: 0.4}}, target)
	if !slow.Has("behind") || len(slow.Findings) != 1 {
		t.Errorf("the findings of a training that has hardly begun:\n%s", slow.Text())
	}
	few := &diagnose.Report{}
	few.AddTuning([]tune.Evaluation{{Std: 0.1, KL: 9}}, target)
	if !few.Has("unseen tuning") || len(few.Findings) != 1 {
		t.Errorf("the findings of a training with one evaluation:\n%s", few.Text())
	}
	if !r.Has("steering") || !r.Has("tuning") || !r.Has("overshoot") || strings.Count(r.Text(), "Try this: ") != 3 {
		t.Errorf("the findings of an explosion and a collapse:\n%s", r.Text())
	}
}

// A store without the map's weights is an error, not a report on a random network.
func TestMissingWeights(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	s := subject(t, nn.MLP(nn.DefaultMLP()))
	_, err := diagnose.Map(t.Context(), b, s, diagnose.DefaultConfig())
	if err == nil || !strings.Contains(err.Error(), "the first is "+train.WeightsScope) {
		t.Errorf("error %v, want one that names a missing weight", err)
	}
	if n := s.Model.Store().NumVariables(); n > 0 {
		t.Errorf("the store has %d variables", n)
	}
}

// Invalid configurations and too little data are errors that say so.
func TestInvalid(t *testing.T) {
	s := subject(t, func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) })
	for name, change := range map[string]func(c *diagnose.Config, s *diagnose.Subject){
		"times":    func(c *diagnose.Config, _ *diagnose.Subject) { c.Times = nil },
		"time 1":   func(c *diagnose.Config, _ *diagnose.Subject) { c.Times = []float64{1} },
		"samples":  func(c *diagnose.Config, _ *diagnose.Subject) { c.Samples = 1 },
		"fewer":    func(_ *diagnose.Config, s *diagnose.Subject) { s.Data = s.Data[:10] },
		"positive": func(c *diagnose.Config, _ *diagnose.Subject) { c.Thresholds.Mean = 0 },
	} {
		c, s := diagnose.DefaultConfig(), s
		change(&c, &s)
		_, err := diagnose.Map(t.Context(), backendtest.New(t), s, c)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
