package steering_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/steer"
)

// Of each N and number of steps the renormalization with the least mean over its seeds remains.
func TestLeastByCost(t *testing.T) {
	run := func(method string, n int, how steer.Renormalization, nfe, value float64) steering.Valued {
		r := steering.Valued{Value: value}
		r.Method, r.N, r.NFE, r.Config = method, n, nfe, &steer.Config{Renormalization: how}
		return r
	}
	pool := run("mfm-g", 1, steer.NoRenormalization, 100, -50)
	pool.PoolRewards = []float32{1}
	old := run("mfm-g", 1, steer.NoRenormalization, 100, -60)
	old.Config = nil
	few := run("mfm-g", 4, steer.NoRenormalization, 850, 9) // not averaged with more steps
	few.Steps = 50
	runs := []steering.Valued{
		run("mfm-g", 4, steer.NoRenormalization, 1700, 7),
		run("mfm-g", 1, steer.NoRenormalization, 500, 0), run("mfm-g", 1, steer.NoRenormalization, 500, 6), // mean 3
		run("mfm-g", 1, steer.ClipLength, 510, 1), run("mfm-g", 1, steer.ClipLength, 510, 3), // mean 2
		run("mfm-g", 1, steer.RescaleLength, 500, math.NaN()), run("mfm-g", 1, steer.RescaleLength, 500, -9),
		run("dps", 1, steer.NoRenormalization, 401, 1), pool, old, few,
	}
	want := []steering.CostPoint{
		{N: 1, NFE: 510, Value: 2, SE: 1}, {N: 4, Steps: 50, NFE: 850, Value: 9},
		{N: 4, NFE: 1700, Value: 7},
	}
	if got := steering.LeastByCost(runs, "mfm-g"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := steering.LeastByCost(runs, "smc-none"); len(got) > 0 {
		t.Errorf("a method without runs has %v", got)
	}
}

// The expected maximum of two of {1, 2, 3, 6} is (2+3+6+3+6+6)/6.
func TestBestOfPool(t *testing.T) {
	got, err := steering.BestOfPool(steering.Result{NFE: 100, PoolRewards: []float32{1, 2, 3, 6}}, 100)
	want := []steering.CostPoint{{N: 1, NFE: 101, Value: 3}, {N: 2, NFE: 202, Value: 26.0 / 6}, {N: 4, NFE: 404, Value: 6}}
	near := func(a, b steering.CostPoint) bool {
		return a.N == b.N && a.NFE == b.NFE && math.Abs(a.Value-b.Value) < 1e-12
	}
	if err != nil || !slices.EqualFunc(got, want, near) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := steering.BestOfPool(steering.Result{PoolRewards: []float32{1, 2, 3, 6}}, 3); err != nil || len(got) != 2 {
		t.Errorf("up to three candidates: %v, %v, want two points", got, err)
	}
	if got, err := steering.BestOfPool(steering.Result{}, 100); err != nil || len(got) > 0 {
		t.Errorf("no pool has %v, %v", got, err)
	}
}

func TestJoinPools(t *testing.T) {
	got := steering.JoinPools([]steering.Result{
		{Method: "mfm-g", NFE: 500}, {NFE: 100, PoolRewards: []float32{1, 4}}, {NFE: 101, PoolRewards: []float32{2, 3}},
	})
	if !slices.Equal(got.PoolRewards, []float32{1, 2, 3, 4}) || got.NFE != 101 {
		t.Errorf("pool %v at %g", got.PoolRewards, got.NFE)
	}
	if got := steering.JoinPools(nil); got.PoolRewards != nil {
		t.Errorf("no results have the pool %v", got.PoolRewards)
	}
}
