package speed_test

import (
	"math"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/speed"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
)

// clock is a clock that advances by a millisecond with each reading.
type clock struct{ t time.Time }

func (c *clock) now() time.Time {
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

// Unknown cases, losses and methods are errors. The speeds are those of the clock, which is read
// after each call: every call takes a millisecond.
func TestSpeed(t *testing.T) {
	b, now := backendtest.New(t), new(clock).now
	_, err := speed.Training(t.Context(), b, "gpt", mfm.Semigroup, time.Second, now)
	experimenttest.WantError(t, "an unknown case", err, `case "gpt" is unknown`)
	_, err = speed.Training(t.Context(), b, "mlp", "hinge", time.Second, now)
	experimenttest.WantError(t, "an unknown loss", err, `loss "hinge"`)
	steered := speed.DefaultSteering()
	steered.Method = "dps"
	_, err = speed.Steering(t.Context(), b, steered, time.Second, now)
	experimenttest.WantError(t, "an unknown method", err, `method "dps"`)
	if testing.Short() {
		t.Skip("a batch of 1,024 takes too long on the pure-Go backend")
	}
	equal := func(a, b float64) bool { return math.Abs(a-b) < 1e-9*b }
	steered = speed.SteeringConfig{Method: "mfm-gf", Particles: 64, Samples: 2, Steps: 5, Rows: 32}
	run, err := speed.Steering(t.Context(), b, steered, 3*time.Millisecond, now)
	if err != nil || run.Case != "steer" || run.SteeringConfig != steered ||
		!equal(run.StepsPerSecond, 5000) || run.CompileSeconds > 1e-9 {
		t.Errorf("result %+v, %v; want 5 steps in a millisecond", run, err)
	}
	// The loss with the smallest graph.
	result, err := speed.Training(t.Context(), b, "mlp", mfm.DiagonalOnly, 5*time.Millisecond, now)
	if err != nil {
		t.Fatal(err)
	}
	if result.Case != "mlp" || result.Loss != "diagonal" || !(result.PeakRSSMB >= 0) {
		t.Errorf("result %+v", result)
	}
	if !equal(result.StepsPerSecond, 1000) || !equal(result.CompileSeconds, 0.001) || !equal(result.ForwardMS, 1) ||
		!equal(result.JVPMS, 1) || !(result.DoubleReverseMS == 0 || equal(result.DoubleReverseMS, 1)) {
		t.Errorf("result %+v: want a millisecond for each step, compilation and pass", result)
	}
}
