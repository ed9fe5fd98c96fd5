package speed_test

import (
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// Unknown cases, losses and methods are errors. The times of a measurement fit into the time of the
// call.
func TestSpeed(t *testing.T) {
	b := backendtest.New(t)
	_, err := speed.Training(t.Context(), b, "gpt", mfm.Semigroup, time.Second)
	experimenttest.WantError(t, "an unknown case", err, `case "gpt" is unknown`)
	_, err = speed.Training(t.Context(), b, "mlp", "hinge", time.Second)
	experimenttest.WantError(t, "an unknown loss", err, `loss "hinge"`)
	steered := speed.DefaultSteering()
	steered.Method = "dps"
	_, err = speed.Steering(t.Context(), b, steered, time.Second)
	experimenttest.WantError(t, "an unknown method", err, `method "dps"`)
	if testing.Short() {
		t.Skip("a batch of 1,024 takes too long on the pure-Go backend")
	}
	steered = speed.SteeringConfig{Method: "mfm-gf", Particles: 64, Draws: 2, Steps: 5, Rows: 32}
	run, err := speed.Steering(t.Context(), b, steered, time.Millisecond)
	if err != nil || run.Case != "steer" || run.SteeringConfig != steered ||
		!(run.StepsPerSecond > 0 && run.CompileSeconds >= 0) {
		t.Errorf("result %+v, %v", run, err)
	}
	// The loss with the smallest graph.
	start := time.Now()
	result, err := speed.Training(t.Context(), b, "mlp", mfm.DiagonalOnly, 100*time.Millisecond)
	took := time.Since(start).Seconds()
	if err != nil {
		t.Fatal(err)
	}
	if result.Case != "mlp" || result.Loss != "diagonal" {
		t.Errorf("result %+v", result)
	}
	// A step is a forward pass, its gradient, and more. The first step, its compilation and some
	// other steps fit into the time of the call.
	step := 1 / result.StepsPerSecond
	if !(result.ForwardMS > 0 && step > result.ForwardMS/1000 && result.CompileSeconds > 0 &&
		result.CompileSeconds+step+0.1 < took) {
		t.Errorf("a step of %g s with a forward pass of %g ms, compiled in %g s, measured in %g s",
			step, result.ForwardMS, result.CompileSeconds, took)
	}
	if !(result.JVPMS > 0 && result.JVPMS < 1000*took && result.DoubleReverseMS >= 0 && result.PeakRSSMB >= 0) {
		t.Errorf("result %+v", result)
	}
}
