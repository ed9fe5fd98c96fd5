package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/gomlx/compute"

	"github.com/gomfm/gomfm/mfm"
	"github.com/gomfm/gomfm/mfm/experiment"
)

// digitsQuality is what classifiers say of a map of images.
type digitsQuality struct {
	Accuracy   float64                  `json:"classifier_accuracy"` // of the classifier that judges, on held-out images
	Generation experiment.GenerationRow `json:"generation"`
	Posterior  []experiment.ClassRow    `json:"posterior"`
}

// digitsEvaluation says how a map of images is judged.
type digitsEvaluation struct {
	Times    []float64 `json:"times"`    // of contexts
	Contexts int       `json:"contexts"` // held-out images at each time
	Samples  int       `json:"samples"`  // for each context
	Generate int       `json:"generate"` // samples at t = 0
	Seed     int64     `json:"seed"`
}

func defaultDigitsEvaluation() digitsEvaluation {
	return digitsEvaluation{Times: []float64{0.2, 0.3, 0.4, 0.6}, Contexts: 100, Samples: 256, Generate: 2000, Seed: 1}
}

func (c digitsEvaluation) validate(heldOut int) error {
	for _, t := range c.Times {
		if !(t >= 0 && t <= 1) {
			return invalidf("evaluation at time %g: must lie in [0, 1]", t)
		}
	}
	if c.Contexts < 1 || c.Contexts > heldOut {
		return invalidf("evaluation with contexts = %d: must lie in [1, %d], the number of held-out images", c.Contexts, heldOut)
	}
	if c.Samples < 2 || c.Generate < 1 {
		return invalidf("evaluation with samples = %d, generate = %d: must be at least 2 and 1", c.Samples, c.Generate)
	}
	return nil
}

func evalDigits(ctx context.Context, s *shell, args []string) error {
	f := newSamplerFlags("eval digits")
	folder := f.withData()
	judge := f.String("judge", "", "`folder` of the run of a classifier of clean images (required)")
	noised := f.String("noised", "", "`folder` of the run of a classifier of noised images (required)")
	var values settings
	values.add(f.flags,
		option{name: "times", path: "times", usage: "`t` of the contexts, numbers separated by commas", read: list},
		option{name: "contexts", path: "contexts", usage: "`number` of held-out images that are noised at each t"},
		option{name: "samples", path: "samples", usage: "`number` of samples for each of them"},
		option{name: "generate", path: "generate", usage: "`number` of samples at t = 0"},
		option{name: "seed", path: "seed", usage: "`seed` of all noise"},
	)
	if _, err := f.parse(s, args); err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return err
	}
	if *judge == "" || *noised == "" {
		return invalidf("--judge and --noised are both due: name the folders that mfm train classifier made, the second with --noised")
	}
	evaluation := defaultDigitsEvaluation()
	if err := values.apply(&evaluation); err != nil {
		return invalid{err}
	}
	f.warn(s)
	run, err := f.openDigits(*folder)
	if err != nil {
		return err
	}
	if err := evaluation.validate(run.heldOut.N); err != nil {
		return err
	}
	config.Classes = run.Config.Network.Classes
	if err := run.checkNoClass(true); err != nil {
		return err
	}
	b, err := f.open(s)
	if err != nil {
		return err
	}
	defer b.Finalize()
	sampler, err := run.sampler(b, config, 1)
	if err != nil {
		return invalid{err}
	}
	clean, err := openClassifier(b, *judge, run, false)
	if err != nil {
		return err
	}
	noisy, err := openClassifier(b, *noised, run, true)
	if err != nil {
		return err
	}
	quality, err := evaluation.run(ctx, run, sampler, clean, noisy)
	if err != nil {
		return err
	}
	if *f.json {
		return writeJSON(s.stdout, quality)
	}
	return quality.print(s)
}

func openClassifier(b compute.Backend, dir string, run *digitsRun, noised bool) (*experiment.Classifier, error) {
	c, err := experiment.OpenClassifier(b, dir, run.Shape())
	if err != nil {
		return nil, invalid{err}
	}
	if c.Config.Noised != noised {
		return nil, invalidf("run %s is a classifier with noised = %t, want %t", dir, c.Config.Noised, noised)
	}
	return c, nil
}

func (c digitsEvaluation) run(ctx context.Context, run *digitsRun, sampler *mfm.Sampler, clean, noisy *experiment.Classifier) (q digitsQuality, err error) {
	if q.Accuracy, err = clean.Accuracy(run.heldOut); err != nil {
		return q, err
	}
	if q.Generation, err = run.Generation(ctx, sampler, clean, run.heldOut, c.Generate, c.Seed); err != nil {
		return q, err
	}
	for _, t := range c.Times {
		row, err := run.Classes(ctx, sampler, clean, noisy, run.heldOut, t, c.Contexts, c.Samples, c.Seed)
		if err != nil {
			return q, err
		}
		q.Posterior = append(q.Posterior, row)
	}
	return q, nil
}

func (q digitsQuality) print(s *shell) error {
	g := q.Generation
	fmt.Fprintf(s.stdout, "classifier: accuracy %.4f on held-out images\n", q.Accuracy)
	fmt.Fprintf(s.stdout, "t = 0, %d samples of %d step(s): %.3f ± %.3f confident, largest gap of a class %.3f\n", g.Samples, g.Steps, g.Confident, g.ConfidentSE, g.LargestGap)
	fmt.Fprintf(s.stdout, "nearest training image: %.3f from samples, %.3f from held-out images\n", g.NearestSamples, g.NearestHeldOut)
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "t\ttotal variation\t±\tfloor\ttraining set\tspread\t")
	for _, r := range q.Posterior {
		fmt.Fprintf(w, "%g\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\t\n", r.T, r.TotalVariation, r.StandardError, r.Floor, r.TrainingSet, r.Spread)
	}
	return w.Flush()
}
