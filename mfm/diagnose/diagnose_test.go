package diagnose_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/gmm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/batch"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/train"
	"github.com/gomfm/gomfm/mfm/tune"
)

// subject is the exact map of a Gaussian, with something done to its network's output.
func subject(t testing.TB, backbone nn.Backbone) diagnose.Subject {
	t.Helper()
	law, err := gmm.New([]float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := mfm.NewGaussian(law.Mean(), law.Covariance())
	if err != nil {
		t.Fatal(err)
	}
	s := diagnose.Subject{
		Map:   &mfm.Map{Interpolant: interpolant.Linear{}, Backbone: backbone, Parametrization: g},
		Store: model.NewStore(), Scope: train.WeightsScope, Shape: []int{2},
		Drift: func(at, x, _ *Node) *Node { return law.DriftGraph(interpolant.Linear{}, at, x) },
	}
	for _, x := range law.Sample(rand.New(rand.NewPCG(1, 2)), 256) {
		s.Data = append(s.Data, float32(x[0]), float32(x[1]))
	}
	return s
}

func report(t testing.TB, s diagnose.Subject) *diagnose.Report {
	t.Helper()
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	c := diagnose.DefaultConfig()
	c.Times, c.Contexts, c.Draws, c.Grid = []float64{0.2, 0.6, 0.9}, 64, 256, 4
	r, err := diagnose.Map(t.Context(), b, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The exact map has nothing wrong; each of its diseases is found, and named.
func TestFindings(t *testing.T) {
	zero := func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) }
	whole := func(in nn.Inputs) *Node { return batch.Like(Sub(in.U, in.S), in.Xbar) } // u - s: nothing on the diagonal
	for _, c := range []struct {
		name     string
		backbone nn.Backbone
		found    []string
		not      []string
	}{
		{"exact", zero, nil, []string{"collapse", "overspread", "mean", "drift", "consistency"}},
		{"collapsed", func(_ *model.Scope, in nn.Inputs) *Node { return Neg(Mul(whole(in), in.Xbar)) }, []string{"collapse", "consistency"}, []string{"overspread", "drift"}},
		{"spread", func(_ *model.Scope, in nn.Inputs) *Node { return Mul(whole(in), in.Xbar) }, []string{"overspread", "consistency"}, []string{"collapse", "drift"}},
		{"shifted", func(_ *model.Scope, in nn.Inputs) *Node { return Mul(whole(in), OnesLike(in.Xbar)) }, []string{"mean"}, []string{"collapse", "overspread", "drift"}},
		{"broken", func(_ *model.Scope, in nn.Inputs) *Node { return Log(MulScalar(OnesLike(in.Xbar), -1)) }, []string{"not finite"}, nil},
		{"another law", func(_ *model.Scope, in nn.Inputs) *Node { return MulScalar(OnesLike(in.Xbar), 0.8) }, []string{"drift"}, []string{"collapse", "overspread"}},
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

// Where map and drift have collapsed alike, the exact posteriors show it, and nothing else does.
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
		law, err := gmm.New([]float64{1}, [][]float64{{0.4, -0.7}}, [][][]float64{{{1.5, 0.6}, {0.6, 0.8}}})
		if err != nil {
			t.Fatal(err)
		}
		s.Exact = func(at float64, x []float64) float64 { return law.Posterior(interpolant.Linear{}, at, x).Spread() }
		r := report(t, s)
		if r.Has("collapse") != c.collapse {
			t.Errorf("%s: collapse found is %t:\n%s", name, !c.collapse, r.Text())
		}
		s.Exact = nil
		if r := report(t, s); r.Has("collapse") {
			t.Errorf("%s: beside its own ODE the map has collapsed:\n%s", name, r.Text())
		}
	}
}

// What a steered run and a tuning show of themselves is in the report, with what to try.
func TestAdded(t *testing.T) {
	r := &diagnose.Report{}
	r.AddSteering(steer.Series{Times: []float64{0, 0.5}, Ratio: []float64{1, 2}, Effective: []float64{4, 4}}, steer.DefaultThresholds(), 8)
	r.AddTuning([]tune.Look{{Spread: 1}, {Spread: 1, KL: 2}, {Spread: 0.9, KL: 2}}, tune.Target{Spread: 1, KL: 2})
	if len(r.Findings) > 0 {
		t.Errorf("healthy runs have findings:\n%s", r.Text())
	}
	r.AddSteering(steer.Series{Times: []float64{0, 0.5}, Ratio: []float64{1, 200}, Effective: []float64{4, 4}}, steer.DefaultThresholds(), 8)
	r.AddTuning([]tune.Look{{Spread: 1}, {Spread: 0.5, KL: 9}, {Spread: 0.1, KL: 9}}, tune.Target{Spread: 1, KL: 2})
	slow := &diagnose.Report{}
	if slow.AddTuning([]tune.Look{{Spread: 1}, {Spread: 1, KL: 0.3}, {Spread: 1, KL: 0.4}}, tune.Target{Spread: 1, KL: 2}); !slow.Has("behind") || len(slow.Findings) != 1 {
		t.Errorf("a tuning that has hardly begun makes this:\n%s", slow.Text())
	}
	few := &diagnose.Report{}
	few.AddTuning([]tune.Look{{Spread: 0.1, KL: 9}}, tune.Target{Spread: 1, KL: 2})
	if !few.Has("unseen tuning") || len(few.Findings) != 1 {
		t.Errorf("a tuning that was looked at once makes this:\n%s", few.Text())
	}
	if !r.Has("steering") || !r.Has("tuning") || !r.Has("overshoot") || strings.Count(r.Text(), "Try this: ") != 3 {
		t.Errorf("an explosion and a collapse make this:\n%s", r.Text())
	}
}

func TestRefused(t *testing.T) {
	s := subject(t, func(_ *model.Scope, in nn.Inputs) *Node { return ZerosLike(in.Xbar) })
	for name, change := range map[string]func(c *diagnose.Config, s *diagnose.Subject){
		"times":    func(c *diagnose.Config, _ *diagnose.Subject) { c.Times = nil },
		"time 1":   func(c *diagnose.Config, _ *diagnose.Subject) { c.Times = []float64{1} },
		"draws":    func(c *diagnose.Config, _ *diagnose.Subject) { c.Draws = 1 },
		"fewer":    func(_ *diagnose.Config, s *diagnose.Subject) { s.Data = s.Data[:10] },
		"positive": func(c *diagnose.Config, _ *diagnose.Subject) { c.Limits.Mean = 0 },
	} {
		c, own := diagnose.DefaultConfig(), s
		change(&c, &own)
		if _, err := diagnose.Map(t.Context(), backendtest.New(t), own, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
