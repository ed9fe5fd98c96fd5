package diagnose_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
)

// The brief diagnosis of an exact map ends with a good verdict, that of a map whose one-step
// samples vary too little with that finding. The ratio of standard deviations is known: the network
// scales the noise of one step by 1 + c, and is zero on the diagonal, which the ODE uses.
func TestVerdict(t *testing.T) {
	b := backendtest.New(t)
	for _, c := range []struct {
		by   float64
		want string
	}{{0, "One step is as good as the ODE here"}, {-0.5, "Problem (collapse): "}} {
		s := subject(t, func(_ *model.Scope, in nn.Inputs) *Node {
			return MulScalar(Mul(BroadcastToShape(Reshape(Sub(in.U, in.S), -1, 1), in.Xbar.Shape()), in.Xbar), c.by)
		})
		r, err := diagnose.Map(t.Context(), b, s, diagnose.DefaultConfig().Brief(20))
		if err != nil {
			t.Fatal(err)
		}
		lines := diagnose.Verdict(r)
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "On held-out data at t = 0.2, 0.5, 0.8, one-step samples have ") ||
			!strings.HasPrefix(lines[1], "Along random directions, ") || !strings.HasPrefix(lines[2], c.want) {
			t.Errorf("verdict %q, want %q", lines, c.want)
		}
		for _, result := range r.Results {
			if want := 1 + c.by; math.Abs(result.Diversity-want) > 0.08*want {
				t.Errorf("t = %g: one-step samples have %g of the standard deviation, want %g", result.T, result.Diversity, want)
			}
		}
		if r.Has("sensitivity") || r.Has("consistency") || r.Figures(figure.Notebook()) != nil ||
			!strings.Contains(r.Text(), " -\n") {
			t.Errorf("the report has what was left out:\n%s", r.Text())
		}
	}
}

// Coverage is in the second sentence, in percent, for all times.
func TestVerdictOfCoverage(t *testing.T) {
	r := &diagnose.Report{Results: []diagnose.Result{
		{Coverage: diagnose.Coverage{Half: 0.414, Most: 0.866}}, {Coverage: diagnose.Coverage{Half: 0.5, Most: 1}},
	}}
	want := "Along random directions, 41, 50 % of the held-out data lie within the central 50 % of their posterior " +
		"samples, and 87, 100 % within the central 90 %."
	if got := diagnose.Verdict(r); len(got) != 3 || got[1] != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
}

// The last sentence has the first finding and the names of the others. Without results it is
// alone.
func TestVerdictOfFindings(t *testing.T) {
	r := &diagnose.Report{Findings: []diagnose.Finding{
		{Name: "not finite", What: "a", Try: "b"}, {Name: "mean"}, {Name: "drift"},
	}}
	want := []string{"Problem (not finite): a. Try this: b. Other problems: mean, drift."}
	if got := diagnose.Verdict(r); !slices.Equal(got, want) {
		t.Errorf("verdict %q, want %q", got, want)
	}
}
