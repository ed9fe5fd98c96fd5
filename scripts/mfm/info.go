package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/backend"
	"github.com/gomfm/gomfm/mfm/experiment"
	"github.com/gomfm/gomfm/mfm/reward"
	"github.com/gomfm/gomfm/mfm/steer"
)

// versions are those of this program and of what results depend on.
type versions struct {
	MFM     string            `json:"mfm"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"`
}

func readVersions() versions {
	v := versions{MFM: "unknown", Go: runtime.Version(), Modules: map[string]string{}}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.MFM = build.Main.Version
	for _, m := range build.Deps {
		if slices.Contains([]string{"github.com/gomlx/gomlx", "github.com/gomlx/compute", "github.com/gomlx/go-xla"}, m.Path) {
			v.Modules[m.Path] = m.Version
		}
	}
	return v
}

// defaults is what info shows.
type defaults struct {
	Versions   versions                    `json:"versions"`
	Backend    string                      `json:"backend"`
	Preset     string                      `json:"preset"`
	GMM        experiment.GMMConfig        `json:"gmm"`
	Digits     experiment.DigitsConfig     `json:"digits"`
	Classifier experiment.ClassifierConfig `json:"classifier"`
	Noised     experiment.ClassifierConfig `json:"classifier_noised"`
	Sampler    mfm.SamplerConfig           `json:"sampler"`
	EvalGMM    experiment.EvaluateConfig   `json:"eval_gmm"`
	EvalDigits digitsEvaluation            `json:"eval_digits"`
	Steer      steer.Config                `json:"steer"`
	Rewards    map[string]string           `json:"rewards"` // kinds, with an example of each
}

func info(_ context.Context, s *shell, args []string) error {
	f := newFlags("info").withBackend().withJSON() // which it writes in any case
	preset := f.String("preset", experiment.Presets()[0], "scale of the configurations")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	d := defaults{Versions: readVersions(), Preset: *preset, Sampler: mfm.DefaultSamplerConfig(), EvalGMM: experiment.DefaultEvaluateConfig(), EvalDigits: defaultDigitsEvaluation(),
		Steer: steer.DefaultConfig(), Rewards: reward.Kinds()}
	var errs [4]error
	d.GMM, errs[0] = experiment.GMMPreset(*preset)
	d.Digits, errs[1] = experiment.DigitsPreset(*preset)
	d.Classifier, errs[2] = experiment.ClassifierPreset(*preset, false)
	d.Noised, errs[3] = experiment.ClassifierPreset(*preset, true)
	for _, err := range errs {
		if err != nil {
			return invalid{err}
		}
	}
	b, err := backend.New(*f.backend)
	if err != nil {
		return invalid{err}
	}
	defer b.Finalize()
	d.Backend = backend.Describe(b)
	return writeIndented(s.stdout, d)
}

func infoGMM(_ context.Context, s *shell, args []string) error {
	f := newFlags("info gmm").withBackend().withJSON()
	c := f.withGMM("info gmm")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	e, err := c.experiment()
	if err != nil {
		return err
	}
	return f.show(s, e.Config)
}

func infoDigits(_ context.Context, s *shell, args []string) error {
	f := newFlags("info digits").withBackend().withJSON()
	c := f.withDigits("info digits")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := c.digits()
	if err != nil {
		return err
	}
	images, err := c.images()
	if err != nil {
		return err
	}
	if err := config.Check(images); err != nil {
		return invalid{err}
	}
	return f.show(s, config)
}

func infoClassifier(_ context.Context, s *shell, args []string) error {
	f := newFlags("info classifier").withBackend().withJSON()
	c := f.withClassifier("info classifier")
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := c.classifier()
	if err != nil {
		return err
	}
	if err := config.Validate(); err != nil {
		return invalid{err}
	}
	return f.show(s, config)
}

// show writes a configuration to standard output, where -config can read it, and backend and versions to standard error.
func (f *flags) show(s *shell, config any) error {
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	v := readVersions()
	fmt.Fprintf(s.stderr, "versions: mfm %s, %s", v.MFM, v.Go)
	for _, path := range slices.Sorted(maps.Keys(v.Modules)) {
		fmt.Fprintf(s.stderr, ", %s %s", path, v.Modules[path])
	}
	fmt.Fprintln(s.stderr)
	return writeIndented(s.stdout, config)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
