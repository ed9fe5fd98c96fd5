package tune_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/gomfm/gomfm/mfm/internal/mfmtest"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

func build(t testing.TB, e tune.Entry, o tune.Options) tune.Objective {
	t.Helper()
	m, err := e.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNames(t *testing.T) {
	built := func(e tune.Entry) string { return build(t, e, tune.Options{N: 2, Exact: &steer.Exact{}}).String() }
	mfmtest.Registry(t, tune.Objectives(), func(e tune.Entry) string { return e.Name }, built, tune.Lookup)
}

// An objective reads the options that its entry names, and no others.
func TestOptionsThatAreRead(t *testing.T) {
	options := tune.Options{N: 2, Reference: 4, Floor: 0.05, Exact: &steer.Exact{}}
	for name, c := range map[string]struct {
		change func(o *tune.Options)
		reads  func(e tune.Entry) bool
	}{
		"N":         {func(o *tune.Options) { o.N = 8 }, func(e tune.Entry) bool { return e.N }},
		"Reference": {func(o *tune.Options) { o.Reference = 8 }, func(e tune.Entry) bool { return e.Reference }},
		"Floor":     {func(o *tune.Options) { o.Floor = 0.1 }, func(e tune.Entry) bool { return e.Reference }},
	} {
		changed := options
		c.change(&changed)
		for _, e := range tune.Objectives() {
			if reads := !reflect.DeepEqual(build(t, e, options), build(t, e, changed)); reads != c.reads(e) {
				t.Errorf("%s reads %s: %t, want %t", e.Name, name, reads, c.reads(e))
			}
		}
	}
	options.Exact = nil
	for _, e := range tune.Objectives() {
		if _, err := e.New(options); (err != nil) != e.Exact {
			t.Errorf("%s without the exact value: error %v", e.Name, err)
		}
	}
}

// LeastN is the smallest N with which an objective learns anything: with fewer samples the vector
// of its condition is zero.
func TestLeastN(t *testing.T) {
	gaussian, m := gaussian(t, interpolant.Linear{})
	r := measured(0.8)
	target, logZ := tilt(t, gaussian, r, 1)
	ps := points(gaussian, target, interpolant.Linear{}, logZ, []float64{0.4}, 1)
	ps[0].Correction = []float64{0, 0} // the residual is -g
	for _, e := range tune.Objectives() {
		if (e.LeastN > 0) != e.N {
			t.Errorf("%s: N is %t, LeastN %d", e.Name, e.N, e.LeastN)
		}
		for n := 1; n <= e.LeastN; n++ {
			objective := build(t, e, tune.Options{N: n})
			got := residuals(t, tune.ResidualTask{
				Model: m, Reward: r.Reward(), Lambda: 1, Objective: objective, Points: ps, Samples: 64,
			})
			if learns := math.Hypot(got[0].Mean[0], got[0].Mean[1]) > 0; learns != (n == e.LeastN) {
				t.Errorf("%s with N = %d: the mean vector is %v", e.Name, n, got[0].Mean)
			}
		}
	}
}
