package mfm_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/train"
)

// At the exact map of Gaussian data in two dimensions the energy score is E|X - X'|^β/2 for two
// whitened samples, 2^(β/2) Γ(1 + β/2)/2 with the root mean square as the norm, for any number of
// particles, and it is larger at another map.
func TestEnergyScore(t *testing.T) {
	b := backendtest.New(t)
	zero := make([]float64, lossHidden*2)
	const batches, rows = 100, 256
	for _, o := range []mfm.EnergyScore{{}, {Particles: 5}, {Particles: 3, Exponent: 1.5}} {
		loss := mfm.DefaultLoss()
		loss.Consistency, loss.DiagonalShare, loss.Energy = mfm.Energy, 0, o
		loss.Times.ContextZero = 1 // near t = 1 whitening is bounded
		p := newLossGraph(t, b, interpolant.Linear{}, loss, rows, true)
		var here, worse [][]float64
		for i := range batches {
			at := p.at(t, int64(i), zero, zero)
			moved := p.at(t, int64(i), perturbation(0.2), zero)
			if at.total != at.consistency || at.diagonal != 0 {
				t.Errorf("%+v: %+v: want the score alone", o, at)
			}
			here, worse = append(here, []float64{at.total}), append(worse, []float64{moved.total - at.total})
		}
		beta := 1.0
		if o.Exponent != 0 {
			beta = o.Exponent
		}
		want := math.Pow(2, beta/2) * math.Gamma(1+beta/2) / 2
		if mean, se := meanAndError(here); math.Abs(mean-want) > 4*se {
			t.Errorf("%+v: score %.4f ± %.4f at the exact map, want %.4f", o, mean, se, want)
		}
		if mean, se := meanAndError(worse); !(mean > 4*se) {
			t.Errorf("%+v: the score of another map is %.4f ± %.4f higher", o, mean, se)
		}
	}
}

// meanAndError returns the mean of the numbers and its standard error.
func meanAndError(values [][]float64) (mean, se float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v[0] / n
	}
	for _, v := range values {
		se += (v[0] - mean) * (v[0] - mean)
	}
	return mean, math.Sqrt(se / (n * (n - 1)))
}

func TestEnergyRefused(t *testing.T) {
	for want, change := range map[string]func(l *mfm.Loss){
		"particles = 1": func(l *mfm.Loss) { l.Energy.Particles = 1 },
		"exponent = 2":  func(l *mfm.Loss) { l.Energy.Exponent = 2 },
		"no target":     func(l *mfm.Loss) { l.Guidance = mfm.Guidance{Classes: 2, Dropout: 0.1, Scale: 2} },
	} {
		l := mfm.DefaultLoss()
		l.Consistency = mfm.Energy
		change(&l)
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// A small map trained by the energy score alone has the posteriors of a mixture, which its Gaussian
// parametrization does not have without training: W1 over typical contexts.
func TestEnergyTrainsPosteriors(t *testing.T) {
	b, ip := backendtest.New(t), interpolant.Linear{}
	backendtest.NeedLoops(t, b)
	mixture := mfmtest.NewMixture(t, []float64{0.3, 0.7}, [][]float64{{-1}, {1}}, [][][]float64{{{0.1}}, {{0.1}}})
	gaussian, err := mfm.NewGaussian(mixture.Mean(), mixture.Covariance())
	if err != nil {
		t.Fatal(err)
	}
	network := nn.DefaultMLP()
	network.Width, network.Depth = 32, 2
	m := &mfm.Map{Interpolant: ip, Backbone: nn.MLP(network), Parametrization: gaussian}
	c := mfm.DefaultTrainConfig()
	c.Loss.Consistency, c.Loss.DiagonalShare, c.Batch, c.EMA = mfm.Energy, 0, 512, nil
	c.Optimizer.Rate = 3e-2
	source := func(_ *model.Scope, g *Graph, rng *solver.RNG, n int) (data, class *Node) {
		rng.State, data = mixture.OnGraph(g, dtypes.Float32).Sample(rng.State, n)
		return data, nil
	}
	const n, contexts = 2000, 12
	times := []float64{0, 0.3, 0.6}
	distance := func(steps int64) (mean float64) {
		c.Steps = steps
		trainer, err := mfm.NewTrainer(b, m, source, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := trainer.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		trained := mfm.Model{Map: m, Weights: trainer.Store().Scope(train.WeightsScope), Shape: []int{1}}
		s, err := mfm.NewSampler(b, trained, mfm.DefaultSamplerConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Finalize()
		rng := rand.New(rand.NewPCG(1, 2))
		for _, at := range times {
			x := mixture.Sample(rng, contexts)
			for _, row := range x {
				row[0] = at*row[0] + (1-at)*rng.NormFloat64()
			}
			got, err := mfm.Flat(s.Posterior(t.Context(), 1, at, mfm.Points(x), n, nil))
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for k, context := range x {
				drawn := got[k*n : (k+1)*n]
				slices.Sort(drawn)
				exact := mixture.Posterior(ip, at, context).Sample(rng, n)
				slices.SortFunc(exact, func(a, b []float64) int { return cmp.Compare(a[0], b[0]) })
				for i, y := range exact {
					sum += math.Abs(y[0]-float64(drawn[i])) / (n * contexts)
				}
			}
			mean += sum / float64(len(times))
		}
		return mean
	}
	if before, after := distance(1), distance(1500); !(after < 0.1 && before > 3*after) {
		t.Errorf("W1 to the posteriors %.3f after training, %.3f before", after, before)
	}
}
