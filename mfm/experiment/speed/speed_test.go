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
	_, err = speed.Sampling(t.Context(), b, "gpt", time.Second, now)
	experimenttest.WantError(t, "an unknown case of samples", err, `case "gpt" is unknown`)
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
	// Eight products of 1024x1024 matrices in a millisecond.
	if rate := 8 * 2 * math.Pow(1024, 3) / 1e6; !equal(result.MatrixGFLOPS, rate) || !(result.StepGFLOP > 0) ||
		!equal(result.Share, result.StepGFLOP*1000/rate) {
		t.Errorf("result %+v: want %g billion operations a second of matrix products", result, rate)
	}
	sampled, err := speed.Sampling(t.Context(), b, "mlp", 5*time.Millisecond, now)
	if err != nil || sampled.Loss != speed.OneStep || !equal(sampled.StepsPerSecond, 1000) {
		t.Errorf("result %+v, %v: want a millisecond for each batch of samples", sampled, err)
	}
}

// Checkpoints save a part of the memory of a gradient through a decoder.
func TestMemory(t *testing.T) {
	b := backendtest.New(t)
	for message, change := range map[string]func(c *speed.MemoryConfig){
		`network "unet" is unknown`: func(c *speed.MemoryConfig) { c.Network = "unet" },
		"batch = 1":                 func(c *speed.MemoryConfig) { c.Batch = 1 },
		"side = 4":                  func(c *speed.MemoryConfig) { c.Side = 4 },
		"heads do not divide":       func(c *speed.MemoryConfig) { c.DiT.Heads = 3 },
	} {
		c := speed.DefaultMemory()
		change(&c)
		_, err := speed.Memory(t.Context(), b, c)
		experimenttest.WantError(t, "a bad configuration", err, message)
	}
	backendtest.NeedLoops(t, b) // the pure-Go backend reports no memory
	c := speed.DefaultMemory()
	c.Autoencoder.Channels, c.Autoencoder.Groups = []int{32, 32}, 8
	c.Network, c.Side, c.Batch = "decoder", 8, 4
	var mb [2]float64
	for i := range mb {
		c.Checkpoint = i > 0
		r, err := speed.Memory(t.Context(), b, c)
		if err != nil {
			t.Fatal(err)
		}
		mb[i] = r.TemporaryMB
	}
	if !(mb[1] > 0 && mb[1] < 0.9*mb[0]) {
		t.Errorf("%.0f MB without checkpoints and %.0f MB with them", mb[0], mb[1])
	}
}

// A configuration that is invalid is an error. The errors of bfloat16 are those of TestBench of the
// command.
func TestPrecision(t *testing.T) {
	c := speed.DefaultPrecision()
	c.Batch = 0
	_, err := speed.Precision(t.Context(), backendtest.New(t), c)
	experimenttest.WantError(t, "no batch", err, "batch = 0")
}
