package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
)

// imagenetSteering steers a map of latents to rewards of decoded pictures. By default a particle filter
// has 64 particles.
func imagenetSteering() steerTask[alignment.Result] {
	type result = alignment.Result
	return steerTask[result]{
		samples: 64, steps: 100, particles: 64, reward: string(alignment.DefaultReward()),
		open:   openImageNetSteering,
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any {
			saturation := 0.
			if r.MonitorsBase != nil {
				saturation = r.Monitors.Saturation - r.MonitorsBase.Saturation
			}
			return []any{r.MapNFE, r.Reward, r.RewardSE, r.RewardBase.Float(), r.HeldOut, r.HeldOutBase.Float(),
				r.Frechet.Float(), r.Kernel.Float(), r.Diversity.Float(), saturation, r.TargetKL.Float()}
		}, "of the map %g", "reward %.3f", "se %.3f", "unsteered %.3f", "held out %.3f", "unsteered %.3f", "Fréchet %.1f",
			"kernel %.3f", "diversity %.3f", "saturation %+.3f", "target KL %.2f"),
		note: func(r result) string {
			if r.Lost == 0 || r.Diverged {
				return ""
			}
			return fmt.Sprintf("%d of %d samples have no reward, or one of -Inf", r.Lost, r.Samples)
		},
		finish: writeSteeredPictures,
	}
}

// openImageNetSteering adds the flags of the task, and returns a function that opens its steering.
func openImageNetSteering(c *command) func(name, reward string) (steering.Task[alignment.Result], string, error) {
	f := c.Flags()
	preset := f.String("preset", "emoji",
		"`name`: emoji for the map of a run; b2 or xl2 for a folder with weights as their authors released them")
	c.complete("preset", false, latent.Presets()...)
	var config alignment.Config
	f.StringVar(&config.Map, "checkpoint", "",
		"`folder` of the run, or of released weights, with the autoencoder (default: the shipped "+shippedEmoji+")")
	f.StringVar(&config.Evaluator, "evaluator", "", "`file` of the network whose features compare pictures, see mfm weights "+
		"get efficientnet-lite0 (default: no comparison but of pixels)")
	heldOut := f.String("held-out-reward", "", "JSON object, or `file` with one, of a reward that does not steer "+
		"(default: symmetry, or brightness for a reward of symmetry)")
	f.String("pictures", "", "`folder` for a PNG of each run of seed 0: unsteered pictures, and below them the steered ones "+
		"from the same noise")
	var m *alignment.Model // of all rewards
	return func(name, reward string) (steering.Task[alignment.Result], string, error) {
		raw, err := rewardJSON(reward)
		if err != nil {
			return nil, "", err
		}
		var other []byte
		if *heldOut != "" {
			if other, err = rewardJSON(*heldOut); err != nil {
				return nil, "", fmt.Errorf("--held-out-reward: %w", err)
			}
		}
		b, err := c.backend()
		if err != nil {
			return nil, "", err
		}
		if m == nil {
			if err := chooseWeights(&config.Map, *preset); err != nil {
				return nil, "", err
			}
			if m, err = alignment.Open(b, config); err != nil {
				return nil, "", err
			}
		}
		s, err := m.To(b, raw, other)
		if err != nil {
			return nil, "", err
		}
		s.RewardName = name
		return s, s.Fingerprint, nil
	}
}

// writeSteeredPictures writes the pictures of the results to the folder that the flag names, if any.
func writeSteeredPictures(c *command, results []alignment.Result) error {
	dir := c.Flags().Lookup("pictures").Value.String()
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, r := range results {
		if r.Pictures == nil {
			continue
		}
		file := fmt.Sprintf("%03d-%s-n%d.png", i, r.Method, r.N)
		if err := os.WriteFile(filepath.Join(dir, file), r.Pictures, 0o644); err != nil {
			return err
		}
	}
	return nil
}
