package tune_test

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/solver"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// Evaluations of a state by hand: a drift that guidance evaluates twice counts twice, a backward
// pass two, and a posterior sample one with its reward.
func TestNFE(t *testing.T) {
	four := steer.PosteriorSamples{N: 4}
	for _, tc := range []struct {
		objective     tune.Objective
		plain, guided int
	}{
		{tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: four}}, 1 + 4*4, 2 + 4*4},
		{tune.PlugIn{Estimator: steer.MFMGF{PosteriorSamples: four}}, 1 + 4*2, 2 + 4*2},
		{tune.PlugIn{Estimator: steer.DPS{}}, 1 + 3 + 1, 2 + 6 + 1}, // the base drift, and again with a gradient
		{tune.RewardWeighted{}, 1 + 1, 2 + 1},
		// The step of the path, the base drift, and again with a gradient.
		{tune.AdjointMatching{}, 1 + 1 + 3, 2 + 2 + 6},
		// The base drift, two scores at x, and for each sample a score, the map with a gradient, the
		// reward.
		{tune.PlugIn{Estimator: steer.WeightedDiamond{N: 4}}, 1 + 2 + 4*(1+3+1), 2 + 4 + 4*(2+3+1)},
	} {
		for drift, want := range map[int]int{0: tc.plain, 1: tc.plain, 2: tc.guided} {
			if got := tc.objective.NFE(steer.Model{PosteriorNFE: 1, FlowMapNFE: 1, DriftNFE: drift}); got != want {
				t.Errorf("%v with %d evaluations of a drift: %d, want %d", tc.objective, drift, got, want)
			}
		}
	}
}

// The graphs of the regressands evaluate as many drifts, posterior samples and flow maps for each
// state as NFE counts, apart from backward passes and rewards.
func TestNFEOfGraphs(t *testing.T) {
	b := backendtest.New(t)
	backendtest.NeedLoops(t, b)
	_, exact := gaussian(t, interpolant.Linear{})
	const steps, paths, n = 30, 2, 4
	draws := steer.PosteriorSamples{N: n}
	for _, tc := range []struct {
		objective tune.Objective
		more      int // of NFE: backward passes twice, and rewards
	}{
		{tune.PlugIn{Estimator: steer.MFMG{PosteriorSamples: draws}}, n * (2 + 1)},
		{tune.PlugIn{Estimator: steer.MFMGF{PosteriorSamples: draws, Baseline: steer.MeanBaseline}}, n},
		{tune.PlugIn{Estimator: steer.DPS{}}, 2 + 1},
		{tune.PlugIn{Estimator: steer.WeightedDiamond{N: n, SNR: 4}}, n * (2 + 1)},
		{tune.MetaTuning{PosteriorSamples: draws}, n * (2 + 1)},
		{tune.AdjointMatching{}, 2},
	} {
		rows, inLoop := 0, 0 // evaluated outside and inside of loops, whose bodies have the rows of a step
		add := func(x *Node) {
			if k := x.Shape().Dim(0); k == paths {
				inLoop += k * steps
			} else {
				rows += k
			}
		}
		m := exact
		m.Drift = func(t, x, class *Node) *Node { add(x); return exact.Drift(t, x, class) }
		m.Posterior = func(rng *solver.RNG, eps, t, x, class *Node) *Node {
			add(x)
			return exact.Posterior(rng, eps, t, x, class)
		}
		m.FlowMap = func(s, u, x, class *Node) *Node { add(x); return exact.FlowMap(s, u, x, class) }
		exec, err := model.NewExec(b, model.NewStore(), func(_ *model.Scope, state *Node) *Node {
			rng := &solver.RNG{State: state}
			p := tune.Problem{Noise: tune.Noise{Start: 0.1}, Problem: steer.Problem{
				Model: m, Reward: measured(0.8).Reward(), Lambda: Scalar(state.Graph(), dtypes.Float32, 1),
			}}
			s := tune.OnPaths(p, exact.Drift, rng, []int{2}, steps*paths, steps, state.Graph())
			s.Base = m.Drift(s.T, s.X, nil)
			if tc.objective.Needs().Paths {
				rows += steps * paths // the steps of the paths, above
			}
			return tc.objective.Regress(p, rng, s).Vector
		})
		if err != nil {
			t.Fatal(err)
		}
		state, err := RNGStateFromSeed(5)
		if err != nil {
			t.Fatal(err)
		}
		exec.MustCall(state)
		exec.Finalize()
		if got, want := (rows+inLoop)/(steps*paths)+tc.more, tc.objective.NFE(m); got != want {
			t.Errorf("%v: %d evaluations for a state, NFE says %d", tc.objective, got, want)
		}
	}
}
