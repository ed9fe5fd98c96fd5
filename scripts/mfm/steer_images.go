package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/diagnose"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/experiment/latent"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/report"
	"github.com/gomfm/gomfm/mfm/experiment/run"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/figure"
	"github.com/gomfm/gomfm/mfm/steer"
	"github.com/gomfm/gomfm/mfm/tune"
)

// evaluatorFlags name the images of a map and the classifiers that evaluate samples.
type evaluatorFlags struct {
	images            func(dir string) (train, heldOut *data.Images, err error)
	evaluator, second *string
}

// withEvaluators adds the flags; required says when they are.
func (c *command) withEvaluators(required string) evaluatorFlags {
	return evaluatorFlags{
		images: c.withImagesOf(),
		evaluator: c.Flags().String("evaluator", "",
			"`folder` of the run of the evaluator, a classifier of clean images; named rewards use it ("+required+")"),
		second: c.Flags().String("second", "",
			"`folder` of the run of a second evaluator, which the reward does not use ("+required+")"),
	}
}

// openSteering opens the steering of the map of the run in dir.
func (c *command) openSteering(f evaluatorFlags, dir, reward string) (*image.Steering, error) {
	if err := c.require("name the folder of a run", "checkpoint", "evaluator", "second"); err != nil {
		return nil, err
	}
	raw, err := imageRewardJSON(reward, *f.evaluator)
	if err != nil {
		return nil, err
	}
	images, heldOut, err := f.images(dir)
	if err != nil {
		return nil, err
	}
	b, err := c.backend()
	if err != nil {
		return nil, err
	}
	return image.NewSteering(b, image.SteeringConfig{
		Map: dir, Reward: raw, HeldOut: heldOut, Evaluator: *f.evaluator, Second: *f.second,
	}, images)
}

// steeringLike is openSteering with the map and the evaluators of another steering, nil for none.
func (c *command) steeringLike(other *image.Steering, f evaluatorFlags, dir, reward string) (*image.Steering, error) {
	if other == nil {
		return c.openSteering(f, dir, reward)
	}
	raw, err := imageRewardJSON(reward, *f.evaluator)
	if err != nil {
		return nil, err
	}
	b, err := c.backend()
	if err != nil {
		return nil, err
	}
	return other.WithReward(b, raw)
}

// imageRewardJSON is rewardJSON with rewards by name, which use the classifier of the run in dir.
func imageRewardJSON(text, dir string) (json.RawMessage, error) {
	if text == "paper" {
		return image.PaperReward(dir), nil
	}
	if class, is := strings.CutPrefix(text, "class:"); is {
		k, err := strconv.Atoi(class)
		if err != nil {
			return nil, fmt.Errorf("reward %q: want class:K with a number K", text)
		}
		return image.ClassReward(dir, k), nil
	}
	return rewardJSON(text)
}

// digitsSteering steers a map of images. By default a particle filter has 64 particles, whose
// states and posterior samples the network evaluates together.
func digitsSteering() steerTask[image.SteeringResult] {
	type result = image.SteeringResult
	var first *image.Steering // whose evaluation of the images the others share
	return steerTask[result]{
		samples: 1024, steps: 100, particles: 64,
		class: func(text string) (int32, error) { return first.Experiment.ClassIndex(text) },
		open: func(c *command) func(r steering.NamedReward) (steering.Task[result], string, error) {
			checkpoint := c.Flags().String("checkpoint", "", "`folder` of the run whose map is steered (required)")
			f := c.withEvaluators("required")
			return func(r steering.NamedReward) (steering.Task[result], string, error) {
				s, err := c.steeringLike(first, f, *checkpoint, r.Text())
				if err != nil {
					return nil, "", err
				}
				first, s.RewardName = cmp.Or(first, s), r.Name
				return s, s.Fingerprint, nil
			}
		},
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any {
			return []any{r.L2.Float(), r.L2Floor.Float(), r.L2Second.Float(), r.Reward, r.Distance.Float(),
				r.DistFloor.Float(), r.BaseDistance.Float(), r.Diversity.Float(), r.Confident, r.TargetKL.Float()}
		}, "l2 %.4f", "floor %.4f", "second l2 %.4f", "reward %.3f", "distance %.3f", "floor %.3f", "from base %.3f",
			"diversity %.3f", "confident %.3f", "target KL %.2f"),
		note: func(r result) string {
			if r.Lost == 0 || r.Diverged {
				return ""
			}
			return fmt.Sprintf("%d of %d samples have no reward, or one of -Inf", r.Lost, r.Samples)
		},
	}
}

// digitsTuning fine-tunes the drift of a map of images.
func digitsTuning() tuneTask[image.TuningResult] {
	type result = image.TuningResult
	return tuneTask[result]{
		config: image.DefaultTuning(), paths: 2, samples: 1024, steps: 50,
		networks: []tuning.Network{tuning.Copy, tuning.LowRank, tuning.WarmStarted},
		options: []option{
			{name: "class", path: "class",
				usage: "`label` for which a map with classes is tuned (default: all of them)"},
		},
		open: func(c *command) func(dir, reward string) (tunings[result], error) {
			f := c.withEvaluators("required")
			return func(dir, reward string) (tunings[result], error) {
				s, err := c.openSteering(f, dir, reward)
				return func(config tuning.Config) (tuning.Task[result], string, error) {
					t, err := image.NewTuning(s, config)
					if err != nil {
						return nil, "", err
					}
					return t, t.Fingerprint, nil
				}, err
			}
		},
		table: table[result]{
			columns: columns(func(r result) []any {
				kl, se := "", ""
				if len(r.Evaluations) > 0 {
					mean, of := tune.LateKL(r.Evaluations)
					kl, se = fmt.Sprintf("%.2f", mean), fmt.Sprintf("%.2f", of)
				}
				return []any{r.Method, r.Network, r.N, r.Lambda, r.Seed, r.TuneSteps, r.TuneNFE, r.L2.Float(),
					r.L2Floor.Float(), r.L2Second.Float(), r.Reward, r.RewardTarget.Float(), r.Distance.Float(),
					r.DistFloor.Float(), r.Diversity.Float(), r.Confident, kl, se, r.Train}
			}, "method %s", "network %s", "n %d", "λ %g", "seed %d", "steps %d", "evaluations %.0f",
				"l2 %.4f", "l2 floor %.4f", "second l2 %.4f", "reward %.3f", "target's %.3f", "distance %.3f",
				"distance floor %.3f", "diversity %.3f", "confident %.3f", "KL %s", "± SE %s", "seconds %.0f"),
			keys: 6, diverged: func(r result) bool { return r.Diverged },
			notes: func(r result) []string {
				texts := r.Warnings
				if !r.Diverged {
					texts = append(texts, budgetNote(r.Stopped, r.TuneSteps), r.Collapse, r.Overshoot, r.Behind)
				}
				return tuningNotes(fmt.Sprintf("%s of a %s", r.Method, r.Network), r.N, r.Lambda, r.Seed, texts...)
			},
		},
	}
}

// diagnoseDigits diagnoses a map of images.
func diagnoseDigits(c *command) diagnosis {
	f := c.withEvaluators("required with a reward")
	label := c.Flags().String("class", "",
		"`label` of the images, and of steered samples, of a map with classes (default: all, and none)")
	guidance := c.Flags().Float64("guidance",
		0, "`scale` of classifier-free guidance of the map toward the class; 0 for none")
	return func(
		ctx context.Context, b compute.Backend, dir, reward string, o report.Options,
	) (*diagnose.Report, error) {
		class, err := parseClass(*label, nil)
		if err != nil {
			return nil, invalid{err}
		}
		train, heldOut, err := f.images(dir)
		if err != nil {
			return nil, invalid{err}
		}
		var config image.Config
		if _, err := run.ReadConfig(dir, &config, image.Kind); err != nil {
			return nil, invalid{err}
		}
		if err := config.CheckCondition(class, *guidance); err != nil {
			return nil, invalid{err}
		}
		o.Evaluator, o.Second, o.Class, o.Guidance = *f.evaluator, *f.second, class, *guidance
		if reward != "" {
			if *f.evaluator == "" || *f.second == "" {
				return nil, invalid{fmt.Errorf("--evaluator and --second are missing: a reward on images needs both")}
			}
			if o.Reward, err = imageRewardJSON(reward, *f.evaluator); err != nil {
				return nil, invalid{err}
			}
		}
		return image.Diagnose(ctx, b, dir, train, heldOut, o)
	}
}

// imagenetSteering steers a map of latents to rewards of decoded pictures. By default a particle
// filter has 64 particles.
func imagenetSteering() steerTask[alignment.Result] {
	type result = alignment.Result
	return steerTask[result]{
		samples: 64, steps: 100, particles: 64, reward: string(alignment.DefaultReward()), heldOut: true,
		open:   openImageNetSteering,
		common: func(r result) steering.Result { return r.Result },
		columns: columns(func(r result) []any {
			saturation := 0.
			if r.MonitorsBase != nil {
				saturation = r.Monitors.Saturation - r.MonitorsBase.Saturation
			}
			return []any{r.MapNFE, r.Reward.Float(), r.RewardSE.Float(), r.RewardBase.Float(), r.HeldOut.Float(),
				r.HeldOutBase.Float(), r.Frechet.Float(), r.Kernel.Float(), r.Diversity.Float(), saturation, r.TargetKL.Float()}
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
func openImageNetSteering(c *command) func(r steering.NamedReward) (steering.Task[alignment.Result], string, error) {
	preset := c.Flags().String("preset", "emoji",
		"`name`: emoji for the map of a run; b2 or xl2 for a folder with weights as their authors released them")
	c.complete("preset", false, latent.Presets()...)
	open := c.withImageNet(func() string { return *preset })
	return func(r steering.NamedReward) (steering.Task[alignment.Result], string, error) {
		s, err := open(r)
		if err != nil {
			return nil, "", err
		}
		return s, s.Fingerprint, nil
	}
}

// withImageNet adds the flags of a map of latents and of what evaluates its pictures, and returns a
// function that opens the steering to a reward. preset is called after the flags are parsed.
func (c *command) withImageNet(preset func() string) func(r steering.NamedReward) (*alignment.Steering, error) {
	f := c.Flags()
	var config alignment.Config
	f.StringVar(&config.Map, "checkpoint", "",
		"`folder` of the run, or of released weights, with the autoencoder (default: the shipped "+shippedEmoji+")")
	f.StringVar(&config.Evaluator, "evaluator", "", "`file` of the network whose features compare pictures, see mfm weights "+
		"get efficientnet-lite0, or folder of a CLIP (default: no comparison but of pixels)")
	f.StringVar(&config.Second, secondEvaluator, "", "`file` of a second such network, for a reward by the first (default: that "+
		"of the grid, if any)")
	heldOut := f.String("held-out-reward", "", "JSON object, or `file` with one, of a reward that does not steer, for the rewards "+
		"of a grid that name none (default: symmetry, or brightness for a reward of symmetry)")
	f.String("pictures", "", "`folder` for a PNG of each run of seed 0: a row of unsteered pictures, and below it that of the steered ones "+
		"from the same noise")
	var m *alignment.Model // of all rewards
	return func(r steering.NamedReward) (*alignment.Steering, error) {
		raw, err := rewardJSON(r.Text())
		if err != nil {
			return nil, err
		}
		var other []byte
		if text := cmp.Or(r.HeldOutText(), *heldOut); text != "" {
			if other, err = rewardJSON(text); err != nil {
				return nil, fmt.Errorf("held-out reward: %w", err)
			}
		}
		b, err := c.backend()
		if err != nil {
			return nil, err
		}
		if m == nil {
			if err := chooseWeights(&config.Map, preset()); err != nil {
				return nil, err
			}
			if m, err = alignment.Open(b, config); err != nil {
				return nil, err
			}
		}
		s, err := m.To(b, raw, other)
		if err != nil {
			return nil, err
		}
		s.RewardName = r.Name
		return s, nil
	}
}

// writeSteeredPictures writes the pictures of the results to the folder that the flag names, if
// any. The names of the files distinguish settings that differ in anything, such as reward and λ.
func writeSteeredPictures(c *command, results []alignment.Result) error {
	dir := c.Flags().Lookup("pictures").Value.String()
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range results {
		if r.Pictures == nil {
			continue
		}
		file := fmt.Sprintf("%s-n%d-%s.png", r.Method, r.N, r.SettingHash)
		path := filepath.Join(dir, file)
		pictures, title, err := steeredPictures(r)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		theme := figure.Paper()
		theme.Width = max(theme.Width, 1+float64(pictures.W)/float64(theme.DPI)) // no picture is made smaller
		fig := figure.New(theme, 1, 1)
		fig.Panel(0, 0).Add(pictures)
		fig.Title = title
		if err = fig.Save(path); err != nil { // the reward's name may have signs that the font lacks
			fig.Title = ""
			err = fig.Save(path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(c.ErrOrStderr(), "%s: pictures %s\n", path, strings.Join(pictures.RowLabels, ", and below them "))
	}
	return nil
}

// steeredPictures returns the rows of pictures of a result, and a title with its mean rewards.
func steeredPictures(r alignment.Result) (rows figure.Images, title string, err error) {
	size, err := png.DecodeConfig(bytes.NewReader(r.Pictures))
	if err != nil {
		return rows, "", err
	}
	rows = figure.Images{C: 3, Cols: 1, RowLabels: []string{"unsteered", "steered"}, Size: 100}
	if entry, err := steer.Lookup(r.Method); err == nil && (entry.Filter || r.Particles > 1) {
		rows.RowLabels = rows.RowLabels[1:]
	}
	rows.N = len(rows.RowLabels)
	rows.H, rows.W = size.Height/rows.N, size.Width
	if rows.Pixels, err = image.Unstrip(r.Pictures, []int{size.Height, size.Width, rows.C}, 1); err != nil {
		return rows, "", err
	}
	if !r.Reward.IsZero() && !r.RewardBase.IsZero() {
		title = fmt.Sprintf("mean reward %.3g, unsteered %.3g", r.Reward.Float(), r.RewardBase.Float())
		if r.RewardName != "" {
			title = r.RewardName + ": " + title
		}
	}
	return rows, title, nil
}

// secondEvaluator is the flag of a second evaluator.
const secondEvaluator = "second-evaluator"

// checkHeldOut returns an error if a grid has values that the task does not have.
func (t steerTask[R]) checkHeldOut(g steering.Grid) error {
	if t.heldOut {
		return nil
	}
	if g.SecondEvaluator != "" {
		return fmt.Errorf("--grid: second_evaluator: this task has none: leave it out")
	}
	for _, r := range g.Rewards {
		if r.HeldOut != nil {
			return fmt.Errorf("--grid: reward %q has a held-out reward: this task has none: leave it out", r.Name)
		}
	}
	return nil
}
