package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment/config"
	"github.com/gomfm/gomfm/mfm/experiment/latent/alignment"
	"github.com/gomfm/gomfm/mfm/experiment/steering"
	"github.com/gomfm/gomfm/mfm/experiment/tuning"
	"github.com/gomfm/gomfm/mfm/tune"
)

// tuningReward is a reward of blue pictures of which λ = 10 is moderate and 50 large.
const tuningReward = `{"name": "blue", "reward": {"kind": "color", "hue": 240, "weight": 1}}`

// namedReward returns the reward of an object as in a grid, with its name, or of the reward alone,
// whose kind is its name.
func namedReward(text string) (r steering.NamedReward, err error) {
	raw, err := rewardJSON(text)
	if err != nil {
		return r, err
	}
	var of struct {
		Kind   string          `json:"kind"`
		Reward json.RawMessage `json:"reward"`
	}
	if json.Unmarshal(raw, &of) == nil && of.Reward != nil && of.Kind == "" {
		if err = config.Merge(&r, raw); err == nil && r.Name == "" {
			err = fmt.Errorf("reward %s has no name: add \"name\"", raw)
		}
		return r, err
	}
	return steering.NamedReward{Name: of.Kind, Reward: raw}, nil
}

// imagenetTuning fine-tunes the drift of a map of latents.
func imagenetTuning() tuneTask[alignment.TuningResult] {
	type result = alignment.TuningResult
	noises := make(map[string]string)
	var names, effects []string
	for _, n := range alignment.Noises() {
		noises[n.Name] = fmt.Sprintf(`{"constant": %g, "start": %g}`, n.Noise.Constant, n.Noise.Start)
		names, effects = append(names, n.Name), append(effects, fmt.Sprintf("%s: %s", n.Name, n.Effect))
	}
	return tuneTask[result]{
		config: alignment.DefaultTuning(), paths: 1, samples: 64, steps: 50, reward: tuningReward, ownCheckpoint: true,
		rewardUsage: "JSON object, or `file` with one, of a reward, see mfm info; results call it by its kind, or by the name " +
			"in {\"name\": ..., \"reward\": ..., \"held_out\": ...}, as in a grid",
		networks: []tuning.Network{tuning.Copy, tuning.LowRank},
		presets:  []tunePreset{{"paper", alignment.PaperTuning(), alignment.PaperLambdas()}},
		options: []option{
			{name: "class", path: "class", usage: "`label` for which a map with classes is tuned (default: all of them)"},
			{name: "noise", path: "tune.noise", values: names, only: true,
				usage: "`name` of σ_t², which decides the fixed point b + (σ_t²/2) ∇V_t (" + strings.Join(effects, "; ") + ")",
				read:  func(text string) string { return noises[text] }},
		},
		open: func(c *command) func(dir, reward string) (tunings[result], error) {
			guidance := c.Flags().Float64("guidance", 0, "`scale` of classifier-free guidance of the base, of drift and posterior "+
				"samples alike; 0 for none, or for that of a map that was trained on classes with one scale alone")
			open := c.withImageNet(func() string { // of released weights with the preset paper
				if c.Flags().Lookup("preset").Value.String() == "paper" {
					return "xl2"
				}
				return "emoji"
			})
			return func(_, reward string) (tunings[result], error) {
				named, err := namedReward(reward)
				if err != nil {
					return nil, err
				}
				s, err := open(named)
				return func(config tuning.Config) (tuning.Task[result], string, error) {
					t, err := alignment.NewTuning(s, config, *guidance)
					if err != nil {
						return nil, "", err
					}
					return t, t.Fingerprint, nil
				}, err
			}
		},
		table: table[result]{
			columns: columns(func(r result) []any {
				kl, se := tune.LateKL(r.Evaluations)
				return []any{r.Method, r.Network, r.N, r.Lambda, r.Seed, r.TuneSteps, r.TuneNFE, r.Reward.Float(),
					r.RewardSE.Float(), r.RewardBase.Float(), r.HeldOut.Float(), r.HeldOutBase.Float(), r.Frechet.Float(),
					r.Kernel.Float(), r.Diversity.Float(), kl, se, r.Train}
			}, "method %s", "network %s", "n %d", "λ %g", "seed %d", "steps %d", "evaluations %.0f", "reward %.3f", "se %.3f",
				"base %.3f", "held out %.3f", "base %.3f", "Fréchet %.1f", "kernel %.3f", "diversity %.3f", "KL %.2f", "± SE %.2f",
				"seconds %.0f"),
			keys: 6, diverged: func(r result) bool { return r.Result.Diverged },
			notes: func(r result) []string {
				texts := r.Warnings
				if !r.Result.Diverged {
					texts = append(texts, budgetNote(r.Stopped, r.TuneSteps), r.Collapse)
				}
				return tuningNotes(fmt.Sprintf("%s of a %s", r.Method, r.Network), r.N, r.Lambda, r.Seed, texts...)
			},
		},
		finish: func(c *command, results []result) error {
			var pictures []alignment.Result
			for _, r := range results {
				pictures = append(pictures, r.Result)
			}
			return writeSteeredPictures(c, pictures)
		},
	}
}

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
