package points

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		"<title>samples</title>": {Rows: s.Rows},
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
