package points

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/interpolant"
	"github.com/gomfm/gomfm/mfm/metric"
)

// A figure has a panel for each pair of columns, labeled with their names. The legend has the
// classes that have samples, and the observation; the title has the time.
func TestFigureOfSamples(t *testing.T) {
	e := &Experiment{Fitted: Fitted{
		Columns: []string{"mass", "ratio", "depth", "width"}, Names: []string{"light", "heavy", "rare"},
	}}
	rng := rand.New(rand.NewPCG(1, 1))
	var s Samples
	for i := range 600 {
		k := float64(i % 2)
		s.Rows = append(s.Rows, []float64{100 + 60*k + 10*rng.NormFloat64(), 1 + 0.01*rng.NormFloat64(), -2 * k, rng.Float64()})
		s.Classes = append(s.Classes, int32(i%2))
	}
	fig := e.figure(s)
	for y := range 3 {
		for x := range 3 {
			want := [2]string{}
			if x <= y {
				want = [2]string{e.Columns[x], e.Columns[y+1]}
			}
			if p := fig.Panel(y, x); p.X.Label != want[0] || p.Y.Label != want[1] {
				t.Errorf("row %d, column %d: axes %q and %q, want %q", y, x, p.X.Label, p.Y.Label, want)
			}
		}
	}
	posterior := Samples{Rows: s.Rows, Given: Observation{T: 0.6, X: []float64{120, 1, -1, 0.5}, Class: "heavy"}}
	for want, s := range map[string]Samples{
		"<title>light; heavy</title>": s,
		"<title>posterior at t = 0.6; posterior samples of heavy; observation; Samples": posterior,
		"<title>samples</title>":       {Rows: s.Rows},
		"<title>data; samples</title>": {Rows: s.Rows, Data: s.Rows[:9]},
	} {
		path := filepath.Join(t.TempDir(), "x.svg")
		if err := e.WriteSamples(path, s); err != nil {
			t.Fatal(err)
		}
		svg, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(svg), want) {
			t.Errorf("the SVG has no %q", want)
		}
	}
	if got := pair(s.Rows[:1], 2, 0)[0]; got[0] != s.Rows[0][2] || got[1] != s.Rows[0][0] {
		t.Errorf("a pair of columns %v", got)
	}
}

// An observation is far if a column is more than six standard deviations of observations away: at t
// = 0.6 those of x_t/0.6 have the variance 1 + (0.4/0.6)² times that of the data.
func TestFar(t *testing.T) {
	e := &Experiment{
		Fitted: Fitted{Columns: []string{"a", "b"}, Scale: Scale{Mean: []float64{120, 0}, Std: []float64{4, 0.01}}},
		Map:    &mfm.Map{Interpolant: interpolant.Linear{}},
	}
	std := 4 * math.Hypot(1, 0.4/0.6)
	for _, c := range []struct {
		o    Observation
		want string
	}{
		{Observation{T: 0.6, X: []float64{120 + 5.9*std, 0}}, ""},
		{Observation{T: 0.6, X: []float64{120 - 6.1*std, 0}}, " is 6.1 standard deviations of observations at t = 0.6 from the mean of the data, 120:"},
		{Observation{T: 0.6, X: []float64{120, 1}}, "b = 1 is 83.2 standard"},
		{Observation{}, ""},
	} {
		got, err := e.Far(c.o)
		if err != nil || (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q (%v), want %q", c.o, got, err, c.want)
		}
	}
	if _, err := e.Far(Observation{T: 0.6, X: []float64{1}}); err == nil {
		t.Error("an observation of too few numbers is no error")
	}
}

// A comparison in words has the distance, and the reward if it differs by more than three standard
// errors.
func TestVerdictOfComparison(t *testing.T) {
	some := metric.Some
	c := Comparison{SW2: some(0.05), SW2Before: some(0.5), Floor: some(0.04), Reward: some(-0.4), RewardSE: some(0.01),
		RewardTarget: some(-0.42), RewardTargetSE: some(0.01)}
	for want, change := range map[string]func(c *Comparison){
		"the samples are near to the weighted rows: sliced W2 0.05, 0.04 between samples of the rows, 0.5 before": func(*Comparison) {},
		"the samples are not yet near to the weighted rows: sliced W2 0.065, 0.04 between samples of the rows, 0.5 before; their " +
			"mean reward, -0.9, is below that of the rows, -0.42": func(c *Comparison) { c.SW2, c.Reward = some(0.065), some(-0.9) },
		"the samples are near to the weighted rows: sliced W2 0.05, 0.04 between samples of the rows, 0.4 before": func(c *Comparison) {
			c.SW2Before, c.Reward, c.RewardTargetSE = some(0.4), some(-0.9), some(0.2)
		},
		"the samples are not nearer to the weighted rows than those before: sliced W2 0.7, 0.04 between samples of the rows, 0.5 before; " +
			"their mean reward, -0.1, is above that of the rows, -0.42": func(c *Comparison) { c.SW2, c.Reward = some(0.7), some(-0.1) },
		"": func(c *Comparison) { c.SW2 = metric.Optional{} },
	} {
		of := c
		change(&of)
		text, near := of.Verdict()
		if text != want || near != (want == "" || strings.Contains(want, "are near")) {
			t.Errorf("%q, near %v; want %q", text, near, want)
		}
	}
}
