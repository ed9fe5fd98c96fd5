package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
)

// sampleTuned draws n samples of each of the first 16 classes, or of the one that is named, of the
// drift in dir that was tuned from the map that the flags name.
func (f samplerFlags) sampleTuned(dir, class string, n int, seed int64, out string) (work, error) {
	config := mfm.DefaultSamplerConfig()
	config.Steps = 50
	err := f.withTuned("t", "contexts", "first", "data", "labels", "size", "skip", "count", "npz", "shard", "tile", "guidance",
		"guidance-from", "guidance-to", "method", "solver", "power", "at")
	if err = cmp.Or(err, f.settings.apply(&config)); err == nil {
		err = config.Validate()
	}
	if err != nil {
		return nil, err
	}
	b, err := f.c.backend()
	if err != nil {
		return nil, err
	}
	m, err := alignment.Open(b, alignment.Config{Map: *f.checkpoint})
	if err != nil {
		return nil, err
	}
	if dir, err = tunedRun(dir); err != nil {
		return nil, err
	}
	t, err := m.OpenTuned(dir)
	if err != nil {
		return nil, fmt.Errorf("--tuned %s: %w", quote(dir), err)
	}
	labels, err := classesOf(m.Config, class, 0, 1)
	if err != nil {
		return nil, err
	}
	if k := t.Config.Class; k != nil {
		if class != "" && labels[0] != int32(*k) {
			return nil, fmt.Errorf("--class %s: the drift was tuned for class %s alone: leave --class out", class,
				className(m.Config, int32(*k)))
		}
		labels = []int32{int32(*k)}
	}
	return func(ctx context.Context, b compute.Backend) error {
		pixels, err := t.Sample(ctx, b, seed, config.Steps, n, labels)
		if err != nil {
			return err
		}
		samples := &imageSamples{Shape: m.Size()}
		for _, label := range labels {
			samples.Classes = append(samples.Classes, className(m.Config, label))
		}
		samples.split(pixels, max(len(labels), 1), n)
		if err := samples.write(out); err != nil {
			return err
		}
		return f.c.write(samples, fmt.Sprintf("%s: %d rows of %d samples of the tuned drift\n", out, len(samples.Samples), n))
	}, nil
}
