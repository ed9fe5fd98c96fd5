package experiment_test

import (
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

func TestBench(t *testing.T) {
	b := backendtest.New(t)
	_, err := experiment.Bench(t.Context(), b, "gpt", mfm.Semigroup, time.Second)
	wantError(t, "an unknown case", err, `case "gpt" is unknown`)
	_, err = experiment.Bench(t.Context(), b, "mlp", "hinge", time.Second)
	wantError(t, "an unknown loss", err, `loss "hinge"`)
	steered := experiment.DefaultSteerBench()
	steered.Method = "dps"
	_, err = experiment.BenchSteering(t.Context(), b, steered, time.Second)
	wantError(t, "a method that is not timed", err, `method "dps"`)
	if testing.Short() {
		t.Skip("a batch of 1,024 takes too long on the pure-Go backend")
	}
	steered = experiment.SteerBench{Method: "mfm-gf", Particles: 64, Draws: 2, Steps: 5, Rows: 32}
	run, err := experiment.BenchSteering(t.Context(), b, steered, time.Millisecond)
	if err != nil || run.Case != "steer" || run.SteerBench != steered || !(run.StepsPerSecond > 0 && run.CompileSeconds >= 0) {
		t.Errorf("row %+v, %v", run, err)
	}
	// The loss with the smallest graph.
	start := time.Now()
	row, err := experiment.Bench(t.Context(), b, "mlp", mfm.DiagonalOnly, 100*time.Millisecond)
	took := time.Since(start).Seconds()
	if err != nil {
		t.Fatal(err)
	}
	if row.Case != "mlp" || row.Loss != "diagonal" {
		t.Errorf("row %+v", row)
	}
	// A step is a forward pass, its gradient, and more; the first one, its compilation and some of the others fit into the time of the call.
	step := 1 / row.StepsPerSecond
	if !(row.ForwardMS > 0 && step > row.ForwardMS/1000 && row.CompileSeconds > 0 && row.CompileSeconds+step+0.1 < took) {
		t.Errorf("a step of %g s with a forward pass of %g ms, compiled in %g s, measured in %g s", step, row.ForwardMS, row.CompileSeconds, took)
	}
	if !(row.JVPMS > 0 && row.JVPMS < 1000*took && row.DoubleReverseMS >= 0 && row.PeakRSSMB >= 0) {
		t.Errorf("row %+v", row)
	}
}
