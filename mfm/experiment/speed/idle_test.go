package speed

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/gomfm/gomfm/mfm/experiment/internal/experimenttest"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/nn"
	"github.com/gomfm/gomfm/mfm/train"
)

// Of a step whose batch comes after 3 s and that takes 6 s, with 1 s for the log, the training
// waits three tenths of the time. The first steps, which are slower, do not count.
func TestStopwatch(t *testing.T) {
	var clock time.Time
	pass := func(seconds int) { clock = clock.Add(time.Duration(seconds) * time.Second) }
	s := &stopwatch{now: func() time.Time { return clock }, duration: 30 * time.Second}
	hooks := s.hooks()
	var err error
	step := int64(0)
	for ; err == nil; step++ {
		_ = hooks[0].Before(t.Context(), nil)
		pass(3)
		_ = hooks[1].Before(t.Context(), nil)
		if pass(6); step < firstSteps {
			pass(100)
		}
		err = hooks[0].Step(nil, train.Metrics{Step: step + 1})
		pass(1)
	}
	if !errors.Is(err, errMeasured) || s.steps != 3 || step != firstSteps+3 ||
		s.total != 30*time.Second || s.wait != 9*time.Second || s.step != 18*time.Second {
		t.Errorf("%d steps: %v in total, %v of waiting, %v in steps (%v)", s.steps, s.total, s.wait, s.step, err)
	}
}

// With a clock that advances by a millisecond with each of its three readings a step, the hooks of
// the training, the step and the rest take a third each, for data in memory and from files.
func TestIdle(t *testing.T) {
	b, c := backendtest.New(t), DefaultIdle()
	c.Network = "mlp"
	_, err := Idle(t.Context(), b, c, time.Second, time.Now)
	experimenttest.WantError(t, "an unknown network", err, `network "mlp" is unknown`)
	network := nn.DefaultDiT()
	network.Width, network.Depth, network.Encoder, network.Heads, network.Classes = 16, 2, 1, 2, 9
	c.Map.Network, c.Map.Train.Batch = nn.NewNetwork(network), 4
	c.Autoencoder.Network.Channels, c.Autoencoder.Network.Groups, c.Autoencoder.Network.Latents = []int{4, 4}, 2, 2
	c.Autoencoder.Train.Batch = 2
	files, err := emojiFiles(t.TempDir(), 6, 2)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := files.Set.Picture(5)
	if err != nil || picture.Rect.Dx() != 128 || picture.Rect.Dy() != 128 {
		t.Fatalf("picture of %v pixels (%v)", picture.Rect, err)
	}
	for network, of := range map[string]latent.Files{"dit": {}, "autoencoder": files} {
		var clock time.Time
		now := func() time.Time { clock = clock.Add(time.Millisecond); return clock }
		c.Network, c.Files = network, of
		r, err := Idle(t.Context(), b, c, 9*time.Millisecond, now)
		if err != nil {
			t.Fatal(err)
		}
		near := func(got, want float64) bool { return math.Abs(got-want) < 1e-9 }
		if r.Network != network || r.Steps != 3 || !near(r.StepMS, 3) || !near(r.WaitShare, 1./3) || !near(r.HostShare, 2./3) {
			t.Errorf("result %+v: want three steps of three milliseconds", r)
		}
		if network == "autoencoder" && (r.Files != 6 || r.Batch != 2) || network == "dit" && (r.Files != 0 || r.Batch != 4) {
			t.Errorf("result %+v: want the batches of the configuration", r)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Idle(ctx, b, c, time.Second, time.Now); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}
