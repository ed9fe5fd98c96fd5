package steering_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/metric"
	"github.com/gomfm/gomfm/mfm/steer"
)

// A point is the mean over the seeds of a setting, and curves are one for each method and
// renormalization.
func TestCurves(t *testing.T) {
	type result struct {
		steering.Result
		y, se metric.Optional
	}
	run := func(method string, how steer.Renormalization, ratio, nfe float64, seed int64, y, se float64) result {
		config := steer.DefaultConfig()
		config.Renormalization, config.Ratio = how, ratio
		r := result{y: metric.Some(y), se: metric.Some(se)}
		r.Result = steering.Result{Method: method, NFE: nfe, Seed: seed, N: 1}
		r.Config = &config
		return r
	}
	undefined := run("dps", steer.NoRenormalization, 1, 30, 0, 0, 0)
	undefined.y = metric.Optional{}
	pool := run("best-of-n", steer.NoRenormalization, 1, 30, 0, 0, 0)
	pool.PoolRewards = []float32{1}
	all := []result{
		run("dps", steer.RescaleLength, 1, 40, 0, 1, 0.3), run("dps", steer.RescaleLength, 1, 40, 1, 3, 0.4),
		run("dps", steer.RescaleLength, 0.5, 20, 0, 5, 0.1), run("mfm-g", steer.ClipLength, 1, 50, 0, 7, 0.2),
		run("dps", steer.NoRenormalization, 1, 40, 0, 2, 0.5), undefined, pool,
	}
	nfe := func(r result) (metric.Optional, metric.Optional) { return metric.Some(r.NFE), metric.Optional{} }
	lines := steering.Curves(all, func(r result) steering.Result { return r.Result }, nfe,
		func(r result) (metric.Optional, metric.Optional) { return r.y, r.se })
	if len(lines) != 3 {
		t.Fatalf("%d curves: %+v", len(lines), lines)
	}
	names := []string{lines[0].Name, lines[1].Name, lines[2].Name}
	if !slices.Equal(names, []string{"MFM-G, clipped", "DPS", "DPS, rescaled"}) {
		t.Errorf("curves %q", names)
	}
	if !lines[0].Dashed || lines[0].Pale || !lines[1].Pale || lines[2].Pale || lines[2].Dashed {
		t.Errorf("curves %+v: dashed means clipped, pale not renormalized", lines)
	}
	if got := lines[2]; !slices.Equal(got.X, []float64{20, 40}) || !slices.Equal(got.Y, []float64{5, 2}) ||
		got.Bars[0] != 0.1 || math.Abs(got.Bars[1]-0.25) > 1e-12 {
		t.Errorf("curve %+v, want (20, 5 ± 0.1) and (40, 2 ± 0.25)", got)
	}
}
