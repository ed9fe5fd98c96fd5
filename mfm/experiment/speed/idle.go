package speed

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/data/stream"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/train"
)

// IdleConfig is a training of which [Idle] measures the time between the compiled steps.
type IdleConfig struct {
	// Network is "dit", the map on random latents of the number and size of the emoji's in the
	// memory of the device, or "autoencoder", on pictures that each step reads from their files.
	Network     string
	Map         latent.Config
	Autoencoder latent.AutoencoderConfig
	// Files are the pictures of "autoencoder". Without a set they are 512 emoji as JPEGs of 512x512
	// pixels, about the size of ImageNet's, resized to 64x64 in each step.
	Files latent.Files
}

// DefaultIdle returns the trainings of [latent.DefaultConfig] and [latent.DefaultAutoencoder].
func DefaultIdle() IdleConfig {
	return IdleConfig{Network: "dit", Map: latent.DefaultConfig(), Autoencoder: latent.DefaultAutoencoder()}
}

// Validate returns an error that names the first invalid value.
func (c IdleConfig) Validate() error {
	if c.Network != "dit" && c.Network != "autoencoder" {
		return fmt.Errorf("network %q is unknown: use dit or autoencoder", c.Network)
	}
	if err := errors.Join(c.Map.Validate(), c.Autoencoder.Validate()); err != nil || c.Files.Set == nil {
		return err
	}
	return c.Autoencoder.CheckFiles(c.Files)
}

// IdleResult is how a training spends its time, without checkpoints.
type IdleResult struct {
	Network string  `json:"network"`
	Files   int     `json:"files"` // number of picture files, 0 for data in memory
	Batch   int     `json:"batch"`
	Steps   int     `json:"steps"`   // number of measured steps
	StepMS  float64 `json:"step_ms"` // time from one step to the next in milliseconds
	// WaitShare is the share of the time that the training waits for its next batch and passes it
	// to the device. HostShare is the share outside the call of the compiled step, in which the
	// device has no work: waiting, the log, and the training loop itself.
	WaitShare float64 `json:"wait_share"`
	HostShare float64 `json:"host_share"`
}

// Idle measures a training for about the given time by the clock now, after its first four steps.
func Idle(ctx context.Context, b compute.Backend, c IdleConfig, duration time.Duration, now func() time.Time) (
	IdleResult, error) {
	result := IdleResult{Network: c.Network}
	if err := c.Validate(); err != nil {
		return result, err
	}
	s := &stopwatch{now: now, duration: duration}
	o := run.Options{Hooks: s.hooks()}
	c.Map.Train.Steps, c.Autoencoder.Train.Steps = 1_000_000, 1_000_000
	var err error
	if c.Network == "dit" {
		var e *latent.Experiment
		if e, err = latent.New(c.Map, randomLatents(c.Map.Network.ClassCount())); err != nil {
			return result, err
		}
		result.Batch = c.Map.Train.Batch
		_, err = e.Train(ctx, b, "", o)
	} else {
		if c.Files.Set == nil {
			dir, err := os.MkdirTemp("", "mfm-emoji")
			if err != nil {
				return result, err
			}
			defer os.RemoveAll(dir)
			if c.Files, err = emojiFiles(dir, 512, 8); err != nil {
				return result, err
			}
		}
		result.Files, result.Batch = c.Files.Set.Len(), c.Autoencoder.Train.Batch
		_, err = latent.TrainAutoencoderFiles(ctx, b, c.Autoencoder, c.Files, o)
	}
	if !errors.Is(err, errMeasured) {
		return result, err
	}
	result.Steps, result.StepMS = s.steps, 1000*s.total.Seconds()/float64(s.steps)
	result.WaitShare = s.wait.Seconds() / s.total.Seconds()
	result.HostShare = 1 - s.step.Seconds()/s.total.Seconds()
	return result, nil
}

// stopwatch divides the time of a training by hooks, which are the first and the last of all, and
// ends it with [errMeasured] after a duration.
type stopwatch struct {
	now      func() time.Time
	duration time.Duration

	steps             int
	total, wait, step time.Duration
	// When measuring began, when the hooks before a step began, and when the step did.
	start, before, ready time.Time
}

var errMeasured = errors.New("the time of the measurement is over")

const firstSteps = 4 // steps that are not measured: the first one compiles

func (s *stopwatch) hooks() []train.Hook {
	first := train.Hook{
		Priority: math.MinInt,
		Before:   func(context.Context, *train.Trainer) error { s.before = s.now(); return nil },
		Step:     func(_ *train.Trainer, m train.Metrics) error { return s.stepped(m.Step) },
	}
	last := train.Hook{
		Priority: math.MaxInt,
		Before:   func(context.Context, *train.Trainer) error { s.ready = s.now(); return nil },
	}
	return []train.Hook{first, last}
}

// stepped adds the time since the step before.
func (s *stopwatch) stepped(step int64) error {
	end := s.now()
	if step <= firstSteps {
		s.start = end
		return nil
	}
	s.steps++
	s.wait, s.step, s.total = s.wait+s.ready.Sub(s.before), s.step+end.Sub(s.ready), end.Sub(s.start)
	if s.total >= s.duration {
		return errMeasured
	}
	return nil
}

// emojiFiles writes emoji to a folder as JPEGs, each side enlarged by a factor.
func emojiFiles(dir string, n, scale int) (latent.Files, error) {
	images, _, err := data.Emoji()
	if err != nil {
		return latent.Files{}, err
	}
	large := image.NewRGBA(image.Rect(0, 0, scale*images.Width, scale*images.Height))
	for i := range n {
		pixels := images.Pixels[i*images.Dim() : (i+1)*images.Dim()]
		for p := range len(large.Pix) / 4 {
			x, y := p%large.Rect.Dx()/scale, p/large.Rect.Dx()/scale
			copy(large.Pix[4*p:], pixels[3*(y*images.Width+x):][:3])
			large.Pix[4*p+3] = 255
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%04d.jpg", i)))
		if err != nil {
			return latent.Files{}, err
		}
		if err := errors.Join(jpeg.Encode(f, large, nil), f.Close()); err != nil {
			return latent.Files{}, err
		}
	}
	set, err := stream.Open(dir)
	return latent.Files{Set: set, Height: images.Height, Width: images.Width}, err
}
