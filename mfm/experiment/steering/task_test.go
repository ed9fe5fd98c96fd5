package steering_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// byClass is the reward (2 class - 1) x_1.
type byClass struct{}

func (byClass) Build(_ *model.Scope, x *Node, c reward.Condition) *Node {
	sign := AddScalar(MulScalar(ConvertDType(c.Class, x.DType()), 2), -1)
	return Mul(Reshape(Slice(x, AxisRange(), AxisElem(0)), -1), sign)
}

// classBase steers the exact map of two classes and no class, Gaussians of variance 1/4 and means
// -1, 2 and 1/2 of the first coordinate, to byClass.
func classBase(t *testing.T) *steering.Base {
	t.Helper()
	m := mfmtest.ClassModel(interpolant.Linear{}, [][]float64{{-1, 0}, {2, 0}, {0.5, 0}}, []float64{0.25, 0.25, 0.25})
	s, err := steer.FromMap(m, mfm.DefaultSamplerConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &steering.Base{Map: &m, Model: s, Reward: byClass{}}
}

// Rewards are given the label of each sample, in calls of any size.
func TestRewardsGivenClasses(t *testing.T) {
	base := classBase(t)
	const n = 1<<18 + 5 // more than one call
	samples, labels := make([]float32, 2*n), make([]int32, n)
	for i := range n {
		samples[2*i], labels[i] = float32(i%7), int32(i%2)
	}
	b := backendtest.New(t)
	rewards, err := steering.Rewards(b, base.Model.Store, base.Reward, samples, []int{2}, labels)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rewards {
		if want := float64(2*(i%2)-1) * float64(i%7); r != want {
			t.Fatalf("reward %g of sample %d, want %g", r, i, want)
		}
	}
	if _, err := steering.Rewards(b, base.Model.Store, base.Reward, samples, []int{2}, labels[1:]); err == nil {
		t.Error("no error for fewer labels than samples")
	}
}

// A linear reward moves the mean of the guided Gaussian, m_∅ + scale (m_c - m_∅), by its variance.
// The posterior samples of the class alone have another mean, but a reward moves them as far, so
// that both are exact with the mean as the baseline. With the denoiser as the baseline the drift
// cancels, and only guided posterior samples guide.
func TestGuidePosterior(t *testing.T) {
	base, b, class := classBase(t), backendtest.New(t), 1
	backendtest.NeedLoops(t, b)
	s := steering.Setting{
		Method: "mfm-gf", N: 16, Samples: 1000, Config: steer.DefaultConfig(),
		Options: steering.Options{Class: &class, Guidance: 2},
	}
	s.Config.Steps = 100
	for _, c := range []struct {
		baseline steer.Baseline
		guide    bool
		nfe      float64 // of a step
	}{{steer.MeanBaseline, false, 2 + 16 + 16}, {steer.MeanBaseline, true, 2 + 32 + 16},
		{steer.DenoiserBaseline, true, 2 + 32 + 16}} {
		s.Baseline, s.GuidePosterior = c.baseline, c.guide
		r, samples, _, err := base.Run(t.Context(), b, s, nil, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		for i := range s.Samples {
			mean += float64(samples[2*i]) / float64(s.Samples)
		}
		if want := 0.5 + 2*(2-0.5) + 0.25; math.Abs(mean-want) > 4*0.5/math.Sqrt(1000)+0.05 {
			t.Errorf("%+v: mean %.3f, want %.3f", c, mean, want)
		}
		if math.Abs(r.NFE-100*c.nfe) > 1e-9 || r.GuidePosterior != c.guide ||
			r.Guidance != 2 || *r.Class != class || r.Baseline != c.baseline || r.Shared {
			t.Errorf("%+v: NFE %g, want %g; settings %+v", c, r.NFE, 100*c.nfe, r.RunSettings)
		}
	}
	if labels := base.Labels(s); len(labels) != 1000 || slices.Min(labels) != 1 || slices.Max(labels) != 1 {
		t.Errorf("labels %v", labels[:2])
	}
	if s.Class = nil; base.Labels(s)[0] != 2 {
		t.Errorf("label %d of samples without a class, want 2", base.Labels(s)[0])
	}
	s.Class = &class
	for want, spoil := range map[string]func(b *steering.Base, s *steering.Setting){
		"needs a guidance":    func(_ *steering.Base, s *steering.Setting) { s.Guidance = 0 },
		"needs a class":       func(_ *steering.Base, s *steering.Setting) { s.Class = nil },
		"must be positive":    func(_ *steering.Base, s *steering.Setting) { s.Guidance = -1 },
		"closed form":         func(b *steering.Base, _ *steering.Setting) { b.Map = nil },
		"has no classes":      func(b *steering.Base, _ *steering.Setting) { b.Model.Classes = 0 },
		"guidance cancels":    func(_ *steering.Base, s *steering.Setting) { s.GuidePosterior = false },
		"class = 2: must lie": func(_ *steering.Base, s *steering.Setting) { two := 2; s.Class = &two },
	} {
		broken, of := s, *base
		spoil(&of, &broken)
		if _, err := of.DrawModel(broken); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// A kept steerer gives each seed and setting the samples of a new one.
func TestKept(t *testing.T) {
	b, fresh, kept := backendtest.New(t), classBase(t), classBase(t)
	kept.Kept = new(steering.Kept)
	defer kept.Kept.Finalize()
	var first []float32
	for i, c := range []struct {
		seed   int64
		lambda float64
		class  int
	}{{0, 1, 0}, {1, 1, 0}, {1, 2, 0}, {1, 2, 1}, {0, 1, 0}} {
		s := steering.Setting{Method: "dps", N: 1, Samples: 4, Seed: c.seed, Config: steer.DefaultConfig()}
		s.Config.Steps, s.Config.Lambda, s.Class = 3, c.lambda, &c.class
		want, _, err := fresh.Draw(t.Context(), b, s, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := kept.Draw(t.Context(), b, s, nil, nil)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("setting %d: samples %v, want %v (%v)", i, got, want, err)
		}
		if i == 0 {
			first = got
		} else if i < 4 && slices.Equal(got, first) {
			t.Errorf("setting %d has the samples of another one", i)
		}
	}
}

// Particles of a filter and samples with the same noise are dependent, those of a tuned drift not.
func TestIndependent(t *testing.T) {
	for method, want := range map[string]bool{"mfm-g": true, "best-of-n": true, "mfm-ft-gf": true, "smc-dps": false} {
		r := steering.Result{Method: method}
		if r.Independent() != want {
			t.Errorf("samples of %s: independent = %v, want %v", method, !want, want)
		}
		if r.Shared = true; r.Independent() {
			t.Errorf("samples of %s with the same noise are independent", method)
		}
	}
}
